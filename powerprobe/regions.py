# SPDX-License-Identifier: MIT
"""Regions that have ended, with their energies. Plain data; any thread."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from .channels import Tree
from .energies import RESOLVED
from .peritem import PerItem
from .table import numbers, scale_of, seconds, table

if TYPE_CHECKING:
    import numpy.typing as npt


class Regions:
    """All regions of a probe that had ended, in the order of their ends. Immutable.

    Attributes:
        names: the name of each, a tuple of n str.
        start_ns, end_ns: int64, shape (n,), instants of `now_ns()`.
        items: float64, shape (n,).
        thread: uint64, shape (n,): `threading.get_ident()` of the thread that it ran in.
        depth: uint32, shape (n,): how many regions were open around it in its thread.
        channels: names of the columns of the next three.
        joules, lower, upper: float64, shape (n, channels); NaN where it is not known (older than the probe's history,
            or the counter could not be read).
        flags: uint32, shape (n, channels): what is to be known of each answer, as in `Energies.flags`.
    """

    __slots__ = (
        "_tree", "channels", "depth", "end_ns", "flags", "items", "joules", "lower", "names", "start_ns", "thread", "upper",
    )  # fmt: skip

    def __init__(
        self,
        tree: Tree,
        channels: tuple[str, ...],
        names: Sequence[str] = (),
        records: npt.NDArray[np.void] | None = None,
        energies: npt.NDArray[np.float64] | None = None,
        flags: npt.NDArray[np.uint32] | None = None,
    ) -> None:
        if records is None:
            records = np.empty(0, _RECORD)
        if energies is None:
            energies = np.empty((3, len(channels), 0))
        if flags is None:
            flags = np.empty((len(channels), 0), np.uint32)
        self._tree = tree
        self.channels = channels
        self.names = tuple(names[i] for i in records["name"])
        self.start_ns = records["start_ns"].copy()
        self.end_ns = records["end_ns"].copy()
        self.items = records["items"].copy()
        self.thread = records["thread"].copy()
        self.depth = records["depth"].copy()
        self.joules, self.lower, self.upper = (a.T for a in energies)
        self.flags = flags.T

    def __add__(self, later: Regions) -> Regions:
        both = Regions(self._tree, self.channels)
        both.names = self.names + later.names
        for field in _ARRAYS:
            setattr(both, field, np.concatenate([getattr(self, field), getattr(later, field)]))
        return both

    def __len__(self) -> int:
        return len(self.names)

    def summary(self) -> dict[str, RegionSummary]:
        """One `RegionSummary` for each name, in the order of their first ends."""
        labels = np.array(self.names)
        return {name: RegionSummary(self, labels == name) for name in dict.fromkeys(self.names)}

    def by_thread(self) -> dict[int, Regions]:
        """The regions of each thread by themselves, by `threading.get_ident()`, in the order of their first ends.

        A region's energy is all that the channels counted while it ran. So regions that ran at the same time, nested or in
        several threads, each have the whole of it, and their sum counts it more than once.
        """
        return {thread: self._chosen(self.thread == thread) for thread in dict.fromkeys(self.thread.tolist())}

    def _chosen(self, chosen: npt.NDArray[np.bool_]) -> Regions:
        part = Regions(self._tree, self.channels)
        part.names = tuple(np.array(self.names, dtype=object)[chosen])
        for field in _ARRAYS:
            setattr(part, field, getattr(self, field)[chosen])
        return part

    def __repr__(self) -> str:
        return f"<Regions: {len(self)} of {len(set(self.names))} names>"

    def __str__(self) -> str:
        rows = self.summary()
        if not rows:
            return "no regions"
        factor, prefix = scale_of(row.total for row in rows.values())
        each, each_prefix = scale_of(row.total_per_item for row in rows.values())
        columns = [
            list(rows),
            [str(row.count) for row in rows.values()],
            [seconds(row.seconds) for row in rows.values()],
            numbers([row.total for row in rows.values()], factor),
            numbers([row.total_lower for row in rows.values()], factor),
            numbers([row.total_upper for row in rows.values()], factor),
            [f"{row.items:g}" for row in rows.values()],
            numbers([row.total_per_item for row in rows.values()], each),
            [str(row.unknown or "") for row in rows.values()],
        ]
        header = ("region", "count", "time", f"{prefix}J", "lower", "upper", "items", f"{each_prefix}J/item", "unknown")
        return table(header, zip(*columns, strict=True), "<>>>>>>>>")


class RegionSummary(PerItem):
    """All regions of one name together.

    Regions of which some channel is not known count only in `count` and `unknown`: an energy that is not known is not 0.

    Attributes:
        count: how many there were; unknown: how many of these are in none of the sums below.
        seconds, items: sums.
        joules, lower, upper: dicts by channel, sums over the regions.
        total, total_lower, total_upper: joules over the channels that are inside no other.
        joules_per_item, lower_per_item, upper_per_item: dicts by channel, the above divided by `items`; NaN without items.
        total_per_item, total_lower_per_item, total_upper_per_item: the same of the total.
        resolved: whether `total_lower` and `total_upper` are narrow against `total`: no further apart than a tenth.
    """

    __slots__ = (
        "count", "items", "joules", "lower", "resolved", "seconds", "total", "total_lower", "total_upper",
        "unknown", "upper",
    )  # fmt: skip

    def __init__(self, regions: Regions, chosen: npt.NDArray[np.bool_]) -> None:
        known = chosen & ~np.isnan(regions.joules).any(axis=1)
        self.count = int(chosen.sum())
        self.unknown = self.count - int(known.sum())
        self.seconds = float((regions.end_ns - regions.start_ns)[known].sum()) * 1e-9
        self.items = float(regions.items[known].sum())

        def sums(energies: npt.NDArray[np.float64]) -> dict[str, float]:
            columns = energies[known].sum(axis=0) if known.any() else np.full(len(regions.channels), math.nan)
            return dict(zip(regions.channels, columns.tolist(), strict=True))

        self.joules, self.lower, self.upper = sums(regions.joules), sums(regions.lower), sums(regions.upper)
        roots = regions._tree.roots
        self.total = sum(self.joules[name] for name in roots)
        self.total_lower = sum(self.lower[name] for name in roots)
        self.total_upper = sum(self.upper[name] for name in roots)
        self.resolved = self.total_upper - self.total_lower <= RESOLVED * self.total

    def __repr__(self) -> str:
        return f"<RegionSummary: {self.count} regions, {self.total:.4g} J, {self.total_per_item:.4g} J per item>"


_ARRAYS = ("start_ns", "end_ns", "items", "thread", "depth", "joules", "lower", "upper", "flags")
_RECORD = np.dtype(
    [("start_ns", "i8"), ("end_ns", "i8"), ("items", "f8"), ("thread", "u8"), ("name", "u4"), ("depth", "u4")]
)
