# SPDX-License-Identifier: MIT
"""The answer for many intervals, and whether its bounds are narrow. Plain data; any thread."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from . import _core

if TYPE_CHECKING:
    import numpy.typing as npt

RESOLVED = 0.1
"""An energy is resolved when its bounds are no further apart than this part of it."""


def repetitions_to_resolve(
    joules: npt.ArrayLike, lower: npt.ArrayLike, upper: npt.ArrayLike, flags: npt.ArrayLike
) -> npt.NDArray[np.float64]:
    """See `Energies.repetitions`; 1 where it is resolved. NaN counts as not known, so infinitely many."""
    width = np.subtract(upper, lower)
    with np.errstate(divide="ignore", invalid="ignore"):
        times = np.maximum(np.ceil(width / np.multiply(joules, RESOLVED)), 1.0)
    is_hopeless = np.isnan(times) | ((np.asarray(flags) & _core.EDGE_FLAGS["estimated"]) != 0)
    return np.where(is_hopeless, math.inf, times)


class Energies:
    """Energy of many intervals.

    Attributes:
        joules: the estimate, shape (n, channels), float64.
        lower, upper: same shape; the truth of what the counter counted lies between them. `upper` is infinite where the
            counter was reset inside the interval and the most that it can count in that time is not known.
        flags: same shape, uint32: what is to be known of the answer, bits of `EDGE_FLAGS`. Of the edges around both ends
            all of them ("late", "stamped", "after_retry", "filtered", "estimated", ...); from inside the interval
            "wrapped", "reset", "ambiguous" and "dropped".
        resolved: same shape, bool: the bounds are narrow against the value, no further apart than a tenth of it.
        repetitions: same shape, float64: how many times as long, doing the same, an interval must be to be resolved: the
            bounds of many repetitions in a row are no further apart than those of one. Infinite where that does not help
            (an estimate, a reset, nothing counted).
        channels: names of the columns.

    The axis of intervals is missing when one interval was asked about by two plain integers, and the axis of channels
    when one channel was named by a plain str.
    """

    __slots__ = ("channels", "flags", "joules", "lower", "upper")

    def __init__(
        self,
        joules: npt.NDArray[np.float64],
        lower: npt.NDArray[np.float64],
        upper: npt.NDArray[np.float64],
        flags: npt.NDArray[np.uint32],
        channels: tuple[str, ...],
    ) -> None:
        self.joules = joules
        self.lower = lower
        self.upper = upper
        self.flags = flags
        self.channels = channels

    @property
    def resolved(self) -> npt.NDArray[np.bool_]:
        return self.repetitions <= 1.0

    @property
    def repetitions(self) -> npt.NDArray[np.float64]:
        return repetitions_to_resolve(self.joules, self.lower, self.upper, self.flags)

    def __repr__(self) -> str:
        return f"<Energies of shape {self.joules.shape} for {', '.join(self.channels)}>"
