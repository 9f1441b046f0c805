# SPDX-License-Identifier: MIT
"""Over which time a board's power readings are means: found from its energy counter. Pure functions on arrays, any thread."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

CANDIDATES = np.geomspace(0.010, 1.5, 120)
"""Seconds."""

_FEWEST = 12  # readings without which nothing is said
_CHANGES = 8  # and changes of the power, by half of its standard deviation: each tells once how the readings follow
_STRIDE = 0.1  # seconds over which the power is looked at for that
_VARIES = 0.02  # of the mean power, standard deviation: with less the noise of the readings decides
_FOLLOWS = 0.5  # the share of the readings' variance that the best window must explain
_DOUBT = 16.0  # four standard deviations, because errors of neighbouring readings are alike


class Window(NamedTuple):
    """Seconds: the likeliest, and the shortest and longest that fit about as well."""

    seconds: float
    low: float
    high: float


def window_of(
    ends_ns: npt.NDArray[np.int64],
    watts: npt.NDArray[np.float64],
    counter_ns: npt.NDArray[np.int64],
    counter_joules: npt.NDArray[np.float64],
) -> Window | str:
    """The window over which the counter's mean power looks like the readings, or why these data do not tell: a clause.

    Least squares over `CANDIDATES`, with a gain and an offset of the readings that are free: sensors differ in both, and
    that is not the question. A window is known no better than the counter's steps, between which its energy is taken to
    be a straight line.

    Args:
        ends_ns: when each reading was made, int64 of shape (n,); or (n, k): it is the mean of the readings made then.
        watts: the readings, float64 of shape (n,).
        counter_ns, counter_joules: edges of the counter, times rising, of shape (m,).
    """
    if counter_ns.size < 2:
        return "the counter did not move meanwhile"
    ends = ends_ns.reshape(len(watts), -1)
    origin = counter_ns[0]
    times, seconds = (counter_ns - origin) * 1e-9, (ends - origin) * 1e-9
    power = np.diff(np.interp(np.arange(0.0, times[-1], _STRIDE), times, counter_joules))
    changes = np.count_nonzero(np.abs(np.diff(power)) > np.std(power) / 2) if power.size else 0
    if changes < _CHANGES or not watts.size or not np.std(watts) > _VARIES * abs(np.mean(watts)):
        return "the power did not change meanwhile, or too seldom"
    # The same readings for all candidates: those whose longest window the counter has seen, or as long a one as most allow.
    longest = min(CANDIDATES[-1], float(times[-1]) / 3)
    known = (seconds[:, 0] - longest >= 0.0) & (seconds[:, -1] <= times[-1])
    seconds, watts = seconds[known], watts[known]
    candidates = CANDIDATES[longest >= CANDIDATES]
    if watts.size < _FEWEST or not candidates.size:
        return "there were too few readings"
    left = np.array([_unexplained(watts, _means(seconds, each, times, counter_joules)) for each in candidates])
    best = int(np.argmin(left))
    if not left[best] < 1.0 - _FOLLOWS:
        return "the readings do not follow the counter"
    good = np.flatnonzero(left <= left[best] * (1.0 + _DOUBT / (watts.size - 3)))
    step = float(np.median(np.diff(times)))
    low, high = candidates[max(good[0] - 1, 0)], candidates[min(good[-1] + 1, candidates.size - 1)]
    return Window(float(candidates[best]), max(0.0, float(low) - step), float(high) + step)


def _means(
    ends: npt.NDArray[np.float64],
    window: float,
    times: npt.NDArray[np.float64],
    joules: npt.NDArray[np.float64],
) -> npt.NDArray[np.float64]:
    """The counter's mean power over the window before each end."""
    used = np.interp(ends, times, joules) - np.interp(ends - window, times, joules)
    means: npt.NDArray[np.float64] = used.mean(axis=1) / window
    return means


def _unexplained(watts: npt.NDArray[np.float64], means: npt.NDArray[np.float64]) -> float:
    """The share of the readings' variance that no straight line through the means explains; of a falling line all."""
    x, y = means - means.mean(), watts - watts.mean()
    slope = float(x @ y)
    spread = float(x @ x)
    if not (slope > 0.0 and spread > 0.0):
        return 1.0
    return max(0.0, 1.0 - slope**2 / (spread * float(y @ y)))
