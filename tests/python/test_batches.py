# SPDX-License-Identifier: MIT
"""Batches and the energy of a call on made-up clocks and counters, against an exact truth."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from truth import MS, Load, counts

import powerprobe as pp
from powerprobe import _core
from powerprobe.batches import Steps, batch_of, batches, calibrated, empty_batch, on_edges, steps

UNIT_NJ = 1000
FLAGS = pp.EDGE_FLAGS


class Clock:
    """Time that passes only while something is called."""

    def __init__(self, call_ns: float, first_ns: float = 0.0, reading_ns: float = 0.0) -> None:
        self.now = 0.0
        self.batches: list[int] = []
        self._call_ns = call_ns
        self._first_ns = first_ns
        self._reading_ns = reading_ns

    def __call__(self) -> int:
        self.now += self._reading_ns
        return int(self.now)

    def batch(self, count: int) -> None:
        self.now += count * self._call_ns + (0 if self.batches else self._first_ns)
        self.batches.append(count)


def edges_of(load: Load, updates: list[int], gaps: list[int], seen_after: list[int]) -> npt.NDArray[np.void]:
    """What a sampler would store: each step seen so long after it happened, the old value last seen `gap` before that."""
    edges = np.zeros(len(updates), dtype=pp.EDGE_DTYPE)
    edges["t_ns"] = np.array(updates) + seen_after
    edges["gap_ns"] = gaps
    edges["joules"] = np.array(counts(load, updates, UNIT_NJ)) * UNIT_NJ * 1e-9
    edges["flags"][0] = FLAGS["first"]
    return edges


def test_a_batch_calls_so_often_with_the_arguments() -> None:
    seen: list[tuple[object, ...]] = []
    batch_of(lambda *args: seen.append(args), (1, "two"))(3)
    batch_of(lambda *args: seen.append(args))(1)
    empty_batch(5)

    assert seen == [(1, "two")] * 3 + [()]


@given(
    call_ns=st.floats(3.0, 1e10),
    goal_ns=st.floats(1e3, 1e9),
    first_ns=st.floats(0.0, 1e10),
    reading_ns=st.floats(0.0, 100.0),
)
def test_a_calibrated_batch_takes_its_goal_and_not_much_more(
    call_ns: float, goal_ns: float, first_ns: float, reading_ns: float
) -> None:
    clock = Clock(call_ns, first_ns, reading_ns)
    count, took_ns = calibrated(clock.batch, goal_ns, clock)

    assert count * call_ns + reading_ns + 1 >= goal_ns or count == 1
    assert count == 1 or count * call_ns <= 2.5 * goal_ns + call_ns
    assert took_ns == pytest.approx(call_ns, rel=0.01, abs=2 + reading_ns)
    assert sum(clock.batches) * call_ns <= max(20 * goal_ns, 4 * call_ns)  # finding out costs no more than that


def test_one_slow_batch_does_not_end_the_calibration() -> None:
    clock = Clock(100.0)
    slow = iter([0, 1e6])  # the second batch, the first that is timed, is interrupted

    def batch(count: int) -> None:
        clock.batch(count)
        clock.now += next(slow, 0)

    assert calibrated(batch, 1e5, clock)[0] >= 1000


def test_batches_go_on_until_the_time_is_up_and_never_stop_within_one() -> None:
    clock = Clock(10.0, reading_ns=1.0)
    stamps = batches(clock.batch, 100, 5000, clock)

    assert clock.batches == [100] * 5
    assert stamps.tolist() == [1, 1002, 2003, 3004, 4005, 5006]
    assert batches(Clock(1e9).batch, 1, 5, Clock(0.0, reading_ns=1e9)).size == 2


@st.composite
def runs(draw: st.DrawFn) -> tuple[npt.NDArray[np.void], npt.NDArray[np.int64], int, float]:
    """Edges, stamps, calls per batch, and the joules that a call takes; before and after the run something else does."""
    call_nj = draw(st.integers(100, 10_000_000))
    watts = draw(st.integers(1, 300))
    call_ns = call_nj // watts + 1
    batch = draw(st.integers(1, 1000))
    start = draw(st.integers(5 * MS, 7 * MS))
    size = max(1, 40 * MS // (batch * call_ns))
    end = start + size * batch * call_ns
    load = Load([(start, draw(st.integers(0, 300))), (end - start, watts), (1, draw(st.integers(0, 300)))])
    updates = [0]
    while updates[-1] < end + 3 * MS:
        updates.append(updates[-1] + draw(st.integers(MS // 2, 2 * MS)))
    after = [draw(st.integers(0, 1000)) for _ in updates]
    gaps = [a + draw(st.integers(1, 200_000)) for a in after]
    stamps = start + batch * call_ns * np.arange(size + 1)
    return edges_of(load, updates, gaps, after), stamps, batch, watts * call_ns * 1e-9


@given(run=runs())
def test_the_energy_of_a_call_lies_within_its_bounds_whatever_comes_before_and_after(
    run: tuple[npt.NDArray[np.void], npt.NDArray[np.int64], int, float],
) -> None:
    edges, stamps, batch, truth = run
    found = on_edges(edges, stamps, batch, UNIT_NJ * 1e-9)

    if found is not None:
        assert found.lower <= truth * (1 + 1e-9)
        assert truth <= found.upper * (1 + 1e-9)
        assert found.lower <= found.joules <= found.upper


def interval(edges: npt.NDArray[np.void], stamps: npt.NDArray[np.int64], calls: int) -> float:
    """Joules per call from the start to the end of the run, as an interval is answered."""
    joules, _, _ = _core._series_energies(edges, UNIT_NJ * 1e-9, 0.0, 0.0, stamps[:1], stamps[-1:])
    return float(joules[0]) / calls


def test_on_edges_no_energy_of_what_ran_before_and_after_is_in_a_call() -> None:
    # 30 W for 20 ms, 10 W before and after, calls of 1 us; at every phase against the counter's steps of 1 ms.
    errors: dict[Callable[..., object], list[float]] = {on_edges: [], interval: []}
    for phase in range(0, MS, MS // 50):
        start = 10 * MS + phase
        load = Load([(start, 10), (20 * MS, 30), (1, 10)])
        updates = list(range(0, 40 * MS, MS))
        edges = edges_of(load, updates, [1000] * len(updates), [500] * len(updates))
        stamps = start + np.arange(0, 20 * MS + 1, 100_000)
        found = on_edges(edges, stamps, 100, UNIT_NJ * 1e-9)
        assert found is not None
        assert found.upper - found.lower < 0.03 * found.joules
        errors[on_edges].append(found.joules / 30e-6 - 1)
        errors[interval].append(interval(edges, stamps, 20_000) / 30e-6 - 1)

    print({f.__name__: (np.mean(e), np.max(np.abs(e))) for f, e in errors.items()})
    assert np.max(np.abs(errors[on_edges])) < 0.001
    assert np.mean(errors[interval]) < -0.01


def test_an_edge_that_was_located_badly_counts_as_the_middle_of_its_gap() -> None:
    updates = list(range(0, 40 * MS, MS))
    gaps = [0 if 10 * MS < at <= 11 * MS else 200_000 for at in updates]  # the first one inside is exact
    edges = edges_of(Load([(1, 30)]), updates, gaps, [gap // 2 for gap in gaps])
    stamps = np.arange(10 * MS + 1000, 30 * MS, 10_000)
    found = on_edges(edges, stamps, 10, UNIT_NJ * 1e-9)

    assert found is not None
    assert found.joules == pytest.approx(30e-6, rel=1e-4)


def test_a_call_longer_than_the_steps_is_not_taken_to_pieces() -> None:
    load = Load([(1, 10)])
    updates = list(range(0, 100 * MS, MS))
    edges = edges_of(load, updates, [1000] * 100, [0] * 100)
    stamps = np.array([10 * MS, 60 * MS])
    found = on_edges(edges, stamps, 1, UNIT_NJ * 1e-9)

    assert found is not None
    assert math.isinf(found.upper)


@pytest.mark.parametrize("count", [0, 1, 2])
def test_without_two_edges_there_is_no_answer(count: int) -> None:
    load = Load([(1, 10)])
    updates = list(range(0, 100 * MS, 10 * MS))
    edges = edges_of(load, updates, [1000] * 10, [0] * 10)
    stamps = np.arange(5 * MS, (5 + 10 * count) * MS + 1, MS)

    assert (on_edges(edges, stamps, 10, UNIT_NJ * 1e-9) is None) == (count < 2)


def test_edges_that_a_ring_has_lost_or_a_counter_that_was_reset_give_no_answer() -> None:
    load = Load([(1, 10)])
    updates = list(range(0, 100 * MS, MS))
    edges = edges_of(load, updates, [1000] * 100, [0] * 100)
    stamps = np.arange(10 * MS, 60 * MS, MS)

    assert on_edges(edges[20:], stamps, 10, UNIT_NJ * 1e-9) is None
    edges["flags"][30] = FLAGS["reset"]
    assert on_edges(edges, stamps, 10, UNIT_NJ * 1e-9) is None


def test_steps_are_counted_with_what_happened_to_them() -> None:
    edges = edges_of(Load([(1, 10)]), list(range(0, 100 * MS, MS)), [1000] * 100, [0] * 100)
    edges["flags"][20:23] = FLAGS["late"]
    edges["flags"][30] = FLAGS["quiet"]

    assert steps(edges, 10 * MS, 60 * MS) == Steps(49, 3, 0)  # neither the one that says rest nor the one at the start
