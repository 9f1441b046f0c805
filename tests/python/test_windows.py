# SPDX-License-Identifier: MIT
"""The window of power readings, found on synthetic boards whose window is known."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from powerprobe.windows import Window, window_of

SECONDS = 5.0
BEGIN = 2.0  # of what is seen, so that all windows lie within the load


class Board:
    """A load that changes at random instants, a counter of it and readings of it. Numbers of one seed.

    Args:
        window, period: seconds, of the readings.
        step: seconds between two steps of the counter.
        late: seconds: when steps and readings are seen is off by up to so much.
    """

    def __init__(
        self,
        seed: int,
        window: float,
        period: float = 0.1,
        step: float = 0.1,
        late: float = 0.0,
        noise: float = 0.0,
        buffered: bool = False,
    ) -> None:
        chance = np.random.default_rng(seed)
        lengths, watts = chance.uniform(0.05, 0.5, 200), chance.uniform(80.0, 600.0, 200)
        self._times = np.concatenate([[0.0], np.cumsum(lengths)])
        self._joules = np.concatenate([[0.0], np.cumsum(lengths * watts)])
        steps = np.arange(BEGIN, BEGIN + SECONDS, step)
        self.counter_ns = _ns(steps + chance.uniform(-late, late, steps.size))
        self.counter_joules = self._energy(steps)
        ends = np.arange(BEGIN + 0.3 * period, BEGIN + SECONDS, period)
        readings = (self._energy(ends) - self._energy(ends - window)) / window
        readings *= 1.0 + noise * chance.standard_normal(ends.size)
        seen_ns = _ns(ends + chance.uniform(-late, late, ends.size))
        if buffered:
            self.ends_ns = np.column_stack([seen_ns[:-1], seen_ns[1:]])
            self.watts = (readings[:-1] + readings[1:]) / 2
        else:
            self.ends_ns, self.watts = seen_ns, readings

    def _energy(self, times: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        joules: npt.NDArray[np.float64] = np.interp(times, self._times, self._joules)
        return joules

    def window(self, gain: float = 1.0, offset: float = 0.0) -> Window | str:
        return window_of(self.ends_ns, gain * self.watts + offset, self.counter_ns, self.counter_joules)


def _ns(seconds: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    return np.round(seconds * 1e9).astype(np.int64)


@pytest.mark.parametrize("window", [0.01, 0.025, 0.1, 0.3, 1.0])
@pytest.mark.parametrize(("period", "step"), [(0.1, 0.1), (0.1, 0.02), (0.02, 0.02), (0.02, 0.1)])
def test_the_window_of_a_noisy_board_lies_within_what_is_told(window: float, period: float, step: float) -> None:
    told = [Board(seed, window, period, step, late=0.0025, noise=0.003).window() for seed in range(40)]
    found = [each for each in told if isinstance(each, Window)]

    assert len(found) >= 36
    assert sum(each.low <= window <= each.high for each in found) >= 0.95 * len(found)
    assert abs(float(np.median([each.seconds for each in found])) - window) <= max(0.03, 0.05 * window)
    assert float(np.median([each.high - each.low for each in found])) <= 2.5 * step + 0.3 * window + 0.05


@settings(deadline=None)
@given(st.integers(0, 2**32), st.floats(0.012, 1.2), st.floats(0.02, 0.12))
def test_a_perfect_board_tells_its_window(seed: int, window: float, period: float) -> None:
    told = Board(seed, window, period, step=0.001).window()
    if isinstance(told, Window):  # else the load changed too seldom
        assert told.low <= window <= told.high
        assert told.seconds == pytest.approx(window, rel=0.1, abs=0.01)
        assert told.high - told.low < 0.4 * window + 0.03


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32), st.floats(0.01, 100.0), st.floats(0.0, 1000.0))
def test_gain_and_offset_of_the_sensor_do_not_matter(seed: int, gain: float, offset: float) -> None:
    board = Board(seed, 0.1, late=0.002)
    plain, changed = board.window(), board.window(gain, min(offset, 3.0 * gain))
    assert isinstance(plain, Window) == isinstance(changed, Window)
    if isinstance(plain, Window):
        assert changed == pytest.approx(plain)


def test_readings_that_are_means_of_two_are_taken_as_such() -> None:
    boards = [Board(seed, 0.025, period=0.02, step=0.02, buffered=True) for seed in range(10)]
    told = [each for each in (board.window() for board in boards) if isinstance(each, Window)]
    assert len(told) >= 8
    assert all(0.01 < each.seconds < 0.04 for each in told)


def test_a_power_that_does_not_change_tells_nothing() -> None:
    board = Board(1, 0.1, noise=0.01)
    board.counter_joules = np.linspace(0.0, 1500.0, board.counter_ns.size)
    board.watts = np.full(board.watts.size, 300.0)
    assert board.window() == "the power did not change meanwhile, or too seldom"
    board.watts[5] = 301.0
    assert board.window() == "the power did not change meanwhile, or too seldom"


def test_one_step_of_the_power_is_not_enough() -> None:
    board = Board(1, 0.1)
    times = board.counter_ns * 1e-9
    board.counter_joules = 100.0 * times + 300.0 * np.maximum(0.0, times - 4.0)
    assert board.window() == "the power did not change meanwhile, or too seldom"


def test_readings_of_something_else_tell_nothing() -> None:
    board = Board(1, 0.1)
    board.watts = Board(2, 0.1).watts
    assert board.window() == "the readings do not follow the counter"


def test_readings_that_fall_where_the_counter_rises_do_not_follow_it() -> None:
    assert Board(1, 0.1).window(gain=-1.0, offset=1000.0) == "the readings do not follow the counter"


def test_too_few_readings_tell_nothing() -> None:
    board = Board(1, 0.1)
    assert window_of(board.ends_ns[-9:], board.watts[-9:], board.counter_ns, board.counter_joules) == (
        "there were too few readings"
    )
    assert window_of(board.ends_ns, board.watts, board.counter_ns[:1], board.counter_joules[:1]) == (
        "the counter did not move meanwhile"
    )
