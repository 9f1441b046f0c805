# SPDX-License-Identifier: MIT
"""`powerprobe list --measure`: how often GPU channels move and what their readings are means of, seen and not believed."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..channels import board_name
from ..errors import Unavailable
from ..gpus import mismatch
from ..probe import Probe
from ..windows import Window, window_of

if TYPE_CHECKING:
    import numpy.typing as npt

    from .._core import ChannelInfo
    from ..discovery import Discovery

_POLL = 5e-3  # seconds: drivers are not to be asked more often for long
_TENTHS = (10, 50, 90)  # percentiles


@dataclass(frozen=True)
class Seen:
    """What a channel did.

    Attributes:
        period: seconds between its steps: the median, and what one in ten is below and above; None: it did not move.
        step: joules, the median.
        window: of a power reading; or why it is not known. None: a counter.
        mismatch: of a counter, against the power readings of its board; see `gpus.mismatch`.
    """

    name: str
    period: tuple[float, float, float] | None
    step: float | None
    window: Window | str | None
    mismatch: float | None

    def to_dict(self) -> dict[str, Any]:
        low, median, high = self.period or (None, None, None)
        window = self.window if isinstance(self.window, Window) else Window(math.nan, math.nan, math.nan)
        seconds = {
            "window_seconds": window.seconds,
            "window_low_seconds": window.low,
            "window_high_seconds": window.high,
        }
        return {
            "name": self.name,
            "period_seconds": median,
            "period_low_seconds": low,
            "period_high_seconds": high,
            "step_joules": self.step,
            **{key: value if math.isfinite(value) else None for key, value in seconds.items()},
            "window_unknown": self.window if isinstance(self.window, str) else None,
            "mismatch": self.mismatch,
        }


def watch(found: Discovery, seconds: float) -> list[Seen]:
    """Reads all GPU channels of the machine for so long.

    Raises:
        Unavailable: there is none.
    """
    names = [channel.name for channel in found.channels if channel.gpu >= 0]
    if not names:
        raise Unavailable("--measure: no GPU can be read here", remedy="powerprobe doctor")
    with Probe(names, period=_POLL, history=seconds + 1.0, discovery=found) as probe:
        time.sleep(seconds)
        return [seen(probe, name) for name in probe._tree.depths]


def seen(probe: Probe, name: str) -> Seen:
    """What the probe has of a channel so far."""
    info, edges = probe.info(name), probe.view(name)
    steps = np.diff(edges["joules"])
    moves = edges["t_ns"][1:][steps > 0.0]
    if moves.size < 2:
        return Seen(name, None, None, "it did not move meanwhile" if info.reading else None, None)
    low, median, high = (float(each) for each in np.percentile(np.diff(moves), _TENTHS) * 1e-9)
    window: Window | str | None = None
    difference = None
    counter = board_name(info.gpu)
    if info.reading:
        is_there = name != counter and counter in probe.channels and not probe.info(counter).reading
        window = _window(probe, info, counter) if is_there else "its board has no counter to compare with"
    elif (readings := probe._readings_beside(name)) in probe.channels:
        difference = _difference(probe, name, str(readings))
    return Seen(name, (low, median, high), float(np.median(steps[steps > 0.0])), window, difference)


def _window(probe: Probe, info: ChannelInfo, counter: str) -> Window | str:
    edges, counted = probe.view(info.name), probe.view(counter)
    times, joules = edges["t_ns"], edges["joules"]
    watts = np.diff(joules) / np.diff(times) * 1e9
    return window_of(reading_times(times, info), watts, _middles(counted), counted["joules"])


def _middles(edges: npt.NDArray[np.void]) -> npt.NDArray[np.int64]:
    """When the counter stepped: in the middle of the gaps, so that late is as likely as early."""
    times: npt.NDArray[np.int64] = edges["t_ns"].copy()
    times[1:] -= np.minimum(edges["gap_ns"][1:], np.diff(edges["t_ns"])) // 2
    return times


def reading_times(times: npt.NDArray[np.int64], info: ChannelInfo) -> npt.NDArray[np.int64]:
    """When the readings between these edges were made, of shape (edges - 1, 1 or 2), as `window_of` takes them.

    The source puts a reading where the middle of its window is if the window is what is told of it; that is undone here.
    """
    if "nvmlDeviceGetSamples" in info.path:  # edges are readings, and the power between two is their mean
        return np.column_stack([times[:-1], times[1:]]) + info.window_ns // 2
    return times[:-1, np.newaxis] + (info.window_ns + info.update_period_ns) // 2


def _difference(probe: Probe, counter: str, readings: str) -> float | None:
    ends = [(probe.view(name)["t_ns"][0], probe.view(name)["t_ns"][-1]) for name in (counter, readings)]
    start, end = max(int(first) for first, _ in ends), min(int(last) for _, last in ends)
    if end <= start:
        return None
    energies = [probe.energy(start, end, name, settle=False) for name in (counter, readings)]
    counted, integrated = ([float(e.joules), float(e.lower), float(e.upper)] for e in energies)
    return mismatch(counted, integrated)
