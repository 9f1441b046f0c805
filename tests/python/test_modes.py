# SPDX-License-Identifier: MIT
"""How a probe looks at its counters: tracked, at a fixed rate, without a pause, or only where a measurement asks."""

from __future__ import annotations

import os
import time
from typing import Any

import numpy as np
import pytest
from truth import MS, Load, counter, steady

import powerprobe as pp

LATE = pp.EDGE_FLAGS["late"] | pp.EDGE_FLAGS["first"] | pp.EDGE_FLAGS["quiet"]


def channel_stats(probe: pp.Probe, name: str = "package-0") -> Any:
    stats: Any = probe.stats()
    return stats["channels"][name]


def polls(probe: pp.Probe) -> int:
    stats: Any = probe.stats()
    return sum(sampler["polls"] for sampler in stats["samplers"])


def until(condition: Any, seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_a_probe_tracks_unless_it_is_given_a_period() -> None:
    assert pp.Probe(sources=pp.replay([steady()])).mode == "track"
    assert pp.Probe(sources=pp.replay([steady()]), period=1e-3).mode == "poll"
    assert pp.Probe(sources=pp.replay([steady()]), mode="spin").mode == "spin"
    assert pp.Probe(sources=pp.replay([steady()]), mode="poll").mode == "poll"


def test_tracked_steps_are_where_they_were() -> None:
    start_ns = pp.now_ns()
    with pp.Probe(sources=pp.replay([steady(3), steady(2, "dram-0")], start_ns=start_ns)) as probe:
        until(lambda: channel_stats(probe)["caught"] >= 50)
        for name in probe.channels:
            edges = probe.view(name)
            located = edges[(edges["flags"] & LATE) == 0]
            assert located.size >= 20
            # Each true step is a whole number of milliseconds after the start, and lies within the gap of its edge.
            since = (located["t_ns"] - start_ns) % MS
            assert np.all(since <= located["gap_ns"])
            assert np.median(located["gap_ns"]) < MS / 10
        stats = channel_stats(probe)
        assert stats["period_ns"] == pytest.approx(MS, rel=0.2)
        assert stats["guard_ns"] > 0


def test_a_small_budget_lets_steps_pass_and_says_so() -> None:
    with pp.Probe(sources=pp.replay([steady()]), budget=0.002) as probe:
        until(lambda: channel_stats(probe)["skipped"] > 50)
        assert channel_stats(probe)["caught"] > 0


def test_modes_change_while_it_runs() -> None:
    with pp.Probe(sources=pp.replay([steady()]), period=1.0) as probe:
        before = polls(probe)
        time.sleep(0.02)
        assert polls(probe) <= before + 1
        probe.set_mode("spin")
        assert probe.mode == "spin"
        until(lambda: polls(probe) > before + 1000)
        probe.set_mode("track")
        until(lambda: channel_stats(probe)["caught"] > 5)
        probe.set_mode("poll", 1.0)
        time.sleep(0.03)
        before = polls(probe)
        time.sleep(0.05)
        assert polls(probe) <= before + 1
        stats: Any = probe.stats()
        assert stats["mode"] == "poll"


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"mode": "fast"}, "mode must be one of track, poll, spin"),
        ({"mode": "track", "period": 1e-3}, "period is for mode 'poll'"),
        ({"mode": "spin", "period": 1e-3}, "period is for mode 'poll'"),
        ({"mode": "poll", "period": 2.0}, "period must be"),
        ({"budget": 0.0}, "budget"),
        ({"budget": 1.5}, "budget"),
        ({"budget": float("nan")}, "budget"),
    ],
)
def test_what_cannot_be_is_named(arguments: dict[str, Any], named: str) -> None:
    with pytest.raises(pp.BadArgument, match=named):
        pp.Probe(sources=pp.replay([steady()]), **arguments)


def test_a_mode_that_cannot_be_changes_nothing() -> None:
    with pp.Probe(sources=pp.replay([steady()])) as probe:
        with pytest.raises(pp.BadArgument, match="mode"):
            probe.set_mode("fast")
        with pytest.raises(pp.BadArgument, match="period"):
            probe.set_mode("poll", 7.0)
        with pytest.raises(TypeError, match="mode"):
            probe.set_mode(3)  # type: ignore[arg-type]
        assert probe.mode == "track"


def test_realtime_and_locked_memory_work_or_say_what_would_help() -> None:
    try:
        with pp.Probe(sources=pp.replay([steady()]), realtime=True, lock_memory=True, history=1.0) as probe:
            until(lambda: channel_stats(probe)["caught"] > 5)
    except pp.PermissionDenied as error:
        assert "ulimit" in error.remedy  # noqa: PT017 - one of two good ends


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_an_ordinary_user_is_told_what_realtime_needs(python: Any) -> None:
    done = python("""
        import os, resource
        import powerprobe as pp
        source = pp.replay([{"name": "package-0", "joules_per_count": 1e-6, "steps": [(0, 0)]}])
        probe = pp.Probe(sources=source, realtime=True)
        resource.setrlimit(resource.RLIMIT_RTPRIO, (0, 0))
        os.setresuid(65534, 65534, 65534)
        try:
            probe.start()
        except pp.PermissionDenied as error:
            print(isinstance(error, PermissionError), error)
        """)
    assert done.stdout.startswith("True")
    assert "CAP_SYS_NICE" in done.stdout
    assert "SCHED_FIFO" in done.stdout


def test_an_estimate_is_never_late() -> None:
    estimate = {**steady(), "name": "cpu", "provenance": "estimated", "low_watts": 0.5, "high_watts": 2.0}
    with pp.Probe(sources=pp.replay([estimate])) as probe, probe.measure() as m:
        time.sleep(0.05)
    assert "estimated" in m.flags["cpu"]
    assert "late" not in m.flags["cpu"]
    edges = probe.view("cpu")
    assert edges.size > 3
    assert not (edges["flags"] & pp.EDGE_FLAGS["late"]).any()


# ---- Only where a measurement asks


@pytest.fixture
def on_demand() -> Any:
    """A running probe that nobody asks, as measure()'s own; 3 W."""
    probe = pp.Probe(sources=pp.replay([steady(3)]))
    probe._start()
    yield probe
    probe.close()


def test_between_its_ends_a_long_measurement_reads_next_to_nothing(on_demand: pp.Probe) -> None:
    with on_demand.measure() as m:
        time.sleep(0.1)
        before = polls(on_demand)
        time.sleep(0.9)
        looks = polls(on_demand) - before
    assert 10 <= looks <= 150  # one after each thirty-second part of its time
    assert m.lower["package-0"] <= 3.0 * m.seconds <= m.upper["package-0"]
    assert m.joules["package-0"] == pytest.approx(3.0 * m.seconds, rel=0.02)
    assert m.lower["package-0"] > 0.9 * 3.0 * m.seconds
    time.sleep(0.1)
    before = polls(on_demand)
    time.sleep(0.2)
    assert polls(on_demand) == before


def test_a_short_measurement_gets_every_step(on_demand: pp.Probe) -> None:
    on_demand.measure().begin().end()  # learns
    time.sleep(0.1)
    with on_demand.measure() as m:
        time.sleep(0.01)
    assert m.joules["package-0"] == pytest.approx(3.0 * m.seconds, rel=0.1)
    edges = on_demand.view("package-0")
    inside = edges[(edges["t_ns"] > m.start_ns) & (edges["t_ns"] < m.end_ns)]
    assert inside.size >= 3


def test_a_measurement_begins_behind_a_step(on_demand: pp.Probe) -> None:
    for _ in range(5):
        time.sleep(0.05)  # quiet again
        m = on_demand.measure().begin()
        edges = on_demand.view("package-0")
        m.end()
        before = edges[edges["t_ns"] <= m.start_ns]
        assert m.start_ns - int(before["t_ns"][-1]) < 20 * MS  # and not the seconds between two keep-alives


def test_forgotten_measurements_are_watched_no_more(on_demand: pp.Probe) -> None:
    on_demand.measure().begin()
    time.sleep(0.1)
    before = polls(on_demand)
    time.sleep(0.2)
    assert polls(on_demand) == before


@pytest.mark.parametrize("mode", ["track", "poll", "spin"])
def test_the_truth_lies_within_the_bounds_in_every_mode(mode: str) -> None:
    start_ns = pp.now_ns()
    load = Load([(20 * MS, 3), (5 * MS, 70), (13 * MS, 0), (4 * MS, 200), (1, 2)])
    source = pp.replay([counter(load), counter(load, name="dram-0")], start_ns=start_ns)
    with pp.Probe(sources=source, mode=mode) as probe:
        time.sleep(0.15)
        random = np.random.default_rng(5)
        first = start_ns + max(0, int(probe.view("package-0")["t_ns"][0]) - start_ns)
        starts = random.integers(first, pp.now_ns() - 30 * MS, 200)
        ends = starts + random.integers(0, 25 * MS, 200)
        energies = probe.energy(starts, ends, settle=5.0)
        for i, (start, end) in enumerate(zip(starts.tolist(), ends.tolist(), strict=True)):
            truth = load.joules(start - start_ns, end - start_ns)
            assert np.all(energies.lower[i] <= truth + 1e-9)
            assert np.all(truth <= energies.upper[i] + 1e-9)
