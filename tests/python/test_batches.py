# SPDX-License-Identifier: MIT
"""Batches and the energy of a call on made-up clocks and counters, against an exact truth."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from truth import MS, Load, counts

import powerprobe as pp
from powerprobe import _core
from powerprobe.batches import Steps, batch_of, batches, calibrated, empty_batch, steps, watts_on_edges

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

    assert batches(clock.batch, 100, 5000, clock) == (5, 1, 5006)
    assert clock.batches == [100] * 5
    assert batches(Clock(1e9).batch, 1, 5, Clock(0.0, reading_ns=1e9))[0] == 1


@st.composite
def runs(draw: st.DrawFn) -> tuple[npt.NDArray[np.void], int, int, int]:
    """Edges, start and end of a run, and its watts; before and after it something else runs."""
    watts = draw(st.integers(1, 300))
    start = draw(st.integers(5 * MS, 7 * MS))
    duration = draw(st.integers(2 * MS, 50 * MS))
    load = Load([(start, draw(st.integers(0, 300))), (duration, watts), (1, draw(st.integers(0, 300)))])
    updates = [0]
    while updates[-1] < start + duration + 3 * MS:
        updates.append(updates[-1] + draw(st.integers(MS // 2, 2 * MS)))
    after = [draw(st.integers(0, 1000)) for _ in updates]
    gaps = [a + draw(st.integers(1, 200_000)) for a in after]
    return edges_of(load, updates, gaps, after), start, start + duration, watts


@given(run=runs())
def test_the_power_of_a_run_lies_within_its_bounds_whatever_comes_before_and_after(
    run: tuple[npt.NDArray[np.void], int, int, int],
) -> None:
    edges, start, end, watts = run
    found = watts_on_edges(edges, start, end, UNIT_NJ * 1e-9)

    if found is not None:
        assert found.lower <= watts * (1 + 1e-9)
        assert watts <= found.upper * (1 + 1e-9)
        assert found.lower <= found.value <= found.upper


def interval(edges: npt.NDArray[np.void], start: int, end: int) -> float:
    """Watts of the run, as an interval is answered."""
    joules, *_ = _core._series_energies(edges, UNIT_NJ * 1e-9, 0.0, 0.0, 0.0, np.array([start]), np.array([end]))
    return float(joules[0]) / ((end - start) * 1e-9)


def test_on_edges_no_energy_of_what_ran_before_and_after_is_in_a_call() -> None:
    # 30 W for 20 ms, 10 W before and after; at every phase against the counter's steps of 1 ms.
    on_edges, of_interval = [], []
    for phase in range(0, MS, MS // 50):
        start = 10 * MS + phase
        load = Load([(start, 10), (20 * MS, 30), (1, 10)])
        updates = list(range(0, 40 * MS, MS))
        edges = edges_of(load, updates, [1000] * len(updates), [500] * len(updates))
        found = watts_on_edges(edges, start, start + 20 * MS, UNIT_NJ * 1e-9)
        assert found is not None
        assert found.upper - found.lower < 1e-3 * found.value
        on_edges.append(found.value / 30 - 1)
        of_interval.append(interval(edges, start, start + 20 * MS) / 30 - 1)

    assert np.max(np.abs(on_edges)) < 1e-4
    assert -0.012 < np.mean(of_interval) < -0.01
    assert -0.017 < np.min(of_interval) < -0.016


def test_an_edge_that_was_located_badly_counts_as_the_middle_of_its_gap() -> None:
    updates = list(range(0, 40 * MS, MS))
    gaps = [0 if 10 * MS < at <= 11 * MS else 200_000 for at in updates]  # the first one inside is exact
    edges = edges_of(Load([(1, 30)]), updates, gaps, [gap // 2 for gap in gaps])
    found = watts_on_edges(edges, 10 * MS + 1000, 30 * MS, UNIT_NJ * 1e-9)

    assert found is not None
    assert found.value == pytest.approx(30, rel=1e-4)


def test_a_run_does_not_end_on_edges_that_were_located_badly_where_there_are_better_ones() -> None:
    updates = list(range(0, 40 * MS, MS))
    gaps = [900_000 if at in (11 * MS, 29 * MS) else 1000 for at in updates]
    edges = edges_of(Load([(1, 30)]), updates, gaps, [0] * 40)
    found = watts_on_edges(edges, 10 * MS + 1000, 29 * MS + 1000, UNIT_NJ * 1e-9)

    assert found is not None
    assert found.upper - found.lower < 1e-3 * found.value


@pytest.mark.parametrize("count", [0, 1, 2])
def test_without_two_edges_there_is_no_answer(count: int) -> None:
    edges = edges_of(Load([(1, 10)]), list(range(0, 100 * MS, 10 * MS)), [1000] * 10, [0] * 10)
    end = (5 + 10 * count) * MS + 1

    assert (watts_on_edges(edges, 5 * MS, end, UNIT_NJ * 1e-9) is None) == (count < 2)


def test_edges_that_a_ring_has_lost_or_a_counter_that_was_reset_give_no_answer() -> None:
    edges = edges_of(Load([(1, 10)]), list(range(0, 100 * MS, MS)), [1000] * 100, [0] * 100)
    span = 10 * MS, 60 * MS

    assert watts_on_edges(edges, *span, UNIT_NJ * 1e-9) is not None
    assert watts_on_edges(edges[20:], *span, UNIT_NJ * 1e-9) is None
    edges["flags"][30] = FLAGS["reset"]
    assert watts_on_edges(edges, *span, UNIT_NJ * 1e-9) is None


def test_edges_so_badly_located_that_they_may_be_one_give_no_answer() -> None:
    edges = edges_of(Load([(1, 10)]), [0, 5 * MS, 6 * MS, 10 * MS], [2 * MS] * 4, [0] * 4)

    assert watts_on_edges(edges, 2 * MS, 8 * MS, UNIT_NJ * 1e-9) is None


def test_steps_are_counted_with_what_happened_to_them() -> None:
    edges = edges_of(Load([(1, 10)]), list(range(0, 100 * MS, MS)), [1000] * 100, [0] * 100)
    edges["flags"][20:23] = FLAGS["late"]
    edges["flags"][30] = FLAGS["quiet"]

    assert steps(edges, 10 * MS, 60 * MS) == Steps(49, 3, 0)  # neither the one that says rest nor the one at the start
