# SPDX-License-Identifier: MIT
"""The truth always lies within the bounds: for any load, jitter, wraps, drops, failures and resets, against exact models.

The first three parts feed the core's pure functions with what an ideal sampler would see; the last one runs real samplers.
"""

from __future__ import annotations

import bisect
import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st
from truth import MS, Load, counter, counts

import powerprobe as pp
from powerprobe import _core

Floats = npt.NDArray[np.float64]
FLAGS = pp.EDGE_FLAGS
RARE = FLAGS["wrapped"] | FLAGS["reset"] | FLAGS["ambiguous"] | FLAGS["dropped"]
ROUNDING = 1e-9  # joules; totals here stay below 1e5 J, where a float64 is exact to 1e-11

loads = st.lists(
    st.tuples(st.integers(1, 20 * MS), st.sampled_from([0, 1, 7, 40, 300])), min_size=1, max_size=12
).map(Load)  # fmt: skip


def rising(least: int, most: int, size: int) -> st.SearchStrategy[list[int]]:
    """Instants from 0 on, each between `least` and `most` after the one before."""
    steps = st.lists(st.integers(least, most), min_size=2, max_size=size)
    return steps.map(lambda gaps: [0, *itertools.accumulate(gaps)])


def energies(
    edges: npt.NDArray[np.void], quantum: float, starts: Sequence[int], ends: Sequence[int], max_watts: float = 0.0
) -> Sequence[Floats]:
    """joules, lower, upper."""
    instants = np.array(starts, np.int64), np.array(ends, np.int64)
    return _core._series_energies(edges, quantum, 0.0, 0.0, max_watts, *instants)[:3]


# ---- Edges, seen by an ideal sampler


@dataclass
class Seen:
    """The edges of a counter, and the instants between which they can answer."""

    edges: npt.NDArray[np.void]
    first: int
    last: int
    quantum: float


def see(
    load: Load, updates: list[int], polls: list[int], unit_nj: int, *, first: int = 0, modulus: int = 0,
    drops: frozenset[int] = frozenset(), failures: frozenset[int] = frozenset(),
) -> Seen:  # fmt: skip
    """Polls the counter at these instants, as sampler.cpp does with readings that take no time.

    `drops` are the numbers of edges that find no room, `failures` those of polls that fail.
    """
    stale = max(b - a for a, b in itertools.pairwise([*updates, max(updates[-1], polls[-1])])) + 1
    shown = counts(load, updates, unit_nj, first, modulus)
    good = [poll for i, poll in enumerate(polls) if i == 0 or i not in failures]
    raws = [shown[np.searchsorted(updates, poll, side="right") - 1] for poll in good]
    unwrapped = _core._unwrap(modulus, unit_nj * 1e-9, 1e6 if modulus == 0 else 0.0, stale, raws, good)
    edges = np.zeros(len(good), pp.EDGE_DTYPE)
    size = 0
    for i, (poll, (step, total, _)) in enumerate(zip(good, unwrapped, strict=True)):
        gap = stale
        if step == "still":
            if poll - int(edges["t_ns"][size - 1]) < 2 * stale:
                continue
        elif step != "first":
            gap = min(stale, poll - good[i - 1])
        if i in drops and size:
            continue
        edges[size] = (poll, total * (unit_nj * 1e-9), gap, 0, 0, 0)
        size += 1
    edges = edges[:size]
    return Seen(edges, int(edges["t_ns"][0]), int(edges["t_ns"][-1]) - int(edges["gap_ns"][-1]), unit_nj * 1e-9)


@st.composite
def seen_loads(draw: st.DrawFn) -> tuple[Load, Seen]:
    load = draw(loads)
    updates = draw(rising(10_000, 3 * MS, 60))
    polls = draw(rising(1_000, 4 * MS, 80))
    polls = [poll + draw(st.integers(0, MS)) for poll in polls[:1]] + [poll + MS for poll in polls[1:]]
    unit_nj = draw(st.sampled_from([1, 1000, 61_035, 50_000_000]))
    wraps = draw(st.booleans())
    # More than two thirds of a modulus between two readings would be taken for a reset; the pieces bound what there can be.
    most = load.nanojoules(polls[-1]) // unit_nj + 1
    modulus = draw(st.integers(2 * most + 2, 3 * most + 2)) if wraps else 0
    first = draw(st.integers(0, modulus - 1)) if wraps else draw(st.integers(0, 2**40))
    numbers = st.frozensets(st.integers(1, 80), max_size=30)
    seen = see(load, updates, polls, unit_nj, first=first, modulus=modulus, drops=draw(numbers), failures=draw(numbers))
    assume(seen.edges.size >= 2 and seen.last >= seen.first)
    return load, seen


def intervals_in(data: st.DataObject, seen: Seen) -> tuple[list[int], list[int]]:
    instants = st.integers(seen.first, seen.last)
    edges = seen.edges["t_ns"].tolist()
    # The instants at which something changes, and their neighbours, are where it goes wrong.
    special = [t + d for t in edges for d in (-1, 0, 1) if seen.first <= t + d <= seen.last]
    either = st.one_of(instants, st.sampled_from(special)) if special else instants
    pairs = data.draw(st.lists(st.tuples(either, either), min_size=1, max_size=30))
    return [min(pair) for pair in pairs], [max(pair) for pair in pairs]


# Limits of the power, times the most that the load ever takes; the last one says that none is known.
LIMITS = [1.0, 1.001, 1.5, 10.0, 1000.0, 0.0]


@given(seen_loads(), st.data())
def test_the_truth_lies_within_the_bounds(load_and_seen: tuple[Load, Seen], data: st.DataObject) -> None:
    load, seen = load_and_seen
    starts, ends = intervals_in(data, seen)
    truth = np.array([load.joules(a, b) for a, b in zip(starts, ends, strict=True)])
    before = (np.full(truth.shape, np.inf), np.full(truth.shape, -np.inf))
    for limit in LIMITS:
        joules, lower, upper = energies(seen.edges, seen.quantum, starts, ends, limit * max(load.watts))
        assert (lower <= truth + ROUNDING).all()
        assert (truth <= upper + ROUNDING).all()
        assert (lower >= 0.0).all()
        assert (lower <= joules + ROUNDING).all()
        assert (joules <= upper).all()
        # A tighter limit never makes a bound worse.
        assert (lower <= before[0] + ROUNDING).all()
        assert (upper >= before[1] - ROUNDING).all()
        before = lower, upper


@given(seen_loads(), st.sampled_from(LIMITS), st.data())
def test_parts_add_up_to_the_whole(load_and_seen: tuple[Load, Seen], limit: float, data: st.DataObject) -> None:
    load, seen = load_and_seen
    cuts = sorted(data.draw(st.lists(st.integers(seen.first, seen.last), min_size=2, max_size=20)))
    parts = energies(seen.edges, seen.quantum, cuts[:-1], cuts[1:], limit * max(load.watts))
    whole = energies(seen.edges, seen.quantum, cuts[:1], cuts[-1:], limit * max(load.watts))
    if limit == 0.0:
        assert parts[0].sum() == pytest.approx(whole[0][0], abs=ROUNDING)
    else:  # a part may be cut off at what the limit allows
        assert parts[0].sum() <= whole[0][0] + ROUNDING
    assert parts[1].sum() <= whole[1][0] + ROUNDING  # bounds of parts are never sharper than those of the whole
    assert whole[2][0] <= parts[2].sum() + ROUNDING


@given(seen_loads(), st.sampled_from(LIMITS), st.data())
def test_a_longer_interval_has_no_less_energy(
    load_and_seen: tuple[Load, Seen], limit: float, data: st.DataObject
) -> None:
    load, seen = load_and_seen
    a, b, c = sorted(data.draw(st.lists(st.integers(seen.first, seen.last), min_size=3, max_size=3)))
    for shorter, longer in zip(
        energies(seen.edges, seen.quantum, [a, a], [b, b], limit * max(load.watts)),
        energies(seen.edges, seen.quantum, [a, a], [c, c], limit * max(load.watts)),
        strict=True,
    ):
        assert (shorter <= longer + ROUNDING).all()


# ---- The estimate


@st.composite
def steady_edges(draw: st.DrawFn) -> tuple[npt.NDArray[np.void], float, float, int]:
    """Of a counter under a constant load, its watts, quantum, and the longest gap of an edge that was seen in time.

    The counter steps unevenly. Some edges are late, by up to the time until the next is seen; those around a late one are
    not. Some are missing.
    """
    watts = draw(st.sampled_from([1, 40, 300]))
    quantum_nj = draw(st.sampled_from([1, 1000, 61_035]))
    steps = draw(rising(MS // 2, 3 * MS // 2, 60))
    tight = draw(st.sampled_from([1, 1000, 10_000]))
    edges = np.zeros(len(steps), pp.EDGE_DTYPE)
    size = 0
    was_late = True  # the first has no neighbour before it
    for i, step in enumerate(steps):
        last = i + 1 == len(steps)
        if i > 0 and not last and not was_late and draw(st.integers(0, 5)) == 0:
            continue
        is_late = not was_late and not last and draw(st.integers(0, 3)) == 0
        late = draw(st.integers(0, steps[i + 1] - step - tight - 1)) if is_late else draw(st.integers(0, tight - 1))
        # The old value was last seen some time before the step, after the edge before was seen.
        longest = step - int(edges["t_ns"][size - 1]) if size else tight
        early = draw(st.integers(1, longest)) if is_late else draw(st.integers(1, tight))
        edges[size] = (step + late, watts * step // quantum_nj * (quantum_nj * 1e-9), late + early, 0, 0, 0)
        was_late = is_late
        size += 1
    return edges[:size], float(watts), quantum_nj * 1e-9, 2 * tight


@given(steady_edges())
def test_under_a_constant_load_late_and_missing_edges_distort_nothing(
    steady: tuple[npt.NDArray[np.void], float, float, int],
) -> None:
    edges, watts, quantum, tight = steady
    first, last = int(edges["t_ns"][0]), int(edges["t_ns"][-1]) - int(edges["gap_ns"][-1])
    assume(last >= first)
    instants = np.linspace(first, last, 200).astype(np.int64)
    joules, _, _ = energies(edges, quantum, [first] * instants.size, list(instants))
    truth = watts * 1e-9 * (instants - first)
    # Each end is off by what is cut off below a quantum and by half a gap, unless the gap is one of those that are known to be
    # late: more than 1/16 of the time since the edge before.
    gaps, since = edges["gap_ns"][1:].astype(np.int64), np.diff(edges["t_ns"])
    known = max(int(edges["gap_ns"][0]), int(gaps[16 * gaps <= since].max(initial=0)), tight)
    assert np.abs(joules - truth).max() <= 2.0 * quantum + watts * 1e-9 * known + ROUNDING


@given(seen_loads(), st.data())
def test_edges_seen_in_time_are_joined_by_straight_lines(load_and_seen: tuple[Load, Seen], data: st.DataObject) -> None:
    _, seen = load_and_seen
    edges = seen.edges.copy()
    edges["gap_ns"][1:] = np.diff(edges["t_ns"]) // 16
    edges["gap_ns"][0] = 100
    instants = np.array(data.draw(st.lists(st.integers(seen.first, seen.last), min_size=1, max_size=30)))
    instants = instants.clip(edges["t_ns"][0], int(edges["t_ns"][-1]) - int(edges["gap_ns"][-1]))
    starts = np.full(instants.shape, edges["t_ns"][0])
    places = edges["t_ns"] - edges["t_ns"][0] - edges["gap_ns"] / 2
    line = np.interp(instants - edges["t_ns"][0], places, edges["joules"])
    expected = line - np.interp(0.0, places, edges["joules"])
    assert energies(edges, seen.quantum, list(starts), list(instants))[0] == pytest.approx(expected, abs=ROUNDING)


@given(seen_loads())
def test_the_estimate_has_no_jumps(load_and_seen: tuple[Load, Seen]) -> None:
    _, seen = load_and_seen
    t, gap = seen.edges["t_ns"], seen.edges["gap_ns"].astype(np.int64)
    # A line is never steeper than the rise of two steps within 1/16 of the shorter, and everything happens at these.
    since = np.diff(t).min()
    rise = seen.edges["joules"][2:] - seen.edges["joules"][:-2] if t.size > 2 else np.diff(seen.edges["joules"])
    steepest = 32.0 * max(float(rise.max()), float(np.diff(seen.edges["joules"]).max())) / since
    around = np.unique(np.concatenate([t, t - gap, t - gap // 2]))
    for d in (-2, -1, 0, 1):
        begin = (around + d).clip(seen.first, seen.last)
        joules, _, _ = energies(seen.edges, seen.quantum, list(begin), list((begin + 1).clip(seen.first, seen.last)))
        assert (joules >= 0.0).all()
        assert joules.max() <= steepest + ROUNDING


@given(seen_loads(), st.data())
def test_an_estimate_stays_within_its_watts(load_and_seen: tuple[Load, Seen], data: st.DataObject) -> None:
    _, seen = load_and_seen
    starts, ends = intervals_in(data, seen)
    low, high = 2.0, 11.0
    joules, lower, upper, _ = _core._series_energies(
        seen.edges, seen.quantum, low, high, 0.0, np.array(starts, np.int64), np.array(ends, np.int64)
    )
    seconds = (np.array(ends) - np.array(starts)) * 1e-9
    assert lower == pytest.approx(low * seconds)
    assert upper == pytest.approx(high * seconds)
    assert (lower <= joules).all()
    assert (joules <= upper).all()


def test_nothing_is_said_beyond_the_edges() -> None:
    edges = np.array([(10, 0.0, 5, 0, 0, 0), (20, 1.0, 5, 0, 0, 0)], pp.EDGE_DTYPE)
    assert energies(edges, 0.1, [10], [15])[0].size == 1
    for start, end in [(9, 12), (12, 16), (14, 12)]:
        with pytest.raises(pp.BadArgument):
            energies(edges, 0.1, [start], [end])
    with pytest.raises(pp.BadArgument):
        energies(edges[:0], 0.1, [10], [10])


# ---- The same answers as a search through all edges


def naive(
    edges: npt.NDArray[np.void], quantum: float, max_watts: float, starts: list[int], ends: list[int]
) -> tuple[Floats, Floats, Floats, npt.NDArray[np.uint32]]:
    """The definition at the top of series.hpp, word for word, one instant at a time."""
    t = edges["t_ns"].tolist()
    gap, segment, flags = (edges[name].tolist() for name in ("gap_ns", "segment", "flags"))
    total = edges["joules"].tolist()
    last = len(t) - 1
    watts = max_watts * 1e-9 if max_watts else np.inf

    def most(duration: int) -> float:
        return watts * duration if duration > 0 else 0.0

    def middle(i: int) -> Fraction:
        return t[i] - Fraction(gap[i] if i == 0 else min(gap[i], t[i] - t[i - 1]), 2)

    def place(i: int) -> Fraction:
        if i > 0 and segment[i] != segment[i - 1]:
            return Fraction(t[i])
        if (
            i in (0, last)
            or 16 * gap[i] <= t[i] - t[i - 1]
            or segment[i + 1] != segment[i]
            or total[i - 1] == total[i + 1]
        ):
            return middle(i)
        share = Fraction(total[i] - total[i - 1]) / Fraction(total[i + 1] - total[i - 1])
        line = middle(i - 1) + (middle(i + 1) - middle(i - 1)) * share
        return min(max(line, Fraction(t[i] - gap[i]), t[i - 1] + Fraction(t[i] - t[i - 1], 16)), Fraction(t[i]))

    def at(instant: int) -> tuple[float, float, float, int, int]:
        before = min(bisect.bisect_right(t, instant) - 1, last - 1)
        lower, upper, seen = total[before], np.inf, flags[before]
        if segment[before + 1] == segment[before]:
            lower = max(lower, total[before + 1] - most(t[before + 1] - instant))
        if max_watts:
            upper = total[before] + quantum + most(instant - t[before] + gap[before])
        for i in range(before + 1, last + 1):
            seen |= flags[i]
            if segment[i] != segment[before]:
                break
            upper = min(upper, total[i] + quantum + most(instant - t[i] + gap[i]))
            if t[i] - gap[i] >= instant:
                break
        line = before + 1 if before + 1 < last and place(before + 1) <= instant else before
        joules = total[line]
        if segment[line + 1] == segment[line]:
            share = (instant - place(line)) / (place(line + 1) - place(line))
            joules += (total[line + 1] - total[line]) * float(share)
        return min(max(joules, lower), upper), lower, upper, segment[before], seen

    rows = []
    for start, end in zip(starts, ends, strict=True):
        a, b = at(start), at(end)
        lower = max(0.0, b[1] - a[2] - quantum * (b[3] - a[3]))
        upper = min(b[2] - a[1] if a[3] == b[3] else np.inf, most(end - start) if max_watts else np.inf)
        seen = a[4] | b[4] | (FLAGS["reset"] if a[3] != b[3] else 0)
        for instant, flag in zip(t, flags, strict=True):
            if start < instant <= end:
                seen |= flag & RARE
        rows.append((min(max(b[0] - a[0], lower), upper), lower, upper, seen))
    joules, lower, upper, seen = np.array(rows).T
    return joules, lower, upper, seen.astype(np.uint32)


@st.composite
def any_edges(draw: st.DrawFn) -> npt.NDArray[np.void]:
    """Edges of any spacing (from 1 ns to minutes), gaps that reach back over others, and resets."""
    size = draw(st.integers(2, 200))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    spacing = draw(st.sampled_from(["metronome", "jitter", "bursts"]))
    steps = {
        "metronome": np.full(size, MS),
        "jitter": rng.integers(MS // 2, 3 * MS // 2, size),
        "bursts": np.where(rng.random(size) < 0.9, rng.integers(1, 100, size), rng.integers(1, 60_000 * MS, size)),
    }[spacing]
    edges = np.zeros(size, pp.EDGE_DTYPE)
    edges["t_ns"] = draw(st.integers(0, 2**60)) + np.cumsum(steps)
    edges["gap_ns"] = rng.integers(0, draw(st.sampled_from([1, 2000, MS, 5 * MS])), size)
    edges["gap_ns"][rng.random(size) < draw(st.sampled_from([0.0, 0.1]))] = MS  # late ones among the others
    edges["flags"] = np.where(
        rng.random(size) < draw(st.sampled_from([0.0, 0.01, 0.5])), 1 << rng.integers(0, 11, size), 0
    )
    edges["joules"] = np.cumsum(rng.random(size) * draw(st.sampled_from([0.0, 1e-6, 1e3])))
    edges["segment"] = np.cumsum(rng.random(size) < draw(st.sampled_from([0.0, 0.1])))
    return edges


@given(any_edges(), st.data())
def test_it_answers_as_a_search_through_all_edges_does(edges: npt.NDArray[np.void], data: st.DataObject) -> None:
    first, last = int(edges["t_ns"][0]), int(edges["t_ns"][-1]) - int(edges["gap_ns"][-1])
    assume(last >= first)
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    count = data.draw(st.sampled_from([1, 3, 700]))  # few are searched for, many go through an index
    pairs = np.sort(rng.integers(first, last, (count, 2), endpoint=True), axis=1)
    if data.draw(st.booleans()):
        pairs = pairs[np.argsort(pairs[:, 0])]
        pairs[:, 1] = np.maximum.accumulate(pairs[:, 1])  # both in order: these walk along
    starts, ends = pairs[:, 0].tolist(), pairs[:, 1].tolist()
    max_watts = data.draw(st.sampled_from([0.0, 1e-3, 1e3, 1e6]))
    found = _core._series_energies(edges, 0.25, 0.0, 0.0, max_watts, pairs[:, 0].copy(), pairs[:, 1].copy())
    for ours, theirs in zip(found, naive(edges, 0.25, max_watts, starts, ends), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-9)


# ---- A guide, which says how the power went between two steps


@st.composite
def guided_loads(draw: st.DrawFn) -> tuple[Load, npt.NDArray[np.void], npt.NDArray[np.void]]:
    """A load, the edges of a counter that steps every 100 ms, and those of a guide that steps ten times as often.

    The guide is exact but for a constant factor, for the counter is the truth. Both are seen tightly.
    """
    load = Load(
        draw(st.lists(st.tuples(st.integers(MS, 300 * MS), st.sampled_from([1, 7, 40, 300])), min_size=1, max_size=20))
    )
    factor = draw(st.sampled_from([0.5, 1.0, 1.3]))
    edges, guide = (np.zeros(size, pp.EDGE_DTYPE) for size in (11, 101))
    for array, step, scale in ((edges, 100 * MS, 1.0), (guide, 10 * MS, factor)):
        array["t_ns"] = np.arange(array.size) * step
        array["joules"] = [load.joules(0, t) * scale for t in array["t_ns"].tolist()]
    return load, edges, guide


def estimates(
    edges: npt.NDArray[np.void], guide: npt.NDArray[np.void], instants: npt.NDArray[np.int64], max_watts: float = 0.0
) -> Sequence[Floats]:
    """joules, lower, upper from the first edge to each of these instants."""
    starts = np.zeros(instants.size, np.int64)
    return _core._series_energies(edges, 0.0, 0.0, 0.0, max_watts, starts, instants, guide)[:3]


NO_GUIDE = np.zeros(0, pp.EDGE_DTYPE)


@given(guided_loads(), st.data())
def test_a_guide_leads_near_to_the_truth_and_never_out_of_the_bounds(
    case: tuple[Load, npt.NDArray[np.void], npt.NDArray[np.void]], data: st.DataObject
) -> None:
    load, edges, guide = case
    instants = np.array(sorted(data.draw(st.lists(st.integers(0, 1000 * MS), min_size=1, max_size=40))), np.int64)
    truth = np.array([load.joules(0, t) for t in instants.tolist()])
    joules, lower, upper = estimates(edges, guide, instants)
    _, straight_lower, straight_upper = estimates(edges, NO_GUIDE, instants)
    assert (np.diff(joules) >= -ROUNDING).all()
    assert (lower <= joules).all()
    assert (joules <= upper).all()
    assert lower == pytest.approx(straight_lower, abs=ROUNDING)  # the counter stays the truth
    assert upper == pytest.approx(straight_upper, abs=ROUNDING)
    # What the guide does not see is how the power went within 10 ms, by 299 W at most.
    assert np.abs(joules - truth).max() <= 299 * 0.01 / 4 + ROUNDING
    every = np.arange(0, 1001, 10, dtype=np.int64) * MS
    exact = np.array([load.joules(0, t) for t in every.tolist()])
    assert estimates(edges, guide, every)[0] == pytest.approx(exact, abs=1e-6)
    limited, lower, upper = estimates(edges, guide, instants, 300.0)
    assert (lower <= limited + ROUNDING).all()
    assert (limited <= upper).all()


def test_a_guide_makes_estimates_far_better() -> None:
    load = Load([(30 * MS, 300), (70 * MS, 0)] * 10)
    instants = np.arange(0, 1000, dtype=np.int64) * MS
    truth = np.array([load.joules(0, t) for t in instants.tolist()])
    edges, guide = (np.zeros(size, pp.EDGE_DTYPE) for size in (11, 101))
    for array, step in ((edges, 100 * MS), (guide, 10 * MS)):
        array["t_ns"] = np.arange(array.size) * step
        array["joules"] = [load.joules(0, t) for t in array["t_ns"].tolist()]
    worst_straight, worst_guided = (
        np.abs(estimates(edges, array, instants)[0] - truth).max() for array in (NO_GUIDE, guide)
    )
    assert worst_straight > 6.0
    assert worst_guided < 1e-6


@given(guided_loads(), st.integers(0, 100), st.integers(0, 100), st.data())
def test_without_its_guide_a_step_is_a_straight_line(
    case: tuple[Load, npt.NDArray[np.void], npt.NDArray[np.void]], a: int, b: int, data: st.DataObject
) -> None:
    _, edges, guide = case
    covered = guide[min(a, b) : max(a, b) + 1]
    instants = np.array(sorted(data.draw(st.lists(st.integers(0, 1000 * MS), min_size=1, max_size=40))), np.int64)
    steps = np.minimum(instants // (100 * MS), 9)
    is_covered = (covered["t_ns"][0] <= steps * 100 * MS) & ((steps + 1) * 100 * MS <= covered["t_ns"][-1])
    expected = np.where(
        is_covered & (covered.size > 1), estimates(edges, guide, instants)[0], estimates(edges, NO_GUIDE, instants)[0]
    )
    assert estimates(edges, covered, instants)[0] == pytest.approx(expected, abs=ROUNDING)


@given(seen_loads(), st.integers(1, 300), st.data())
def test_a_guide_of_constant_power_is_a_straight_line(
    load_and_seen: tuple[Load, Seen], watts: int, data: st.DataObject
) -> None:
    _, seen = load_and_seen
    guide = np.zeros(50, pp.EDGE_DTYPE)
    # The counter's first edge may stand further back than any other begin.
    begin, end = int(seen.edges["t_ns"][0]) - 2**32, int(seen.edges["t_ns"][-1])
    guide["t_ns"] = np.linspace(begin, end, 50).astype(np.int64)
    guide["joules"] = watts * 1e-9 * (guide["t_ns"] - begin)
    starts, ends = intervals_in(data, seen)
    instants = np.array(starts, np.int64), np.array(ends, np.int64)
    guided = _core._series_energies(seen.edges, seen.quantum, 0.0, 0.0, 0.0, *instants, guide)
    straight = _core._series_energies(seen.edges, seen.quantum, 0.0, 0.0, 0.0, *instants)
    for ours, theirs in zip(guided, straight, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-6)


# ---- A sensor that does not tell all


@given(st.lists(st.sampled_from([0, 40, 300]), min_size=30, max_size=60), st.integers(1, 4), st.data())
def test_the_truth_lies_within_the_bounds_of_a_sensor_that_looks_part_of_the_time(
    watts: list[int], seen_ms: int, data: st.DataObject
) -> None:
    # Each period of 10 ms has two powers; the sensor counts the first, which it sees for seen_ms, for all of it.
    pieces, missed, total = [], [0.0], 0.0
    counted = [0.0]
    for one, other in itertools.pairwise(watts):
        pieces += [(seen_ms * MS, one), ((10 - seen_ms) * MS, other)]
        counted.append(counted[-1] + one * 0.01)
        total += abs(other - one) * 0.001 * (10 - seen_ms)
        missed.append(total)
    load = Load(pieces)
    edges = np.zeros(len(counted), pp.EDGE_DTYPE)
    edges["t_ns"] = np.arange(edges.size) * 10 * MS
    edges["joules"] = counted
    first, last = sorted(data.draw(st.lists(st.integers(0, edges.size - 1), min_size=2, max_size=2)))
    instants = np.array([first * 10 * MS], np.int64), np.array([last * 10 * MS], np.int64)
    # Misses that all go one way are what `spill` allows for here: the proof for independent ones is statistics.
    spill = (missed[last] - missed[first]) / 2.0
    _, lower, upper, _ = _core._series_energies(
        edges, 0.0, 0.0, 0.0, 300.0, *instants, NO_GUIDE, spill, data.draw(st.sampled_from([0.0, 0.5])), 10 * MS
    )
    truth = load.joules(first * 10 * MS, last * 10 * MS)
    assert lower[0] - ROUNDING <= truth <= upper[0] + ROUNDING
    assert lower[0] >= 0.0
    assert upper[0] <= 300.0 * (last - first) * 0.01 + ROUNDING


@given(st.integers(0, 2**32 - 1))
def test_independent_misses_add_as_their_squares_do(seed: int) -> None:
    blind, periods = 0.3, 256
    edges = np.zeros(2, pp.EDGE_DTYPE)
    edges["t_ns"] = [0, periods * MS]
    edges["joules"] = [0.0, 100.0]
    instants = np.zeros(1, np.int64), np.array([periods * MS], np.int64)
    (plain,), (wide,) = (
        _core._series_energies(edges, 0.0, 0.0, 0.0, 0.0, *instants, NO_GUIDE, 0.0, missed, MS)[2]
        for missed in (0.0, blind)
    )
    assert wide - plain == pytest.approx(blind * np.sqrt(periods + 1.0))
    # Of sums of as many misses, each as large as it can be, two thirds stay within that.
    misses = np.random.default_rng(seed).choice([-blind, blind], (400, periods + 1)).sum(axis=1)
    assert 0.5 < (np.abs(misses) <= wide - plain).mean() < 0.85


# ---- Unwrapping


@given(st.data())
def test_no_joule_is_lost_or_invented_by_wraps(data: st.DataObject) -> None:
    modulus = data.draw(st.sampled_from([2**32, 2**32 - 1, 1000, 262_143_328_850]))
    unit = data.draw(st.sampled_from([1e-6, 2.0**-16, 2.0**-32]))
    max_watts = data.draw(st.sampled_from([0.0, 300.0, 1e6]))
    first = data.draw(st.integers(0, modulus - 1))
    raws, times, totals = [first], [10**12], [0]
    for _ in range(data.draw(st.integers(1, 40))):
        elapsed = data.draw(st.integers(1, 10**10))
        possible = modulus // 2 if max_watts == 0.0 else min(modulus - 1, int(max_watts * elapsed * 1e-9 / unit))
        delta = data.draw(st.integers(0, possible))
        if max_watts == 0.0 or delta * unit <= max_watts * elapsed * 1e-9:
            times.append(times[-1] + elapsed)
            totals.append(totals[-1] + delta)
            raws.append((first + totals[-1]) % modulus)
    result = _core._unwrap(modulus, unit, max_watts, 0, raws, times)
    assert [total for _, total, _ in result] == totals
    for i, (step, _, ambiguous) in enumerate(result):
        if i == 0:
            assert (step, ambiguous) == ("first", False)
            continue
        moved = totals[i] - totals[i - 1]
        assert step == ("still" if moved == 0 else "wrapped" if raws[i] < raws[i - 1] else "plain")
        limit = max_watts * (times[i] - times[i - 1]) * 1e-9
        assert ambiguous == (max_watts > 0.0 and limit >= modulus * unit)


@given(st.data())
def test_a_jump_that_no_load_can_make_is_a_reset_and_adds_nothing(data: st.DataObject) -> None:
    modulus = data.draw(st.sampled_from([0, 2**32]))
    unit, max_watts = 1e-6, 300.0
    before = data.draw(st.integers(10**6, 2**31))
    elapsed = data.draw(st.integers(1, 10**9))
    possible = int(max_watts * elapsed * 1e-9 / unit) + 1
    down = st.integers(0, before - 1)
    up = st.integers(before + possible, 2**32 - 1)
    after = data.draw(st.one_of(down, up))
    if after < before and modulus:
        assume(modulus - before + after > possible)
    then = min(after + data.draw(st.integers(0, 1000)), 2**32 - 1)
    times = [0, elapsed, elapsed + 10**9]
    steps = _core._unwrap(modulus, unit, max_watts, 0, [before, after, then], times)
    assert steps[1][:2] == ("reset", 0)
    assert steps[2][1] == then - after  # counting goes on from there


@given(st.integers(1, 2**32 - 1), st.data())
def test_a_counter_without_a_modulus_never_wraps(before: int, data: st.DataObject) -> None:
    after = data.draw(st.integers(0, before - 1))
    assert _core._unwrap(0, 1e-6, 0.0, 0, [before, after], [0, 1])[1][:2] == ("reset", 0)


@given(st.integers(0, 10**7))
def test_how_old_a_value_may_be_adds_to_the_time_in_which_its_energy_gathered(stale: int) -> None:
    elapsed, max_watts, unit = 1000, 100.0, 1e-9
    most = int(max_watts * (elapsed + stale) * 1e-9 / unit)
    for delta, step in [(most - 1, "plain"), (most + 2, "reset")]:
        assert _core._unwrap(2**40, unit, max_watts, stale, [0, delta], [0, elapsed])[1][0] == step


# ---- Hardware stamps


@given(st.data())
def test_an_update_came_when_its_stamp_says(data: st.DataObject) -> None:
    tick_ns = data.draw(st.sampled_from([10.0, 1.0, 1000.0, 1e9 / 24e6, 5.0]))
    modulus = data.draw(st.sampled_from([2**32, 2**63]))
    drift = data.draw(st.integers(-500, 500)) * 1e-6  # of the device's clock against ours
    offset = data.draw(st.integers(0, 2**31)) * tick_ns
    updates, observations = [], []
    update = data.draw(st.integers(10**9, 10**15))
    origin = seen = update
    for _ in range(data.draw(st.integers(1, 40))):
        update = max(update, seen) + data.draw(st.one_of(st.integers(1, 3 * MS), st.integers(1, 4000 * MS)))
        after = data.draw(st.integers(max(seen, update - 5 * MS), update - 1))  # the old value was seen ...
        before = update + data.draw(st.one_of(st.integers(0, 1000), st.integers(0, 30 * MS)))  # ... and the new one
        stamp = int((offset + (update - origin) * (1.0 + drift)) / tick_ns) % modulus
        updates.append(update)
        observations.append((stamp, after, before))
        seen = before
    for update, (t_ns, gap_ns), (_, after, before) in zip(
        updates, _core._stamps(tick_ns, modulus, observations), observations, strict=True
    ):
        assert t_ns - gap_ns < update <= t_ns
        assert t_ns <= before
        assert t_ns - gap_ns >= after - 1


@given(st.integers(1, 1000), st.integers(10, 100))
def test_a_stamp_is_sharper_than_the_readings_around_it(lucky_ns: int, steps: int) -> None:
    # Readings far apart, one of which happened to come right after the update: from then on all are known that well.
    observations = []
    for i in range(steps):
        update = 10**9 + i * 100_000
        late = lucky_ns if i == 3 else 90_000
        early = lucky_ns if i == 4 else 90_000
        observations.append(((update // 10) % 2**32, update - early, update + late))
    _, gap_ns = _core._stamps(10.0, 2**32, observations)[5]
    assert gap_ns <= 2 * lucky_ns + 1000


# ---- Real samplers on counters in real time


LONGEST = 3000 * MS  # of a script


def updates_end(channel: dict[str, object]) -> int:
    return channel["steps"][-1][0]  # type: ignore[index,no-any-return]


@st.composite
def scripts(draw: st.DrawFn) -> tuple[Load, dict[str, object], list[dict[str, object]]]:
    load = Load(
        draw(st.lists(st.tuples(st.integers(MS, 20 * MS), st.sampled_from([0, 3, 50, 300])), min_size=2, max_size=8))
    )
    gaps = draw(st.lists(st.integers(200_000, 2 * MS), min_size=1, max_size=50))
    updates = [0, *itertools.takewhile(lambda t: t < LONGEST, itertools.accumulate(itertools.cycle(gaps)))]
    unit_nj = draw(st.sampled_from([1000, 61_035]))
    most = load.nanojoules(updates[-1]) // unit_nj
    modulus = draw(st.sampled_from([0, most // 3 + 10**6]))
    script = counter(load, updates, unit_nj=unit_nj, modulus=modulus, first=modulus // 2, max_watts=1000.0)
    kinds = [{"status": "retry"}, {"sleep_ns": 3 * MS}, {"sleep_ns": 100_000}]
    times = st.integers(1, 150 * MS)
    faults = [
        {"begin_ns": begin, "end_ns": begin + draw(st.integers(1, 20 * MS)), **draw(st.sampled_from(kinds))}
        for begin in draw(st.lists(times, max_size=4))
    ]
    return load, script, faults


# Real time cannot be replayed to make an example smaller.
@settings(
    max_examples=25,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(scripts(), st.sampled_from([1e-4, 1e-3, 3e-3]), st.booleans(), st.integers(0, 2**32 - 1))
def test_samplers_find_the_truth_within_their_bounds(
    script: tuple[Load, dict[str, object], list[dict[str, object]]], period: float, holds_view: bool, seed: int
) -> None:
    load, channel, faults = script
    rng = np.random.default_rng(seed)
    # The first reading must be a good one, and a sanitizer takes 90 ms to check a long script.
    start_ns = pp.now_ns() + 300 * MS
    history = 0.01 if holds_view else 1.0
    with pp.Probe(sources=pp.replay([channel], faults, start_ns=start_ns), period=period, history=history) as probe:
        while pp.now_ns() < start_ns:
            pass
        first = pp.now_ns()
        held = probe.view("package-0") if holds_view else None
        measurements = []
        while pp.now_ns() < first + 60 * MS:
            with probe.measure() as measurement:
                until = pp.now_ns() + int(rng.integers(0, 5 * MS))
                while pp.now_ns() < until:
                    pass
            measurements.append(measurement)
        del held
        edges = probe.view("package-0")  # pinned: all of it can be asked about
        oldest, last = int(edges["t_ns"][0]), int(edges["t_ns"][-1]) - int(edges["gap_ns"][-1])
        assume(
            max(oldest, start_ns) <= last < start_ns + updates_end(channel)
        )  # later the counter rests, but not the load
        instants = np.sort(rng.integers(max(oldest, start_ns), last, (200, 2), endpoint=True), axis=1)
        found = probe.energy(instants[:, 0], instants[:, 1], "package-0")
        truth = np.array([load.joules(a - start_ns, b - start_ns) for a, b in instants.tolist()])
        assert (found.lower <= truth + ROUNDING).all()
        assert (truth <= found.upper + ROUNDING).all()
        del edges
        known = [m for m in measurements if not m.unknown]
        assert known or holds_view  # a lease on the whole ring may keep all of them from being answered
        for m in known:
            truth_of_it = load.joules(m.start_ns - start_ns, m.end_ns - start_ns)
            assert m.total_lower - ROUNDING <= truth_of_it <= m.total_upper + ROUNDING
        stats = probe.stats()["channels"]["package-0"]
        assert stats["resets"] == 0


# Bursts that a counter which steps every 40 ms cannot show, but its guide can.
BURSTS = Load([(7 * MS, 300), (33 * MS, 0), (20 * MS, 0), (20 * MS, 200)] * 60)


def guided_sources(faults: list[dict[str, object]], start_ns: int, window_ns: int) -> _core.Source:
    channels = [
        counter(BURSTS, range(0, 4000 * MS, 40 * MS), guide=1),
        counter(
            BURSTS,
            range(0, 4000 * MS, 4 * MS),
            name="dram-0",
            unit_nj=3000,
            update_period_ns=4 * MS,
            window_ns=window_ns,
        ),
    ]
    return pp.replay(channels, faults, start_ns=start_ns)


def wait_until(t_ns: int) -> None:
    while pp.now_ns() < t_ns:
        time.sleep(1e-3)


def test_a_sampler_with_a_guide_shows_what_happened_between_two_steps() -> None:
    start_ns = pp.now_ns() + 300 * MS
    with pp.Probe(sources=guided_sources([], start_ns, 400 * MS)) as probe:
        wait_until(start_ns + 50 * MS)
        with probe.measure() as measurement:
            wait_until(start_ns + 333 * MS)
        begin, end = measurement.start_ns, measurement.end_ns
        probe.energy(begin, end)  # all that is asked about below is settled
        instants = np.linspace(begin, end, 300).astype(np.int64)
        found = probe.energy(np.full(300, begin), instants, "package-0")
        edges, guide = probe.view("package-0"), probe.view("dram-0")
    truth = np.array([BURSTS.joules(begin - start_ns, t - start_ns) for t in instants.tolist()])
    assert (found.lower <= truth + ROUNDING).all()
    assert (truth <= found.upper + ROUNDING).all()
    assert (np.diff(found.joules) >= -ROUNDING).all()
    # As near as the edges are located and the guide steps; a straight line is off by more than 1 J however well they are.
    around = [e[(e["t_ns"] > begin - 50 * MS) & (e["t_ns"] < end + 50 * MS)] for e in (edges, guide)]
    blurred = sum(int(e["gap_ns"].max()) for e in around) + int(np.diff(around[1]["t_ns"]).max()) // 4
    assert np.abs(found.joules - truth).max() <= 300e-9 * 2 * blurred + 1e-5
    # A mark is filled in when just enough is known; what came later can only move an edge that was seen late.
    assert measurement.joules["package-0"] == pytest.approx(found.joules[-1], abs=300e-9 * 2 * blurred + 1e-5)


@pytest.mark.parametrize("status", ["retry", "gone"])
def test_a_guide_that_stops_keeps_no_answer_back(status: str) -> None:
    start_ns = pp.now_ns() + 300 * MS
    faults: list[dict[str, object]] = [{"channel": "dram-0", "begin_ns": 100 * MS, "status": status}]
    with pp.Probe(sources=guided_sources(faults, start_ns, 0)) as probe:
        wait_until(start_ns + 200 * MS)
        with probe.measure() as measurement:
            wait_until(start_ns + 290 * MS)
        assert measurement.joules["package-0"] > 0.0
        begin, end = measurement.start_ns, measurement.end_ns
        found = probe.energy(begin, end, "package-0", settle=20.0)
        truth = BURSTS.joules(begin - start_ns, end - start_ns)
        assert found.lower - ROUNDING <= truth <= found.upper + ROUNDING
