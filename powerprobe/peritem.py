# SPDX-License-Identifier: MIT
"""Energy per step, token or image: what was counted divided by how many things it was used for. Pure functions; any thread."""

from __future__ import annotations

import math
from typing import Protocol

import numpy as np

from .errors import BadArgument


class Counted(Protocol):
    """What has these has all that `PerItem` gives."""

    @property
    def items(self) -> float: ...
    @property
    def joules(self) -> dict[str, float]: ...
    @property
    def lower(self) -> dict[str, float]: ...
    @property
    def upper(self) -> dict[str, float]: ...
    @property
    def total(self) -> float: ...
    @property
    def total_lower(self) -> float: ...
    @property
    def total_upper(self) -> float: ...


class PerItem:
    """Each of the six energies divided by `items`: NaN without items."""

    __slots__ = ()

    @property
    def joules_per_item(self: Counted) -> dict[str, float]:
        """By channel, the estimate between `lower_per_item` and `upper_per_item`, in joules."""
        return {name: _each(joules, self.items) for name, joules in self.joules.items()}

    @property
    def lower_per_item(self: Counted) -> dict[str, float]:
        """By channel, the least that it can have been on average, in joules."""
        return {name: _each(joules, self.items) for name, joules in self.lower.items()}

    @property
    def upper_per_item(self: Counted) -> dict[str, float]:
        """By channel, the most that it can have been on average, in joules."""
        return {name: _each(joules, self.items) for name, joules in self.upper.items()}

    @property
    def total_per_item(self: Counted) -> float:
        """`total` divided by `items`, in joules."""
        return _each(self.total, self.items)

    @property
    def total_lower_per_item(self: Counted) -> float:
        """The least that `total_per_item` can have been."""
        return _each(self.total_lower, self.items)

    @property
    def total_upper_per_item(self: Counted) -> float:
        """The most that `total_per_item` can have been."""
        return _each(self.total_upper, self.items)


def as_items(items: float) -> float:
    """What may be given for `items`.

    Raises:
        TypeError: not a number.
        BadArgument: not 0 or more, or not finite.
    """
    if isinstance(items, bool) or not isinstance(items, (int, float, np.integer, np.floating)):
        raise TypeError(f"items must be a number, not {type(items).__name__}")
    if not 0.0 <= items < math.inf:  # also NaN
        raise BadArgument(f"items must be a finite number of 0 or more, not {items}")
    return float(items)


def _each(joules: float, items: float) -> float:
    return joules / items if items else math.nan
