# SPDX-License-Identifier: MIT
"""A mean with its confidence interval."""

from __future__ import annotations

import math
from dataclasses import dataclass

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Interval:
    """A mean and the interval that contains the true mean with 95 % confidence; NaN what cannot be known."""

    value: float
    low: float
    high: float

    @property
    def half_width(self) -> float:
        """Half the interval, relative to the value's size; infinite for a value of 0."""
        width = (self.high - self.low) / 2
        return width / abs(self.value) if self.value else (math.inf if width else 0.0)

    def minus(self, other: Interval, factor: float = 1.0) -> Interval:
        """This less `factor` times the other, which was measured independently: half widths add as squares do."""
        value = self.value - factor * other.value
        below = math.hypot(self.value - self.low, factor * (other.high - other.value))
        above = math.hypot(self.high - self.value, factor * (other.value - other.low))
        return Interval(value, value - below, value + above)

    def widened(self, other: Interval, factor: float = 1.0) -> Interval:
        """By the uncertainty of `factor` times the other, which was subtracted from each run already."""
        return self.minus(Interval(0.0, other.low - other.value, other.high - other.value), factor)

    def to_dict(self) -> dict[str, float | None]:
        """As `json` takes it: None for what is not known."""
        return {name: finite(getattr(self, name)) for name in ("value", "low", "high")}


UNKNOWN = Interval(math.nan, math.nan, math.nan)


def finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
