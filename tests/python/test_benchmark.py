# SPDX-License-Identifier: MIT
"""benchmark() and compare() in real time, on counters whose energy is known exactly."""

from __future__ import annotations

import gc
import json
import time
from collections.abc import Callable

import numpy as np
import pytest
from truth import MS, Load, counter, steady

import powerprobe as pp
from powerprobe import runs
from powerprobe.baseline import Window, baseline
from powerprobe.batches import Estimate, Steps
from powerprobe.benchmarking import _Summary
from powerprobe.runs import FEWEST_RUNS, Column, Series, Session, run_duration_ns

WATTS = {"package-0": 30.0, "core-0": 10.0, "dram-0": 3.0, "total": 33.0}
GOOD_STEPS = Steps(50, 0, 0)


def busy(loops: int = 50) -> None:
    for _ in range(loops):
        pass


def busier() -> None:
    busy(150)


def slow() -> None:
    time.sleep(2e-3)


def slower() -> None:
    time.sleep(2e-2)


def counters(**more: object) -> pp._core.Source:
    return pp.replay([steady(30, **more), steady(10, "core-0"), steady(3, "dram-0")])


def rows(result: pp.Benchmark) -> dict[str, pp.CallEnergy]:
    return {**result.channels, "total": result.total}


def test_a_call_takes_power_times_time_on_every_channel() -> None:
    result = pp.benchmark(busy, 100, seconds=0.6, baseline=0.1, sources=counters())

    assert list(result.channels) == ["package-0", "core-0", "dram-0"]
    for name, each in rows(result).items():
        truth = WATTS[name] * result.seconds.value
        assert each.lower <= truth <= each.upper
        assert each.gross.low <= each.gross.value <= each.gross.high
        assert each.watts == pytest.approx(WATTS[name], rel=0.05)
        assert each.provenance == "measured"
    assert result.total.gross.value == pytest.approx(
        result.channels["package-0"].gross.value + result.channels["dram-0"].gross.value
    )
    assert len(result.runs) >= FEWEST_RUNS
    assert result.calls == sum(run.calls for run in result.runs)


def test_under_constant_power_nothing_is_net_and_the_baseline_is_that_power() -> None:
    result = pp.benchmark(busy, 100, seconds=0.5, baseline=0.1, sources=counters())

    assert result.baseline is not None
    for name, each in rows(result).items():
        assert result.baseline.before[name] == pytest.approx(WATTS[name], rel=0.05)
        assert result.baseline.watts[name].low <= result.baseline.watts[name].value <= result.baseline.watts[name].high
        assert each.net is not None
        assert abs(each.net.value) < 0.1 * each.gross.value


def test_without_a_baseline_there_is_no_net_energy() -> None:
    result = pp.benchmark(busy, seconds=0.2, baseline=0, sources=counters())

    assert result.baseline is None
    assert all(each.net is None for each in rows(result).values())
    assert "net" not in str(result)
    compared = pp.compare(busy, busier, seconds=0.2, baseline=0, sources=counters())
    assert compared.net is None


def test_the_time_of_a_call_is_right_over_many_magnitudes() -> None:
    for seconds in (1e-3, 3e-2):
        result = pp.benchmark(time.sleep, seconds, seconds=0.3, baseline=0.0, sources=counters())
        assert seconds <= result.seconds.value < 2 * seconds + 1e-3
        assert result.overhead is None  # far below 0.1 %
    nothing = pp.benchmark(busy, 0, seconds=0.3, baseline=0.0, sources=counters())
    assert 1e-8 < nothing.seconds.value < 2e-6
    assert nothing.overhead is not None
    assert 1e-10 < nothing.overhead.seconds.value < nothing.seconds.value
    assert nothing.overhead.joules.value == pytest.approx(33.0 * nothing.overhead.seconds.value, rel=0.3)
    assert "subtracted for the loop" in str(nothing)


@pytest.mark.parametrize(("call", "on_edges"), [(busy, True), (slower, False)])
def test_only_calls_that_are_short_against_a_step_are_counted_on_edges(
    monkeypatch: pytest.MonkeyPatch, call: Callable[[], None], on_edges: bool
) -> None:
    asked = []
    monkeypatch.setattr(runs, "watts_on_edges", lambda *args: asked.append(args))
    # Steps of 8 ms: batches are a thousand readings of the clock long, which take more than 1 ms under a sanitizer.
    slow = [
        counter(Load([(1, int(w))]), range(0, 20_000 * MS, 8 * MS), name=n) for n, w in WATTS.items() if n != "total"
    ]
    result = pp.benchmark(call, seconds=0.2, baseline=0.0, sources=pp.replay(slow))

    assert bool(asked) == on_edges
    assert (
        result.total.lower <= 33.0 * result.seconds.value <= result.total.upper
    )  # without an answer: from start to end


def test_a_call_longer_than_the_time_is_made_five_times() -> None:
    calls = []

    def call() -> None:
        calls.append(1)
        time.sleep(0.05)

    result = pp.benchmark(call, seconds=0.1, baseline=0.0, sources=counters())

    assert (result.calls, result.batch) == (5, 1)
    assert len(calls) <= 5 + 3  # some to warm up and to calibrate


def test_precision_ends_it_sooner() -> None:
    begin = time.monotonic()
    result = pp.benchmark(busy, 1000, seconds=30.0, precision=0.5, baseline=0.0, sources=counters())

    assert time.monotonic() - begin < 25.0
    assert len(result.runs) >= 10
    assert result.total.gross.half_width <= 0.5


def test_two_functions_of_different_length_are_told_apart() -> None:
    result = pp.compare(busy, busier, seconds=0.8, baseline=0.1, seed=1, sources=counters())

    assert result.joules.is_different
    assert result.joules.ratio.value == pytest.approx(result.seconds.ratio.value, rel=0.1)
    assert result.verdict.startswith("busy takes ")
    assert result.verdict.endswith(" less than busier")
    assert len(result.first.runs) == len(result.second.runs)
    assert result.net is not None
    # Under constant power nothing is net, and its ratio means nothing. One time in forty the intervals say otherwise.
    nets = [each.total.net for each in (result.first, result.second)]
    has_ratio = not np.isnan(result.net.ratio.value)
    assert not has_ratio or all(net is not None and net.low > 0.0 for net in nets)
    assert ("net energy: busy and busier have no ratio" in str(result)) == (not has_ratio)
    assert result.first.baseline == result.second.baseline


def test_a_function_is_equivalent_to_itself_within_a_wide_margin() -> None:
    result = pp.compare(busy, busy, seconds=0.6, margin=0.9, baseline=0.0, sources=counters())

    assert (result.first.label, result.second.label) == ("busy (f)", "busy (g)")
    assert result.joules.is_equivalent
    assert result.verdict.startswith("equivalent within 90 %")


def test_runs_come_in_pairs_whose_order_is_that_of_the_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    original = Session._run

    def noted(self: Session, series: Series, run_ns: float) -> None:
        order.append(series.label)
        original(self, series, run_ns)

    monkeypatch.setattr(Session, "_run", noted)

    def pairs(seed: int) -> list[tuple[str, ...]]:
        order.clear()
        pp.compare(slow, slower, seconds=0.8, seed=seed, baseline=0.0, sources=counters())
        return list(zip(order[::2], order[1::2], strict=True))

    first = pairs(7)
    assert {*first} == {("slow", "slower"), ("slower", "slow")}
    again = pairs(7)
    length = min(len(first), len(again))
    assert length >= FEWEST_RUNS
    assert first[:length] == again[:length]


def test_the_garbage_collector_is_off_in_runs_and_as_before_afterwards() -> None:
    states = set()
    pp.benchmark(lambda: states.add(gc.isenabled()), seconds=0.1, baseline=0.0, sources=counters())
    assert (states, gc.isenabled()) == ({False}, True)

    gc.disable()
    try:
        pp.benchmark(busy, seconds=0.1, baseline=0.0, sources=counters())
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_what_a_function_raises_comes_through_and_leaves_nothing_behind() -> None:
    def fail() -> None:
        raise KeyError("mine")

    with pp.Probe(sources=counters()) as probe:
        with pytest.raises(KeyError, match="mine"):
            pp.benchmark(fail, seconds=0.1, baseline=0.0, probe=probe)
        assert gc.isenabled()
        assert pp.benchmark(busy, seconds=0.1, baseline=0.0, probe=probe).calls > 0


def test_a_probe_that_runs_can_be_used_and_channels_chosen() -> None:
    with pp.Probe(sources=counters()) as probe:
        result = pp.benchmark(busy, seconds=0.1, baseline=0.0, probe=probe, channels=["core-0"])
        assert list(result.channels) == ["core-0"]
        assert result.total.gross == result.channels["core-0"].gross
        with pytest.raises(pp.BadArgument, match="probe"):
            pp.benchmark(busy, probe=probe, strict=True)


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        ({"seconds": 0}, pp.BadArgument, "seconds"),
        ({"seconds": "1"}, TypeError, "seconds"),
        ({"precision": -1.0}, pp.BadArgument, "precision"),
        ({"baseline": -1.0}, pp.BadArgument, "baseline"),
        ({"baseline": float("nan")}, pp.BadArgument, "baseline"),
        ({"channels": "gpu-*"}, pp.BadArgument, "gpu"),
        ({"probe": 3}, TypeError, "probe"),
    ],
)
def test_arguments_that_cannot_be_are_named(arguments: dict[str, object], error: type[Exception], says: str) -> None:
    if "probe" not in arguments:
        arguments = {"sources": counters(), **arguments}
    with pytest.raises(error, match=says):
        pp.benchmark(busy, **arguments)  # type: ignore[arg-type]


def test_what_does_not_run_when_it_is_called_is_refused() -> None:
    async def later() -> None: ...

    def bits() -> object:
        yield 1

    for wrong in (3, later, bits):
        with pytest.raises(TypeError, match="fn"):
            pp.benchmark(wrong)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="g"):
            pp.compare(busy, wrong)  # type: ignore[arg-type]
    with pytest.raises(pp.BadArgument, match="margin"):
        pp.compare(busy, busier, margin=0.0)


def test_an_estimate_is_said_loudly_and_compares_nothing() -> None:
    model = {"provenance": "estimated", "low_watts": 1.0, "high_watts": 100.0}
    result = pp.compare(busy, busier, seconds=0.3, baseline=0.1, sources=pp.replay([steady(30, **model)]))

    assert any("NOT MEASURED" in warning for warning in result.warnings)
    assert result.verdict.startswith("cannot tell")
    assert result.first.total.provenance == "estimated"
    assert result.first.total.upper > 2 * result.first.total.gross.value


def test_too_few_edges_are_warned_about() -> None:
    slow = counter(Load([(1, 30)]), range(0, 20_000 * MS, 50 * MS))
    result = pp.benchmark(busy, seconds=0.3, baseline=0.05, sources=pp.replay([slow]))

    assert any("too few edges" in warning for warning in result.warnings)


def test_everything_goes_into_json_and_a_table() -> None:
    one = pp.benchmark(busy, seconds=0.2, baseline=0.05, sources=counters())
    two = pp.compare(busy, busier, seconds=0.2, baseline=0.05, sources=counters())

    data = json.loads(json.dumps(two.to_dict(), allow_nan=False))
    assert set(data) == {"first", "second", "joules", "net", "seconds", "verdict", "warnings"}
    assert set(data["first"]) == set(one.to_dict())
    assert set(data["first"]["channels"]["core-0"]) == set(data["first"]["total"])
    text = str(one).splitlines()
    assert text[0].startswith("busy: ")
    assert [line.split()[0] for line in text[2:6]] == ["package-0", "core-0", "dram-0", "total"]
    assert all(line == line.rstrip() for line in [*text, *str(two).splitlines()])
    assert "energy: busy takes" in str(two)


def test_without_scipy_there_is_a_sentence_with_the_command(python: Callable) -> None:
    done = python("""
        import sys
        sys.modules["scipy"] = None
        import powerprobe as pp
        try:
            pp.benchmark(print)
        except pp.Unavailable as error:
            print(error)
    """)
    assert "benchmark() needs the package scipy" in done.stdout
    assert "-m pip install 'scipy>=1.11'" in done.stdout


# ---- What follows from runs that are made up


def made_up(joules: list[float], seconds: float = 1e-3, steps: Steps = GOOD_STEPS, **more: object) -> pp.Benchmark:
    with pp.Probe(sources=counters()) as probe:
        session = Session(probe, ["package-0"], 0.0)
    session.columns = [Column("package-0", 0, "measured", "replay"), Column("total", 0, "measured", "replay")]
    series = Series("f", lambda count: None)
    for each in joules:
        series.calls.append(10)
        series.seconds.append(seconds)
        series.energies.append([Estimate(each, each * 0.9, each * 1.1)] * 2)
        series.steps.append([steps] * 2)
    for name, value in more.items():
        setattr(session, name, value)
    return _Summary(session, series).benchmark()


def test_the_bounds_contain_the_interval_and_what_the_steps_may_hide() -> None:
    result = made_up([1.0, 1.1, 0.9, 1.0, 1.05])

    assert result.total.lower < result.total.gross.low < result.total.gross.high < result.total.upper
    assert result.total.lower < 0.9 * result.total.gross.low + 1e-9
    exact = made_up([1.0] * 5)
    assert (exact.total.gross.low, exact.total.gross.high) == (1.0, 1.0)
    assert (exact.total.lower, exact.total.upper) == (0.9, 1.1)
    assert exact.warnings == ()


def test_what_is_subtracted_adds_its_uncertainty() -> None:
    loop = Series("loop", lambda count: None)
    for each in (0.1, 0.12, 0.08):
        loop.calls.append(10)
        loop.seconds.append(1e-4)
        loop.energies.append([Estimate(each, each, each)] * 2)
    windows = [Window(np.array([[w, w]] * 10), np.array([w, w]), np.array([w, w])) for w in (100.0, 120.0)]
    idle = baseline(*windows, ["package-0", "total"], 0.3)
    result = made_up([1.0] * 5, loop=loop, baseline=idle)

    assert result.seconds.value == pytest.approx(9e-4)
    assert result.total.gross.value == pytest.approx(0.9)
    assert result.total.gross.high - 0.9 == pytest.approx(result.overhead.joules.high - 0.1)  # type: ignore[union-attr]
    assert result.total.net is not None
    assert result.total.net.value == pytest.approx(0.9 - 9e-4 * 110.0)
    more = np.hypot(result.total.gross.high - 0.9, 9e-4 * (idle.watts["total"].high - 110.0))
    assert result.total.net.high - result.total.net.value == pytest.approx(more)
    assert idle.watts["total"].high - 110.0 >= 10.0  # half the drift at least
    assert any("baseline drift: idling took +20.000 W" in warning for warning in result.warnings)


@pytest.mark.parametrize(
    ("steps", "says"),
    [
        (Steps(5, 0, 0), "too few edges"),
        (Steps(50, 20, 0), "late edges: 100 of 250"),
        (Steps(50, 0, 1), "dropped edges: before 5"),
    ],
)
def test_doubtful_steps_are_warned_about(steps: Steps, says: str) -> None:
    assert any(f"f: {says}" in warning for warning in made_up([1.0] * 5, steps=steps).warnings)


def test_a_trend_and_short_batches_are_warned_about_and_the_machines_doubts_shown() -> None:
    rising = made_up(list(np.linspace(1.0, 1.2, 20)), doubts=["throttling: 3 times"], goal_ns=1e9)

    assert rising.warnings[0] == "throttling: 3 times"
    assert any("trend: energy per call changed by +18.2 %" in warning for warning in rising.warnings)
    assert any("short batches" in warning for warning in rising.warnings)


@pytest.mark.parametrize(
    ("seconds", "step_ms", "functions", "run_ms"),
    [
        (2.0, 1.0, 1, 100.0),
        (2.0, 10.0, 1, 200.0),
        (2.0, 100.0, 1, 400.0),
        (2.0, 1.0, 2, 50.0),
        (99.0, 1.0, 1, 150.0),
        (4.0, 100.0, 2, 400.0),
    ],
)
def test_runs_are_twenty_or_twenty_steps_long_or_five(
    seconds: float, step_ms: float, functions: int, run_ms: float
) -> None:
    assert run_duration_ns(seconds, step_ms * 1e6, functions) == pytest.approx(run_ms * 1e6)
