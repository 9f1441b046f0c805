# SPDX-License-Identifier: MIT
"""Calls in batches, back to back, and the energy of a call from the steps that fell among them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ._core import EDGE_FLAGS

Batch = Callable[[int], object]
Clock = Callable[[], int]

# As timeit does it: the arguments are written out, because a call with a star costs 6 to 8 ns more than one without.
_LOOP = """
def made(function, {names}):
    def batch(count):
        for _ in repeat(None, count):
            function({names})
    return batch
"""

_AT_REST = EDGE_FLAGS["first"] | EDGE_FLAGS["quiet"]
_BREAKS = EDGE_FLAGS["reset"] | EDGE_FLAGS["ambiguous"]
_READINGS = 1000
_LONG = 100  # times its goal: a batch so long is not tried twice


def batch_of(function: Callable[..., object], args: Sequence[object] = ()) -> Batch:
    """A function that calls `function(*args)` so many times and does nothing else."""
    import itertools

    names = ", ".join(f"a{i}" for i in range(len(args)))
    scope: dict[str, Any] = {"repeat": itertools.repeat}
    exec(_LOOP.format(names=names), scope)
    made: Batch = scope["made"](function, *args)
    return made


def empty_batch(count: int) -> None:
    """The same loop around nothing. Not around an empty function: calling one is a part of what a call costs, and one of
    Python's costs more than many a function of C takes."""
    import itertools

    for _ in itertools.repeat(None, count):
        pass


def clock_ns(clock: Clock) -> float:
    """What one reading of the clock and noting it takes."""
    stamps = [clock() for _ in range(_READINGS)]
    return (stamps[-1] - stamps[0]) / _READINGS


def calibrated(batch: Batch, goal_ns: float, clock: Clock) -> tuple[int, float]:
    """How many calls a batch needs to take `goal_ns` (1 if one call takes longer), and what a call took."""
    batch(1)  # what the first call alone does is not to be counted
    count = 1
    while True:
        took = _time(batch, count, clock)
        if goal_ns <= took < _LONG * goal_ns:
            took = min(took, _time(batch, count, clock))  # an interruption may have made it long
        if took >= goal_ns:
            return count, took / count
        wanted = math.ceil(1.2 * count * goal_ns / took) if took > 0 else 10 * count
        count = max(2 * count, min(10 * count, wanted))


def _time(batch: Batch, count: int, clock: Clock) -> int:
    start = clock()
    batch(count)
    return clock() - start


def batches(batch: Batch, count: int, duration_ns: int, clock: Clock) -> tuple[int, int, int]:
    """Runs whole batches for so long, at least one; returns how many, when the first began and when the last ended."""
    made = 0
    start = clock()
    while True:
        batch(count)
        made += 1
        now = clock()
        if now - start >= duration_ns:
            return made, start, now


class Estimate(NamedTuple):
    """Joules or watts, with bounds."""

    value: float
    lower: float
    upper: float

    def times(self, factor: float) -> Estimate:
        return Estimate(self.value * factor, self.lower * factor, self.upper * factor)


class Steps(NamedTuple):
    """How many edges fell into a run, and how many of these the sampler came late for or lost others before."""

    edges: int
    late: int
    dropped: int


def steps(edges: npt.NDArray[np.void], start_ns: int, end_ns: int) -> Steps:
    """Counts what fell into an interval."""
    flags = _within(edges, start_ns, end_ns)["flags"]
    late, dropped = (np.count_nonzero(flags & EDGE_FLAGS.get(name, 0)) for name in ("late", "dropped"))
    return Steps(flags.size, int(late), int(dropped))


def watts_on_edges(edges: npt.NDArray[np.void], start_ns: int, end_ns: int, quantum: float) -> Estimate | None:
    """Mean power from the first edge after the start of a run to the last before its end; None without two such edges.

    Times the seconds of a call this is its energy, if calls are many and alike. There the counter's total is known to a
    count, and nothing that ran before and after is in it. An interval from the start to the end has two steps in it that
    are only in part the run's: with other work before and after that takes a third, and runs of 20 steps, a call comes
    out 1.1 % low that way, at worst 1.7 %, and right on edges (tests/python/test_batches.py). To count the calls between
    the edges instead was worse where CPUs are shared: up to 5 % low on two CPUs that had 3.5 to do, perhaps because
    stretches in which the caller was kept waiting, and with it the sampler, tend to lie outside.
    """
    inside = _within(edges, start_ns, end_ns)
    if inside.size:  # edges that were located well give sharper ends
        inside = inside[inside["gap_ns"] <= np.median(inside["gap_ns"])]
    if inside.size < 2 or int(edges["t_ns"][0]) > start_ns or (inside["flags"][1:] & _BREAKS).any():
        return None
    first, last = inside[0], inside[-1]
    joules = float(last["joules"]) - float(first["joules"])
    apart, first_gap, last_gap = int(last["t_ns"] - first["t_ns"]), int(first["gap_ns"]), int(last["gap_ns"])
    longest, shortest = (apart + first_gap) * 1e-9, (apart - last_gap) * 1e-9
    if shortest <= 0.0:
        return None
    return Estimate(
        2.0 * joules / (longest + shortest), max(0.0, joules - quantum) / longest, (joules + quantum) / shortest
    )


def _within(edges: npt.NDArray[np.void], start_ns: int, end_ns: int) -> npt.NDArray[np.void]:
    """The edges whose step fell into the interval for certain; not those that say that the counter is at rest."""
    times = edges["t_ns"]
    is_inside = (times - edges["gap_ns"].astype(np.int64) >= start_ns) & (times <= end_ns)
    inside: npt.NDArray[np.void] = edges[is_inside & (edges["flags"] & _AT_REST == 0)]
    return inside
