# SPDX-License-Identifier: MIT
"""Loads whose energy is known exactly at every instant, and the counters that see them. All integers: nothing is rounded."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from itertools import pairwise

MS = 1_000_000


class Load:
    """A power that is constant between some instants: pieces of (nanoseconds, watts), the last one for good."""

    def __init__(self, pieces: Iterable[tuple[int, int]]) -> None:
        self.begins: list[int] = []
        self.totals: list[int] = []
        self.watts: list[int] = []
        begin = total = 0
        for duration, watts in pieces:
            self.begins.append(begin)
            self.totals.append(total)
            self.watts.append(watts)
            begin, total = begin + duration, total + duration * watts

    def nanojoules(self, t_ns: int) -> int:
        """Energy since time 0; a watt is a nanojoule per nanosecond."""
        i = bisect_right(self.begins, t_ns) - 1
        return self.totals[i] + (t_ns - self.begins[i]) * self.watts[i]

    def joules(self, start_ns: int, end_ns: int) -> float:
        return (self.nanojoules(end_ns) - self.nanojoules(start_ns)) * 1e-9


def counts(load: Load, updates: Sequence[int], unit_nj: int, first: int = 0, modulus: int = 0) -> list[int]:
    """What a counter of this unit shows from each of these instants on."""
    raws = [first + load.nanojoules(t) // unit_nj for t in updates]
    return [raw % modulus for raw in raws] if modulus else raws


def counter(
    load: Load,
    updates: Sequence[int] = range(0, 10_000 * MS, MS),
    *,
    name: str = "package-0",
    unit_nj: int = 1000,
    first: int = 0,
    modulus: int = 0,
    **more: object,
) -> dict[str, object]:
    """A script for replay(): a counter that takes up the load's energy at each of `updates`, the first of them 0."""
    longest = max((b - a for a, b in pairwise(updates)), default=0)
    return {
        "name": name,
        "joules_per_count": unit_nj * 1e-9,
        "modulus": modulus,
        "stale_ns": min(longest, 2_000_000_000),  # what a sampler accepts
        "max_watts": 2.0 * max(load.watts) + 1.0,
        "steps": list(zip(updates, counts(load, updates, unit_nj, first, modulus), strict=True)),
        **more,
    }


def steady(watts: int = 1, name: str = "package-0", seconds: int = 20, **more: object) -> dict[str, object]:
    """A counter that steps every millisecond under a constant load."""
    return counter(Load([(1, watts)]), range(0, seconds * 1000 * MS, MS), name=name, **more)
