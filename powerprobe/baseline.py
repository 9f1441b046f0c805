# SPDX-License-Identifier: MIT
"""The idle baseline: what the machine takes while nothing is asked of it, before and after the work."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from . import _core
from .interval import Interval, finite

if TYPE_CHECKING:
    from .probe import Probe

_BLOCKS = 10  # of a window; their scatter is that of the baseline
_STEPS_PER_BLOCK = 5
_CALM = 0.02  # seconds that a machine is given to come to rest
_SETTLE = 2.0

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Window:
    """Watts while nothing was run; columns are channels and their total."""

    blocks: Floats  # (blocks, columns)
    lower: Floats  # bounds of the whole window
    upper: Floats


@dataclass(frozen=True)
class Baseline:
    """Watts of the idle machine, by channel and for their "total".

    Attributes:
        watts: the mean of both windows; half the drift is the least half width of the interval.
        before, after: of the windows before the first run and after the last.
        seconds: how long each window was.
    """

    watts: dict[str, Interval]
    before: dict[str, float]
    after: dict[str, float]
    seconds: float

    @property
    def drift(self) -> dict[str, float]:
        """Watts by which the baseline rose from before to after."""
        return {name: self.after[name] - self.before[name] for name in self.before}

    def to_dict(self) -> dict[str, Any]:
        """As `json` takes it."""
        return {
            "seconds": self.seconds,
            "watts": {name: each.to_dict() for name, each in self.watts.items()},
            "before": {name: finite(each) for name, each in self.before.items()},
            "after": {name: finite(each) for name, each in self.after.items()},
            "drift": {name: finite(each) for name, each in self.drift.items()},
        }


def idle_window(probe: Probe, names: Sequence[str], roots: Sequence[str], seconds: float, step_ns: float) -> Window:
    """Sleeps so long (and some milliseconds more, which are not counted) and returns what was used meanwhile."""
    time.sleep(_CALM)
    start = _core.now_ns()
    time.sleep(seconds)
    end = _core.now_ns()
    count = max(1, min(_BLOCKS, int((end - start) / (_STEPS_PER_BLOCK * step_ns))))
    marks = np.linspace(start, end, count + 1).astype(np.int64)
    starts, ends = np.append(marks[:-1], start), np.append(marks[1:], end)  # the last: the whole window
    energies = probe.energy(starts, ends, names, settle=_SETTLE)
    durations = (ends - starts)[:, np.newaxis] * 1e-9
    watts, lower, upper = (
        with_total(each / durations, names, roots) for each in (energies.joules, energies.lower, energies.upper)
    )
    return Window(watts[:-1], lower[-1], upper[-1])


def with_total(columns: Floats, names: Sequence[str], roots: Sequence[str]) -> Floats:
    """One more column: the sum of the roots, so that nothing is counted twice."""
    places = [names.index(root) for root in roots]
    return np.column_stack([columns, columns[:, places].sum(axis=1)])


def baseline(before: Window, after: Window, columns: Sequence[str], seconds: float) -> Baseline:
    """Puts two windows together. Where the counter is too slow for a scatter, the bounds take its place."""
    from .statistics import mean

    watts = {}
    begin, end = before.blocks.mean(axis=0), after.blocks.mean(axis=0)
    for i, name in enumerate(columns):
        blocks = np.append(before.blocks[:, i], after.blocks[:, i])
        middle = float(begin[i] + end[i]) / 2
        if len(blocks) >= 2 * _BLOCKS:
            half = mean(blocks).high - mean(blocks).value
        else:
            half = float(before.upper[i] - before.lower[i] + after.upper[i] - after.lower[i]) / 4
        half = max(half, abs(float(end[i] - begin[i])) / 2)
        watts[name] = Interval(middle, middle - half, middle + half)
    return Baseline(
        watts,
        dict(zip(columns, map(float, begin), strict=True)),
        dict(zip(columns, map(float, end), strict=True)),
        seconds,
    )
