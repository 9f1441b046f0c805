# SPDX-License-Identifier: MIT
"""measure(): with blocks, decorators, begin and end, and what a measurement says."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import gc
import json
import math
import threading
import time

import pytest
from conftest import Machine
from truth import MS, Load, counter, steady

import powerprobe as pp


def wait_for_a_step(probe: pp.Probe) -> None:
    probe.energy(pp.now_ns(), pp.now_ns())


# ---- The ways to measure


def test_a_with_block_on_the_shared_probe(machine: Machine) -> None:
    before = pp.now_ns()
    with pp.measure() as m:
        inside = pp.now_ns()
    after = pp.now_ns()
    assert before <= m.start_ns <= inside <= m.end_ns <= after
    assert m.seconds == pytest.approx((m.end_ns - m.start_ns) * 1e-9)
    assert list(m.joules) == ["package-0", "core-0"]
    assert 0.0 <= m.total_lower <= m.total <= m.total_upper


def test_everybody_shares_one_probe_and_one_search(machine: Machine) -> None:
    with pp.measure() as a, pp.measure(channels="core-0") as b:
        pass
    assert a._probe is b._probe
    assert machine.searches == 1
    assert b.channels == ("core-0",)


def test_single_cores_are_read_only_when_asked_for(machine: Machine) -> None:
    with pp.measure() as usual, pp.measure(channels="core-0-*") as wide:
        pass
    assert usual._probe is not wide._probe
    assert usual._probe.channels == ("package-0", "core-0")
    assert list(wide.joules) == ["core-0-0", "core-0-1", "core-0-2", "core-0-3"]
    with pp.measure(channels=["core-0-1", "package-0"]) as again:
        pass
    assert again._probe is wide._probe


def test_the_truth_lies_within_the_bounds() -> None:
    start_ns = pp.now_ns()
    load = Load([(20 * MS, 3), (5 * MS, 70), (1, 2)])
    with pp.Probe(sources=pp.replay([counter(load)], start_ns=start_ns)) as probe:
        for _ in range(20):
            with probe.measure() as m:
                until = pp.now_ns() + 2 * MS
                while pp.now_ns() < until:
                    pass
            truth = load.joules(m.start_ns - start_ns, m.end_ns - start_ns)
            assert m.lower["package-0"] <= truth <= m.upper["package-0"]
            assert m.lower["package-0"] <= m.joules["package-0"] <= m.upper["package-0"]


def test_a_measurement_may_be_longer_than_the_history() -> None:
    start_ns = pp.now_ns()
    load = Load([(1, 3)])
    with pp.Probe(sources=pp.replay([counter(load)], start_ns=start_ns), period=1e-4, history=1e-3) as probe:
        with probe.measure() as m:
            while int(probe.view("package-0")["t_ns"][0]) <= m.start_ns:
                wait_for_a_step(probe)
        truth = load.joules(m.start_ns - start_ns, m.end_ns - start_ns)
        assert m.lower["package-0"] <= truth <= m.upper["package-0"]


def test_begin_and_end(probe: pp.Probe) -> None:
    m = probe.measure().begin()
    wait_for_a_step(probe)
    assert m.end() is m
    end_ns = m.end_ns
    assert m.end().end_ns == end_ns  # what has ended stays
    assert m.total > 0.0


def test_before_its_end_there_is_no_answer(probe: pp.Probe) -> None:
    m = probe.measure().begin()
    for ask in ("joules", "total", "watts", "seconds", "end_ns", "losses", "overhead", "unknown"):
        with pytest.raises(pp.OutOfRange, match="not ended"):
            getattr(m, ask)
    assert "not ended" in repr(m)
    assert "not ended" in str(m)
    m.end()


def test_one_object_measures_again_and_again_and_inside_itself(probe: pp.Probe) -> None:
    again = probe.measure()
    with again as outer:
        with again as inner:
            wait_for_a_step(probe)
        with again as second:
            pass
    assert outer.start_ns <= inner.start_ns <= inner.end_ns <= second.start_ns <= second.end_ns <= outer.end_ns
    assert outer.total >= inner.total > 0.0


def test_one_object_in_many_threads(probe: pp.Probe) -> None:
    shared = probe.measure()
    barrier = threading.Barrier(4)
    found: list[tuple[int, int, int, int]] = []

    def work() -> None:
        for _ in range(25):
            barrier.wait()
            before = pp.now_ns()
            with shared as m:
                barrier.wait()
            found.append((before, m.start_ns, m.end_ns, pp.now_ns()))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 100
    assert all(list(times) == sorted(times) for times in found)


def test_one_object_in_tasks_that_interleave(probe: pp.Probe) -> None:
    shared = probe.measure()

    async def work(entered: asyncio.Event, leave: asyncio.Event) -> pp.Measurement:
        with shared as m:
            entered.set()
            await leave.wait()
        return m

    async def main() -> None:
        events = [asyncio.Event() for _ in range(4)]
        first = asyncio.create_task(work(events[0], events[1]))
        await events[0].wait()
        second = asyncio.create_task(work(events[2], events[3]))
        await events[2].wait()
        events[1].set()  # the one that came first leaves first
        a = await first
        assert a.end_ns > a.start_ns
        events[3].set()
        b = await second
        assert a.start_ns < b.start_ns < a.end_ns < b.end_ns

    asyncio.run(main())


def test_left_in_another_context_than_it_was_entered(probe: pp.Probe) -> None:
    import contextvars

    block = probe.measure()
    m = contextvars.copy_context().run(block.__enter__)
    contextvars.copy_context().run(block.__exit__, None, None, None)
    assert m.end_ns > m.start_ns


# ---- Decorators


def test_a_function_keeps_its_name_its_result_and_reports_each_call(probe: pp.Probe) -> None:
    reports: list[pp.Measurement] = []

    @probe.measure(report=reports.append)
    def double(x: int, *, by: int = 2) -> int:
        """Doubles."""
        return x * by

    assert (double(3), double(3, by=3)) == (6, 9)
    assert (double.__name__, double.__doc__) == ("double", "Doubles.")
    assert len(reports) == 2
    assert reports[0].label.endswith("double")
    assert reports[0].end_ns <= reports[1].start_ns


def test_a_method_gets_its_object(probe: pp.Probe) -> None:
    reports: list[pp.Measurement] = []

    class Model:
        name = "model"

        @probe.measure(report=reports.append)
        def train(self) -> str:
            return self.name

        @staticmethod
        @probe.measure(report=reports.append)
        def load() -> str:
            return "loaded"

    assert (Model().train(), Model.load()) == ("model", "loaded")
    assert [m.label.rpartition(".")[2] for m in reports] == ["train", "load"]


def test_an_async_function_is_measured_until_it_returns(probe: pp.Probe) -> None:
    reports: list[pp.Measurement] = []
    times: list[int] = []

    @probe.measure(report=reports.append)
    async def fetch(x: int) -> int:
        times.append(pp.now_ns())
        await asyncio.sleep(0)
        times.append(pp.now_ns())
        return x

    async def main() -> list[int]:
        return await asyncio.gather(fetch(1), fetch(2))

    assert asyncio.run(main()) == [1, 2]
    assert len(reports) == 2
    assert min(m.start_ns for m in reports) <= min(times)
    assert max(times) <= max(m.end_ns for m in reports)


def test_recursion_makes_a_measurement_for_each_call(probe: pp.Probe) -> None:
    reports: list[pp.Measurement] = []

    @probe.measure(report=reports.append)
    def factorial(n: int) -> int:
        return n * factorial(n - 1) if n else 1

    assert factorial(3) == 6
    assert len(reports) == 4
    assert [m.start_ns for m in reports] == sorted((m.start_ns for m in reports), reverse=True)


def test_the_default_report_of_a_function_is_its_table_on_stderr(
    probe: pp.Probe, capsys: pytest.CaptureFixture[str]
) -> None:
    @pp.measure(probe=probe)
    def work() -> None:
        wait_for_a_step(probe)

    work()
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines()[0].endswith("work")
    assert "package-0" in err
    assert "total" in err


def test_a_block_reports_only_to_whom_it_was_told(probe: pp.Probe, capsys: pytest.CaptureFixture[str]) -> None:
    reports: list[pp.Measurement] = []
    with probe.measure():
        pass
    with probe.measure(report=reports.append) as m:
        pass
    assert reports == [m]
    assert capsys.readouterr() == ("", "")


def test_what_raises_passes_and_is_not_reported(probe: pp.Probe) -> None:
    reports: list[pp.Measurement] = []

    @probe.measure(report=reports.append)
    def fails() -> None:
        raise LookupError("of the body")

    @probe.measure(report=reports.append)
    async def fails_async() -> None:
        raise LookupError("of the body")

    with pytest.raises(LookupError, match="of the body"):
        fails()
    with pytest.raises(LookupError, match="of the body"):
        asyncio.run(fails_async())
    with pytest.raises(LookupError, match="of the body"), probe.measure(report=reports.append) as m:
        raise LookupError("of the body")
    assert reports == []
    assert m.total >= 0.0


def test_generators_and_classes_cannot_be_decorated(probe: pp.Probe) -> None:
    def numbers():  # type: ignore[no-untyped-def]
        yield 1

    async def numbers_async():  # type: ignore[no-untyped-def]
        yield 1

    class Model: ...

    for each in (numbers, numbers_async):
        with pytest.raises(TypeError, match="generator"):
            probe.measure()(each)
    for other in (Model, 7):
        with pytest.raises(TypeError, match="functions"):
            probe.measure()(other)  # type: ignore[arg-type]


def test_decorating_starts_nothing(machine: Machine) -> None:
    @pp.measure(report=lambda m: None)
    def work() -> None: ...

    assert machine.searches == 0
    work()
    assert machine.searches == 1


# ---- Arguments


def test_probe_goes_with_channels_only(probe: pp.Probe) -> None:
    with pytest.raises(pp.BadArgument, match="sources, strict"):
        pp.measure(probe=probe, strict=True)
    with pytest.raises(pp.BadArgument, match="sources, strict"):
        pp.measure(probe=probe, sources="nvml")
    with pytest.raises(pp.BadArgument, match="gpu-0"):
        probe.measure("gpu-0").begin()
    with probe.measure("dram-*") as m:
        pass
    assert m.channels == ("dram-0",)


def test_wrong_types_are_named(machine: Machine) -> None:
    with pytest.raises(TypeError, match="probe"):
        pp.measure(probe="package-0")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="report"):
        pp.measure(report="stderr")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="channels"):
        pp.measure(channels=[7]).begin()  # type: ignore[list-item]


def test_an_opened_source_is_for_a_probe(machine: Machine) -> None:
    for sources in (pp.replay([steady()]), [pp.replay([steady()])]):
        with pytest.raises(pp.BadArgument, match="Probe"):
            pp.measure(sources=sources).begin()  # type: ignore[arg-type]


def test_a_probe_that_does_not_run_cannot_measure() -> None:
    probe = pp.Probe(sources=pp.replay([steady()]))
    with pytest.raises(pp.Unavailable, match="not running"):
        probe.measure().begin()


# ---- What it says


def test_totals_count_nothing_twice(probe: pp.Probe) -> None:
    with probe.measure() as m:
        wait_for_a_step(probe)
    assert m.total == pytest.approx(m.joules["package-0"] + m.joules["dram-0"])
    assert m.total_lower == pytest.approx(m.lower["package-0"] + m.lower["dram-0"])
    assert m.total_upper == pytest.approx(m.upper["package-0"] + m.upper["dram-0"])
    assert m.total_watts == pytest.approx(m.total / m.seconds)
    with probe.measure(["core-0", "dram-0"]) as inner:
        wait_for_a_step(probe)
    assert inner.total == pytest.approx(inner.joules["core-0"] + inner.joules["dram-0"])


def test_what_is_two_floors_down_is_not_counted_twice_either() -> None:
    source = pp.replay([steady(9, "psys"), steady(3), steady(1, "core-0")])
    with pp.Probe(sources=source) as probe, probe.measure(["psys", "core-0"]) as m:
        wait_for_a_step(probe)
    assert m.total == m.joules["psys"]


@pytest.mark.parametrize(
    ("kinds", "total"),
    [
        (("measured", "measured"), "measured"),
        (("integrated", "integrated"), "integrated"),
        (("measured", "integrated"), "mixed"),
        (("measured", "estimated"), "estimated"),
        (("integrated", "estimated"), "estimated"),
    ],
)
def test_a_total_with_an_estimate_in_it_is_an_estimate(kinds: tuple[str, str], total: str) -> None:
    scripts = [steady(1, f"package-{n}", provenance=kind) for n, kind in enumerate(kinds)]
    with pp.Probe(sources=pp.replay(scripts)) as probe, probe.measure() as m:
        pass
    assert tuple(m.provenance.values()) == kinds
    assert m.total_provenance == total


def test_only_roots_say_what_the_total_is_made_of() -> None:
    scripts = [steady(3), steady(1, "core-0", provenance="estimated")]
    with pp.Probe(sources=pp.replay(scripts)) as probe, probe.measure() as m:
        pass
    assert m.total_provenance == "measured"


def test_an_estimate_is_as_wide_as_its_model() -> None:
    model = steady(5, "package-0", provenance="estimated", low_watts=2.0, high_watts=11.0, source="cpu_model")
    with pp.Probe(sources=pp.replay([model])) as probe, probe.measure() as m:
        wait_for_a_step(probe)
    assert m.lower["package-0"] == pytest.approx(2.0 * m.seconds)
    assert m.upper["package-0"] == pytest.approx(11.0 * m.seconds)
    assert m.source == {"package-0": "cpu_model"}


def test_a_channel_that_is_gone_is_unknown_and_never_zero() -> None:
    start_ns = pp.now_ns() + 200 * MS
    gone = {"channel": "package-0", "begin_ns": 0, "status": "gone"}
    source = pp.replay([steady(3), steady(1, "dram-0")], [gone], start_ns=start_ns)
    with pp.Probe(sources=source) as probe:
        while probe.stats()["channels"]["package-0"]["health"] == "ok":
            wait_for_a_step_of_dram(probe)
        with probe.measure() as m:
            wait_for_a_step_of_dram(probe)
    assert math.isnan(m.joules["package-0"])
    assert math.isnan(m.total)
    assert math.isnan(m.total_upper)
    assert m.joules["dram-0"] > 0.0
    assert m.unknown == {"package-0": "the channel ended before"}
    assert m.to_dict()["total"]["joules"] is None
    assert "unknown" in str(m)
    assert "package-0 is not known: the channel ended before" in str(m)


def wait_for_a_step_of_dram(probe: pp.Probe) -> None:
    probe.energy(pp.now_ns(), pp.now_ns(), "dram-0")


def test_a_probe_closed_inside_the_block_leaves_the_energy_unknown() -> None:
    with pp.Probe(sources=pp.replay([steady()])) as probe, probe.measure() as m:
        probe.close()
    assert math.isnan(m.total)
    assert "not running" in m.unknown["package-0"]
    assert m.losses == {}
    assert math.isnan(m.overhead)
    json.dumps(m.to_dict(), allow_nan=False)


def test_a_counter_that_does_not_step_makes_it_wait_and_then_say_so() -> None:
    start_ns = pp.now_ns() + 200 * MS
    fails = {"begin_ns": 0, "status": "retry"}
    with pp.Probe(sources=pp.replay([steady()], [fails], start_ns=start_ns)) as probe:
        while probe.stats()["channels"]["package-0"]["health"] == "ok":
            pass
        with probe.measure() as m:
            pass
        with contextlib.suppress(pp.SettleTimeout):
            assert m.unknown == {"package-0": "no edge came in time"}
            assert math.isnan(m.total)
        assert m.losses["retries"] >= 0


def test_losses_are_those_of_the_interval() -> None:
    start_ns = pp.now_ns() + 300 * MS
    wraps = counter(Load([(1, 1)]), modulus=10_000, max_watts=2.0, unit_nj=1000)  # at 10 ms, 20 ms, ...
    with pp.Probe(sources=pp.replay([wraps], start_ns=start_ns)) as probe:
        with probe.measure() as before:
            pass
        while pp.now_ns() < start_ns + 35 * MS:
            pass
        wait_for_a_step(probe)
        with probe.measure() as during:
            until = pp.now_ns() + 30 * MS
            while pp.now_ns() < until:
                pass
            wait_for_a_step(probe)
    assert before.losses == {**before.losses, "dropped": 0, "retries": 0, "resets": 0, "wraps": 0}
    assert 2 <= during.losses["wraps"] < probe.stats()["channels"]["package-0"]["wraps"]
    assert during.overhead > 0.0


@pytest.mark.parametrize("max_watts", [0.0, 30.0])
def test_a_reset_inside_leaves_the_upper_bound_to_what_is_possible(max_watts: float) -> None:
    start_ns = pp.now_ns() + 300 * MS
    steps = [(i * MS, i * 1000 if i < 30 else (i - 30) * 1000) for i in range(5_000)]
    source = pp.replay([{**steady(), "steps": steps, "max_watts": max_watts}], start_ns=start_ns)
    with pp.Probe(sources=source) as probe, probe.measure() as m:
        while not probe.stats()["channels"]["package-0"]["resets"]:
            wait_for_a_step(probe)
        wait_for_a_step(probe)
    assert m.losses["resets"] == 1
    assert "reset" in m.flags["package-0"]
    assert not m.resolved
    if max_watts:
        assert m.upper["package-0"] == pytest.approx(max_watts * m.seconds, rel=0.01)
    else:
        assert math.isinf(m.upper["package-0"])
        assert math.isinf(m.repetitions["package-0"])
        assert m.to_dict()["channels"]["package-0"]["upper"] is None
        assert "inf" in str(m)


def test_a_measurement_can_be_asked_before_it_has_ended_and_before_it_has_settled() -> None:
    start_ns = pp.now_ns()
    load = Load([(1, 3)])
    source = pp.replay([counter(load), counter(load, name="dram-0")], start_ns=start_ns)
    with pp.Probe(sources=source) as probe:
        with probe.measure() as m:
            begin = pp.now_ns()
            while pp.now_ns() < begin + 50 * MS:
                before = pp.now_ns()
                known = m.energies(settle=False)
                after = pp.now_ns()
                assert known.joules.shape == (2,)
                assert known.channels == m.channels
                assert (known.lower <= load.joules(m.start_ns - start_ns, after - start_ns) + 1e-9).all()
                assert (known.upper >= load.joules(m.start_ns - start_ns, before - start_ns) - 1e-9).all()
            with pytest.raises(pp.OutOfRange):
                m.energies()
        at_once = m.energies(settle=False)
        settled = m.energies()
    assert (at_once.lower <= settled.upper).all()
    assert (settled.lower <= at_once.upper).all()
    assert settled.joules.tolist() == list(m.joules.values())
    assert settled.resolved.all()
    assert m.energies(settle=False).joules.tolist() == settled.joules.tolist()


def test_an_answer_says_whether_it_is_resolved_and_what_would_resolve_it(probe: pp.Probe) -> None:
    begin = pp.now_ns()
    with probe.measure() as short:
        while pp.now_ns() < begin + MS // 5:
            pass
    with probe.measure() as long:
        while pp.now_ns() < begin + 60 * MS:
            pass
    assert long.resolved
    assert long.repetitions["package-0"] == 1.0
    assert not short.resolved
    times = short.repetitions["package-0"]
    width = short.upper["package-0"] - short.lower["package-0"]
    assert times > 10.0
    assert (times - 1) * short.joules["package-0"] < 10.0 * width <= times * short.joules["package-0"] * (1 + 1e-9)
    assert short.flags.keys() == set(probe.channels)
    assert "estimated" not in short.flags["package-0"]


def test_to_dict_goes_through_json(probe: pp.Probe) -> None:
    with probe.measure() as m:
        wait_for_a_step(probe)
    entry = json.loads(json.dumps(m.to_dict(), allow_nan=False))
    keys = {"joules", "lower", "upper", "watts", "provenance", "source"}
    assert entry.keys() == {
        "seconds", "start_ns", "end_ns", "channels", "total", "unknown", "losses", "overhead", "gpus", "refusals",
    }  # fmt: skip
    assert entry["channels"].keys() == {"package-0", "core-0", "dram-0"}
    assert all(channel.keys() == keys for channel in [*entry["channels"].values(), entry["total"]])
    assert entry["channels"]["core-0"]["joules"] == m.joules["core-0"]
    assert entry["total"]["source"] == "replay"


def test_repr_is_one_line_and_never_waits(probe: pp.Probe) -> None:
    with probe.measure() as m:
        pass
    assert "\n" not in repr(m)
    assert m.total >= 0.0
    assert repr(m).startswith("<Measurement of")
    assert "measured" in repr(m)


def test_printed_it_is_an_aligned_table_in_the_order_of_the_tree(probe: pp.Probe) -> None:
    with probe.measure() as m:
        wait_for_a_step(probe)
    header, *rows = str(m).splitlines()[:5]
    assert [row[: len("  core-0  ")].rstrip() for row in rows] == ["package-0", "  core-0", "dram-0", "total"]
    assert header.split()[0] == "channel"
    assert header.split()[2:4] == ["lower", "upper"]
    end_of_joules = header.index("J") + 1
    assert {row[end_of_joules - 1].isdigit() for row in rows} == {True}
    assert {row[end_of_joules] for row in rows} == {" "}


def test_begun_and_forgotten_the_samplers_need_not_go_on(probe: pp.Probe, monkeypatch: pytest.MonkeyPatch) -> None:
    released: list[str] = []
    monkeypatch.setattr(pp.Probe, "_unwatch", lambda self: released.append("once"))
    probe.measure().begin()
    gc.collect()
    assert released == ["once"]
    with probe.measure():
        pass
    gc.collect()
    assert released == ["once", "once"]


def test_who_asks_for_a_channel_does_not_wait_for_a_slower_one() -> None:
    # A source of its own whose counter never steps again: what it counted until the end is not known for as long as anybody waits.
    resting = pp.replay(
        [steady(1, "gpu-0", seconds=1) | {"stale_ns": 2_000_000_000, "update_period_ns": 100 * MS}],
        faults=[{"begin_ns": 300 * MS, "status": "retry", "error": errno.EIO}],
    )
    with pp.Probe(sources=[pp.replay([steady(3)]), resting]) as probe:
        time.sleep(0.35)
        quick, both = probe.measure("package-0").begin(), probe.measure().begin()
        quick.end()
        both.end()
        assert quick.joules.keys() == {"package-0"}
        # Given up only after a second, so still open unless this process was kept waiting for longer than that.
        if pp.now_ns() - both.end_ns < 500 * MS:
            assert "not settled yet" in repr(both)
        assert both.unknown == {"gpu-0": "no edge came in time: reading it fails (Input/output error)"}
        assert both.joules["package-0"] > 0.0
