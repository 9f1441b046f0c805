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

    print(pp.benchmark(work))  # joules per call, with confidence intervals; needs scipy

All instants are nanoseconds of CLOCK_MONOTONIC (`now_ns()`), all energies joules. Every energy has bounds: what the counter
counted lies between `lower` and `upper`, for any load. Importing starts nothing.
"""

# ruff: noqa: E402  # nothing of the native half may be loaded before this
from typing import TYPE_CHECKING

from .interpreters import refuse_sub_interpreters

refuse_sub_interpreters()

from ._core import EDGE_DTYPE, EDGE_FLAGS, SOURCES, ChannelInfo, Choice, Refusal, __version__, now_ns
from .discovery import Discovery, discover
from .energies import Energies
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
from .probe import Probe
from .regions import Regions, RegionSummary
from .replay import replay

if TYPE_CHECKING:
    from .benchmarking import benchmark, compare
    from .embedding import get_cmake_dir, get_include, get_library
    from .interval import Interval
    from .percall import Benchmark, CallEnergy, Comparison

__all__ = [
    "EDGE_DTYPE",
    "EDGE_FLAGS",
    "SOURCES",
    "BadArgument",
    "Benchmark",
    "CallEnergy",
    "ChannelGone",
    "ChannelInfo",
    "Choice",
    "Comparison",
    "Discovery",
    "Energies",
    "Interval",
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
    "benchmark",
    "compare",
    "discover",
    "get_cmake_dir",
    "get_include",
    "get_library",
    "measure",
    "now_ns",
    "replay",
]

# Imported when they are first used: who only measures does not wait for them.
_LATER = {
    "Benchmark": "percall",
    "CallEnergy": "percall",
    "Comparison": "percall",
    "Interval": "interval",
    "benchmark": "benchmarking",
    "compare": "benchmarking",
    "get_cmake_dir": "embedding",
    "get_include": "embedding",
    "get_library": "embedding",
}


def __getattr__(name: str) -> object:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value: object = getattr(import_module(f".{_LATER[name]}", __name__), name)
    globals()[name] = value
    return value
