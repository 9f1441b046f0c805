# SPDX-License-Identifier: MIT
"""Boards of every kind under loads of every kind, read over the fake NVML in real time: the truth lies within the bounds."""

from __future__ import annotations

import random
import time
from typing import Any

import numpy as np
import pytest
from fake_nvml import AVERAGE, GPU, INSTANT, Board, Buffer, Energy, Fake, Script, Updates, library
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nvml_probe import probe_on, truth
from truth import MS

import powerprobe as pp

INTERVALS = 300
SECONDS = 1.0
HIGHEST_MW = 700_000  # the limit that the boards tell

stamps = st.sampled_from(["read", "update", "zero", "wrong"])
seeds = st.integers(0, 2**32 - 1)


@st.composite
def waves(draw: st.DrawFn) -> list[tuple[int, int]]:
    """Pieces of 1 to 200 ms, drawn by a seed: hypothesis would take its time over so many numbers."""
    chance = random.Random(draw(seeds))
    longest = draw(st.sampled_from([5_000, 50_000, 200_000]))
    return [(chance.randint(1_000, longest), chance.randint(0, HIGHEST_MW)) for _ in range(draw(st.integers(1, 40)))]


def updates(draw: st.DrawFn, made: type[Updates], period_us: int, **more: object) -> Any:
    phase_us = draw(st.integers(0, 100_000))
    return made(period_us=period_us, phase_us=phase_us, jitter_us=draw(st.integers(0, 2_000)), seed=draw(seeds), **more)


@st.composite
def with_counter(draw: st.DrawFn) -> Board:
    """Its readings may do what they like: the counter is the truth, and they only show the way between its steps."""
    period_us = draw(st.integers(20_000, 100_000))
    readings = draw(st.sampled_from([((INSTANT, GPU), (AVERAGE, GPU)), ((INSTANT, GPU),), ()]))
    return Board(
        compute_capability=draw(st.sampled_from([(7, 0), (7, 5), (8, 0), (8, 6), (9, 0), (12, 0)])),
        waves={GPU: draw(waves())},
        energy=updates(draw, Energy, period_us, first_mj=draw(st.integers(0, 2**42))),
        instant=updates(
            draw, Updates, draw(st.integers(20_000, 100_000)), window_us=draw(st.integers(10_000, 100_000))
        ),
        average=updates(draw, Updates, 100_000, window_us=1_000_000),
        power_usage=draw(st.sampled_from(["instant", "average", "off"])),
        fields=(*draw(st.sampled_from([((83, GPU), (191, GPU)), ((83, GPU),), ()])), *readings),
        field_missing=draw(st.sampled_from([("entry", 3), ("call", 2)])),
        buffer=draw(st.none() | st.builds(Buffer, period_us=st.sampled_from([5_000, 20_000]), stamps=stamps)),
        stamps=draw(stamps),
        latency_us=draw(st.integers(0, 500)),
        delay_us=draw(st.sampled_from([(0, 0), (300, 100), (50, 2_000)])),
    )


@st.composite
def part_time(draw: st.DrawFn) -> Board:
    """A counter of what a sensor sees that looks at the power for 25 ms of each 100 ms, and a load that is not in step."""
    return Board(
        waves={GPU: draw(waves())},
        energy=updates(draw, Energy, 100_000, kind="sensor", window_us=25_000),
        instant=updates(draw, Updates, 100_000, window_us=25_000),
        buffer=draw(st.none() | st.just(Buffer(period_us=20_000, window_us=5_000))),
        stamps=draw(stamps),
    )


@st.composite
def without_counter(draw: st.DrawFn) -> Board:
    """Readings as they are published for the boards: period and window in milliseconds, by compute capability."""
    capability, period_ms, window_ms = draw(st.sampled_from([((7, 0), 20, 10), ((8, 6), 100, 100), ((9, 0), 100, 25)]))
    is_usage = draw(st.booleans()) and capability == (7, 0)
    return Board(
        compute_capability=capability,
        waves={GPU: draw(waves())},
        energy=None,
        instant=updates(draw, Updates, period_ms * 1000, window_us=window_ms * 1000),
        average=updates(draw, Updates, 100_000, window_us=1_000_000),
        power_usage="instant" if is_usage else "average",
        fields=() if is_usage else ((INSTANT, GPU), (AVERAGE, GPU)),
        buffer=draw(st.none() | st.just(Buffer(period_us=10_000 if period_ms == 20 else 20_000))),
        stamps=draw(stamps),
    )


boards = st.lists(st.one_of(with_counter(), part_time(), without_counter()), min_size=4, max_size=8)
few = settings(
    max_examples=6, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)


@pytest.fixture(scope="module")
def fake() -> Fake:
    return library(Script())


@few
@given(boards, seeds)
def test_the_truth_lies_within_the_bounds(fake: Fake, scripts: list[Board], seed: int) -> None:
    fake.play(Script(boards=scripts))
    chance = random.Random(seed)
    agreed: list[str] = []
    with probe_on(fake) as probe:
        begin_ns = pp.now_ns()
        time.sleep(SECONDS)
        end_ns = pp.now_ns()
        edges = np.array(sorted(chance.randrange(begin_ns, end_ns) for _ in range(2 * INTERVALS)), np.int64)
        starts = np.array([chance.randrange(begin_ns, end_ns) for _ in range(INTERVALS)], np.int64)
        ends = np.array([chance.randrange(start, end_ns) for start in starts.tolist()], np.int64)
        assert {probe.info(name).gpu for name in probe.channels} == set(range(len(scripts)))
        for name in probe.channels:
            if probe.info(name).reading == "average":  # of a whole second: this one says little of so short a time
                continue
            board = scripts[probe.info(name).gpu]
            energy = probe.energy(starts, ends, name, settle=30.0)
            true = np.array([truth(fake, board, int(s), int(e)) for s, e in zip(starts, ends, strict=True)])
            slack = 1e-6 + 1e-9 * true
            is_readings_of_another_kind = probe.info(name).reading and board.energy is not None
            if not is_readings_of_another_kind:
                outside = (true < energy.lower - slack) | (true > energy.upper + slack)
                assert not outside.any(), (name, board, starts[outside] - fake.start_ns, ends[outside] - fake.start_ns)
            assert (energy.joules >= 0.0).all() and (energy.lower >= 0.0).all()
            assert ((energy.lower <= energy.joules) & (energy.joules <= energy.upper)).all()

            parts = probe.energy(edges[:-1], edges[1:], name)
            whole = probe.energy(int(edges[0]), int(edges[-1]), name)
            assert parts.lower.sum() <= whole.joules + 1e-6
            assert whole.joules <= parts.upper.sum() + 1e-6
            # Where an estimate runs into its bounds (a guide that says that all was used within a moment) sums need not agree.
            is_held = (parts.joules > 0.0) & ((parts.joules <= parts.lower) | (parts.joules >= parts.upper))
            if not is_held.any() and whole.lower < whole.joules < whole.upper:
                np.testing.assert_allclose(parts.joules.sum(), whole.joules, rtol=1e-9, atol=1e-9, err_msg=name)
                agreed.append(name)
    assert agreed


def test_a_load_in_step_with_a_part_time_sensor_is_what_no_bounds_promise() -> None:
    """The other side of what the bounds say: they rest on a load that does not keep step, and here it does."""
    wave = [(25_000, 0), (75_000, HIGHEST_MW)]  # dark exactly while the sensor looks
    energy = Energy(period_us=100_000, phase_us=25_000, kind="sensor", window_us=25_000)
    board = Board(
        waves={GPU: wave}, energy=energy, instant=Updates(period_us=100_000, phase_us=25_000, window_us=25_000)
    )
    fake = library(Script(boards=[board]))
    with probe_on(fake, channels="gpu-0") as probe:
        begin_ns = pp.now_ns()
        time.sleep(2.0)
        end_ns = pp.now_ns()
        energy_seen = probe.energy(begin_ns, end_ns, "gpu-0", settle=30.0)
        assert probe.info("gpu-0").blind_joules > 0.0
    assert energy_seen.joules < 0.1 * truth(fake, board, begin_ns, end_ns)
    assert end_ns - begin_ns >= 2000 * MS
