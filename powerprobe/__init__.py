# SPDX-License-Identifier: MIT
"""Learn where energy goes: hardware energy counters with microsecond time stamps, joules with bounds.

    import powerprobe as pp

    with pp.measure() as m:
        work()
    print(m)  # a table; m.joules["package-0"], m.total, m.lower, m.upper, m.watts, m.seconds

    with pp.Probe() as probe:  # explicit: which channels, how often, how long to remember
        with probe.region("decode", items=128):
            ...
        print(probe.regions())

All instants are nanoseconds of CLOCK_MONOTONIC (`now_ns()`), all energies joules. Every energy has bounds: what the counter
counted lies between `lower` and `upper`, for any load. Importing starts nothing.
"""

from ._core import EDGE_DTYPE, EDGE_FLAGS, SOURCES, ChannelInfo, Choice, Refusal, __version__, now_ns
from .discovery import Discovery, discover
from .errors import (
    BadArgument,
    ChannelGone,
    OutOfRange,
    Overrun,
    PermissionDenied,
    PowerprobeError,
    SettleTimeout,
    Unavailable,
)
from .measurement import Measure, Measurement, measure
from .probe import Energies, Probe
from .regions import Regions, RegionSummary
from .replay import replay

__all__ = [
    "EDGE_DTYPE",
    "EDGE_FLAGS",
    "SOURCES",
    "BadArgument",
    "ChannelGone",
    "ChannelInfo",
    "Choice",
    "Discovery",
    "Energies",
    "Measure",
    "Measurement",
    "OutOfRange",
    "Overrun",
    "PermissionDenied",
    "PowerprobeError",
    "Probe",
    "Refusal",
    "RegionSummary",
    "Regions",
    "SettleTimeout",
    "Unavailable",
    "__version__",
    "discover",
    "measure",
    "now_ns",
    "replay",
]
