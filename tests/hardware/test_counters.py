# SPDX-License-Identifier: MIT
"""The same questions, to this machine's own counters. Where there is none each test is skipped with the reasons."""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np
import pytest

import powerprobe as pp

COUNTERS = [source for source in pp.SOURCES if source != "cpu_model"]


@pytest.fixture(params=COUNTERS)
def source(request: pytest.FixtureRequest) -> str:
    name = str(request.param)
    try:
        pp.discover(name, strict=None)
    except pp.PowerprobeError as error:
        pytest.skip(str(error).replace("\n", "; "))
    return name


@pytest.fixture
def probe(source: str) -> Iterator[pp.Probe]:
    with pp.Probe(sources=source) as running:
        yield running


def busy(seconds: float) -> None:
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass


def test_a_busy_second_takes_more_than_an_idle_one(probe: pp.Probe) -> None:
    begin = pp.now_ns()
    time.sleep(1.0)
    middle = pp.now_ns()
    busy(1.0)
    idle, load = probe.energy([begin, middle], [middle, pp.now_ns()], "package-0").joules
    assert 0.0 < idle < load


def test_parts_sum_to_the_whole_and_children_are_no_more_than_their_parents(probe: pp.Probe) -> None:
    marks = [pp.now_ns()]
    for _ in range(20):
        busy(0.02)
        marks.append(pp.now_ns())
    parts = probe.energy(marks[:-1], marks[1:])
    whole = probe.energy(marks[0], marks[-1])
    np.testing.assert_allclose(parts.joules.sum(axis=0), whole.joules, rtol=1e-9)
    assert (whole.lower <= whole.joules).all()
    assert (whole.joules <= whole.upper).all()
    for i, name in enumerate(probe.channels):
        parent = probe.info(name).parent
        if parent in probe.channels:
            assert whole.lower[i] <= whole.upper[probe.channels.index(parent)]


def test_the_counter_moves_as_often_as_it_says(probe: pp.Probe) -> None:
    busy(0.5)
    steps = np.diff(probe.view("package-0")["t_ns"])
    assert steps.size > 100
    assert np.median(steps) < 4 * probe.info("package-0").update_period_ns


def test_all_ways_to_one_counter_agree() -> None:
    try:
        found = pp.discover(strict=True)
    except pp.PowerprobeError as error:
        pytest.skip(str(error).replace("\n", "; "))
    assert [choice.disagreement for choice in found.choices if choice.disagreement] == []


def test_the_counters_steps_are_found_and_waited_for(probe: pp.Probe) -> None:
    busy(2.0)
    stats = probe.stats()["channels"]["package-0"]  # type: ignore[index]
    if probe.info("package-0").stamped:
        stamped = (probe.view("package-0")["flags"] & pp.EDGE_FLAGS["stamped"]) != 0
        assert np.count_nonzero(stamped) > 100
    else:
        assert stats["caught"] + stats["spaced"] > 100
        assert 2e5 < stats["period_ns"] < 1e7


def test_a_short_region_is_answered_and_says_whether_that_is_narrow(probe: pp.Probe) -> None:
    busy(0.2)
    begin = pp.now_ns()
    busy(0.001)
    short = probe.energy(begin, pp.now_ns(), "package-0")
    assert short.lower <= short.joules <= short.upper
    busy(0.2)
    long = probe.energy(begin, pp.now_ns(), "package-0")
    assert long.resolved
    assert short.repetitions > long.repetitions
