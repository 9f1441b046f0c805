# SPDX-License-Identifier: MIT
"""What is measured, and what of it stands out of the noise: mostly two things in turn, and their difference."""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Callable, Sequence

Pairs = list[tuple[float, float]]
"""(ours, the limit or the reference), measured right after each other."""


@dataclasses.dataclass(frozen=True)
class Row:
    """One figure. `low` and `high` are quartiles, as are those of the ratio.

    `met` is None where there is no goal, or where it lies within the quartiles: then this run cannot tell.
    """

    name: str
    case: str  # "" where the name says it all
    value: float  # ours, median
    unit: str
    low: float
    high: float
    limit: float | None  # the other side of the pairs, median; None, as are the ratios: there is none
    limit_is: str
    ratio: float | None  # median over the pairs: ours / limit, or limit / ours where more is better
    ratio_low: float | None
    ratio_high: float | None
    goal: str
    met: bool | None
    pairs: int
    note: str = ""

    @property
    def met_text(self) -> str:
        if not self.goal:
            return "-"
        return {True: "yes", False: "no", None: "unclear"}[self.met]


@dataclasses.dataclass(frozen=True)
class NotHere:
    """A figure that this machine cannot give."""

    name: str
    case: str
    why: str


@dataclasses.dataclass(frozen=True)
class Goal:
    """All that is given must hold, at the median; in `unit` or as a ratio."""

    most: float = math.inf  # value
    least: float = -math.inf  # value
    most_ratio: float = math.inf  # ours / limit
    most_beyond: float = math.inf  # ours - limit
    least_speedup: float = math.inf  # limit / ours

    def text(self, unit: str) -> str:
        parts = []
        if math.isfinite(self.most_ratio):
            parts.append(f"<= {self.most_ratio:g}x")
        if math.isfinite(self.most_beyond):
            parts.append(f"<= +{self.most_beyond:g} {unit}")
        if math.isfinite(self.most):
            parts.append(f"<= {self.most:g} {unit}")
        if math.isfinite(self.least):
            parts.append(f">= {self.least:g} {unit}")
        if math.isfinite(self.least_speedup):
            parts.append(f">= {self.least_speedup:g}x as fast")
        return " and ".join(parts)

    def met(self, pairs: Pairs) -> bool | None:
        """Whether every part holds at both quartiles (True), some part at neither (False), or neither is so (None)."""
        parts = [
            ([ours for ours, _ in pairs], self.most),
            ([-ours for ours, _ in pairs], -self.least),
            ([ours - limit for ours, limit in pairs], self.most_beyond),
            ([ours / limit for ours, limit in pairs], self.most_ratio),
            ([-limit / ours for ours, limit in pairs], -self.least_speedup),
        ]
        known = [(*quartiles(values), most) for values, most in parts if math.isfinite(most)]
        if not known:
            return None
        if all(high <= most for _, _, high, most in known):
            return True
        return False if any(low > most for low, _, _, most in known) else None


def quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    """First quartile, median, third quartile."""
    if len(values) < 2:
        return values[0], values[0], values[0]
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, statistics.median(values), high


def interleaved(rounds: int, ours: Callable[[], float], limit: Callable[[], float]) -> Pairs:
    """Costs measured in turn. Every other round begins with the limit; the first touch of everything is not counted."""
    ours()
    limit()
    pairs: Pairs = []
    for number in range(rounds):
        if number % 2 == 0:
            cost = ours()
            pairs.append((cost, limit()))
        else:
            cost = limit()
            pairs.append((ours(), cost))
    return pairs


def row(
    name: str,
    unit: str,
    pairs: Pairs,
    *,
    limit_is: str,
    case: str = "",
    goal: Goal | None = None,
    speedup: bool = False,
    note: str = "",
) -> Row:
    """Sums pairs up. `speedup`: the ratio is limit / ours."""
    low, value, high = quartiles([ours for ours, _ in pairs])
    ratio_low, ratio, ratio_high = quartiles([limit / ours if speedup else ours / limit for ours, limit in pairs])
    goal = goal or Goal()
    return Row(
        name,
        case,
        value,
        unit,
        low,
        high,
        statistics.median(limit for _, limit in pairs),
        limit_is,
        ratio,
        ratio_low,
        ratio_high,
        goal.text(unit),
        goal.met(pairs),
        len(pairs),
        note,
    )


def figure(
    name: str, unit: str, values: Sequence[float], *, case: str = "", goal: Goal | None = None, note: str = ""
) -> Row:
    """Sums up what has no limit to stand next to."""
    low, value, high = quartiles(values)
    goal = goal or Goal()
    met = goal.met([(value, math.nan) for value in values])
    return Row(name, case, value, unit, low, high, None, "", None, None, None, goal.text(unit), met, len(values), note)


def beyond(pairs: Pairs, unit: str) -> str:
    """The difference within the pairs, for a note."""
    low, middle, high = quartiles([ours - limit for ours, limit in pairs])
    return f"{middle:+.3g} {unit} ({low:+.3g} to {high:+.3g})"
