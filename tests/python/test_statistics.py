# SPDX-License-Identifier: MIT
"""Intervals and comparisons: what must hold for any numbers, and how often the truth is met over many seeds."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from powerprobe.interval import Interval
from powerprobe.statistics import Paired, mean, outliers, paired, paired_net, trend

positive = st.floats(0.1, 1e3)
samples = st.lists(positive, min_size=2, max_size=30)
pairs = st.lists(st.tuples(positive, positive), min_size=3, max_size=30)


@given(samples)
def test_the_interval_of_a_mean_is_students(values: list[float]) -> None:
    found = mean(values)

    assert found.value == pytest.approx(np.mean(values))
    assert found.low <= found.value <= found.high
    if np.ptp(values) > 1e-6:
        expected = stats.ttest_1samp(values, 0.0).confidence_interval(0.95)
        assert (found.low, found.high) == pytest.approx((expected.low, expected.high))


def test_one_run_has_no_interval_and_equal_runs_have_a_point() -> None:
    assert (mean([3.0]).value, math.isnan(mean([3.0]).low)) == (3.0, True)
    assert math.isnan(mean([]).value)
    assert math.isnan(mean([1.0, math.nan]).value)
    assert mean([2.0, 2.0, 2.0]) == Interval(2.0, 2.0, 2.0)
    assert mean([2.0, math.inf]).value == math.inf


def coverage(draw: object, truth: float, runs: int, seeds: int = 400) -> float:
    rng = np.random.default_rng(5)
    found = (mean(draw(rng, runs)) for _ in range(seeds))  # type: ignore[operator]
    return sum(each.low <= truth <= each.high for each in found) / seeds


@pytest.mark.parametrize("runs", [5, 10, 40])
def test_intervals_contain_the_truth_as_often_as_they_say(runs: int) -> None:
    assert 0.92 < coverage(lambda rng, n: rng.normal(10.0, 1.0, n), 10.0, runs) < 0.98
    assert 0.85 < coverage(lambda rng, n: 10.0 + rng.exponential(1.0, n), 11.0, runs) < 0.98


@given(
    value=st.tuples(*[st.floats(-1e3, 1e3)] * 3).map(sorted),
    other=st.tuples(*[st.floats(-1e3, 1e3)] * 3).map(sorted),
    factor=st.floats(0.0, 10.0),
)
def test_a_difference_is_as_uncertain_as_both_and_less_than_their_sum(
    value: list[float], other: list[float], factor: float
) -> None:
    a, b = Interval(value[1], value[0], value[2]), Interval(other[1], other[0], other[2])
    found = a.minus(b, factor)

    assert found.value == pytest.approx(a.value - factor * b.value, abs=1e-9)
    below, above = found.value - found.low, found.high - found.value
    assert max(a.value - a.low, factor * (b.high - b.value)) <= below + 1e-6
    assert below <= a.value - a.low + factor * (b.high - b.value) + 1e-6
    assert max(a.high - a.value, factor * (b.value - b.low)) <= above + 1e-6
    assert above <= a.high - a.value + factor * (b.value - b.low) + 1e-6


@given(pairs)
def test_the_answers_of_a_comparison_do_not_contradict_each_other(values: list[tuple[float, float]]) -> None:
    a, b = (np.array(each) for each in zip(*values, strict=True))
    found = paired(a, b, margin=0.05)

    assert found.ratio.value == pytest.approx(a.mean() / b.mean())
    if math.isfinite(found.ratio.low + found.ratio.high):
        assert found.ratio.low <= found.ratio.value <= found.ratio.high
        distance = min(abs(found.ratio.low - 1.0), abs(found.ratio.high - 1.0))
        if distance > 1e-6:  # else the ends are equal but for rounding
            assert found.is_different == (found.ratio.low > 1.0 or found.ratio.high < 1.0)
    if found.is_equivalent:
        assert 0.95 < found.ratio.value < 1.05


@given(pairs, st.floats(0.01, 100.0))
def test_the_unit_does_not_matter(values: list[tuple[float, float]], unit: float) -> None:
    a, b = (np.array(each) for each in zip(*values, strict=True))
    one, other = paired(a, b, 0.05), paired(a * unit, b * unit, 0.05)

    assert other.ratio.value == pytest.approx(one.ratio.value)
    assert other.difference.value == pytest.approx(one.difference.value * unit, abs=1e-6)
    if np.ptp(a - b) > 1e-3:
        assert other.smallest_effect == pytest.approx(one.smallest_effect, rel=1e-6)
        assert other.ratio.high == pytest.approx(one.ratio.high, rel=1e-6, nan_ok=True)


def of_seeds(shift: float, noise: float, runs: int, margin: float = 0.01, seeds: int = 250) -> list[Paired]:
    """Pairs whose second takes 10 and whose first differs by a share; a disturbance that both of a pair have in common."""
    rng = np.random.default_rng(11)
    found = []
    for _ in range(seeds):
        common = rng.normal(10.0, 1.0, runs)
        noises: npt.NDArray[np.float64] = rng.normal(0.0, 10.0 * noise, (2, runs))
        found.append(paired((1.0 + shift) * common + noises[0], common + noises[1], margin))
    return found


def share(flags: list[bool]) -> float:
    return sum(flags) / len(flags)


def test_pairs_see_through_what_disturbs_both_alike() -> None:
    # The disturbance is 10 %, the difference 2 %.
    found = of_seeds(0.02, 0.005, runs=15)

    assert share([each.is_different for each in found]) > 0.95
    assert 0.92 < share([each.ratio.low <= 1.02 <= each.ratio.high for each in found]) < 0.98


def test_equal_functions_are_seldom_called_different_and_different_ones_never_equivalent() -> None:
    assert 0.02 < share([each.is_different for each in of_seeds(0.0, 0.005, runs=10)]) < 0.08
    assert share([each.is_equivalent for each in of_seeds(0.01, 0.002, runs=15)]) < 0.08  # exactly at the margin
    assert share([each.is_equivalent for each in of_seeds(0.0, 0.002, runs=15)]) > 0.95


def test_the_smallest_effect_is_seen_in_four_of_five() -> None:
    typical = float(np.median([each.smallest_effect for each in of_seeds(0.0, 0.01, runs=12)]))

    assert 0.72 < share([each.is_different for each in of_seeds(typical, 0.01, runs=12)]) < 0.88


def test_runs_without_any_scatter_need_no_distribution() -> None:
    same = paired([2.0] * 5, [2.0] * 5, 0.01)
    assert (same.is_equivalent, same.is_different, same.smallest_effect) == (True, False, 0.0)
    assert same.ratio == Interval(1.0, 1.0, 1.0)
    rounded = paired([22.2890625] * 3, [0.64453125] * 3, 0.01)  # the mean is not quite that of the runs
    assert rounded.ratio.low == pytest.approx(rounded.ratio.high)

    more = paired([3.0] * 5, [2.0] * 5, 0.01)
    assert (more.is_equivalent, more.is_different, more.ratio.value) == (False, True, 1.5)


def test_what_cannot_be_compared_is_not() -> None:
    for first, second in (([1.0], [2.0]), ([1.0, 2.0], [0.0, 0.0]), ([1.0, 1.0], [math.nan, 1.0])):
        found = paired(first, second, 0.01)
        assert math.isnan(found.ratio.low)
        assert math.isnan(found.smallest_effect)
        assert not found.is_equivalent
    near_zero = paired([1.0, 1.1, 0.9], [-1.0, 2.0, 0.5], 0.01)  # may be 0: the ratio may be anything
    assert math.isnan(near_zero.ratio.high)
    assert near_zero.to_dict()["ratio"] == {"value": pytest.approx(2.0), "low": None, "high": None}


def test_a_trend_is_named_by_its_size_and_chance_is_not() -> None:
    rng = np.random.default_rng(2)
    noise = rng.normal(0.0, 0.01, 20)

    assert trend(np.linspace(10.0, 11.0, 20) + noise) == pytest.approx(1.0 / 10.5, rel=0.05)
    assert trend(10.0 + noise) == 0.0
    assert trend([1.0, 2.0, 3.0]) == 0.0
    assert trend([1.0] * 10) == 0.0


def test_outliers_are_runs_far_above_the_rest() -> None:
    rng = np.random.default_rng(3)
    values = rng.normal(10.0, 0.1, 20)

    assert outliers(values) == 0
    assert outliers([*values, 12.0, 15.0, 1.0]) == 2
    assert outliers([1.0] * 20) == 0


@settings(deadline=None)  # scipy's first power of a test takes its time
@given(pairs, st.floats(0.0, 50.0))
def test_above_a_baseline_that_is_known_for_certain_a_comparison_is_that_of_the_rest(
    values: list[tuple[float, float]], watts: float
) -> None:
    a, b = (np.array(each) for each in zip(*values, strict=True))
    idle = Interval(watts, watts, watts)
    found = paired_net(a + 2.0 * watts, np.full(a.size, 2.0), b + watts, np.ones(b.size), idle, 0.05)
    rest = paired(a, b, 0.05)

    assert found.difference.value == pytest.approx(rest.difference.value, abs=1e-6)
    assert found.difference.high == pytest.approx(rest.difference.high, abs=1e-6)
    if math.isfinite(found.ratio.value):
        assert found.ratio.value == pytest.approx(rest.ratio.value, rel=1e-3)


@settings(deadline=None)  # scipy's first power of a test takes its time
@given(pairs, st.floats(0.0, 5.0), st.floats(0.0, 5.0))
def test_what_is_not_known_of_the_baseline_is_not_known_of_a_comparison(
    values: list[tuple[float, float]], below: float, above: float
) -> None:
    a, b = (np.array(each) for each in zip(*values, strict=True))
    seconds = (np.full(a.size, 2.0), np.full(b.size, 1.0))
    sure, unsure = (
        paired_net(a + 20.0, seconds[0], b + 10.0, seconds[1], idle, 0.05)
        for idle in (Interval(10.0, 10.0, 10.0), Interval(10.0, 10.0 - below, 10.0 + above))
    )

    assert unsure.difference.low == pytest.approx(sure.difference.low - above, abs=1e-6)
    assert unsure.difference.high == pytest.approx(sure.difference.high + below, abs=1e-6)
    assert sure.is_equivalent or not unsure.is_equivalent
    if math.isfinite(unsure.ratio.value):
        assert unsure.ratio.low <= sure.ratio.low <= sure.ratio.high <= unsure.ratio.high
        assert (unsure.ratio.low > 1.0 or unsure.ratio.high < 1.0) == unsure.is_different


def test_of_what_takes_no_more_than_idling_the_longer_does_not_take_more() -> None:
    # Each run is exact, but the baseline is a percent too low: all that the runs seem to take beyond it is its error.
    noise = np.random.default_rng(1).normal(0.0, 1e-6, (2, 20))
    first, second = 30.0 + noise[0], 90.0 + noise[1]
    found = paired_net(first, np.full(20, 1.0), second, np.full(20, 3.0), Interval(29.7, 29.3, 30.1), 0.05)

    assert not found.is_different
    assert found.difference.low <= 0.0 <= found.difference.high
    assert math.isnan(found.ratio.value)
    assert math.isnan(found.smallest_effect)
    assert not found.is_equivalent
