# SPDX-License-Identifier: MIT
"""The probe: which channels, how often, what it answers, and what it says when it cannot."""

from __future__ import annotations

import errno
import math

import numpy as np
import pytest
from truth import MS, Load, counter, steady

import powerprobe as pp

LEAD = 500 * MS  # by which a script starts later, so that the probe is there before it

# ---- What is read


def scripts(*names: str) -> list[dict[str, object]]:
    return [steady(name=name) for name in names]


@pytest.mark.parametrize(
    ("wanted", "chosen"),
    [
        (None, ["package-0", "dram-0"]),
        ("package-0", ["package-0"]),
        ("*", ["package-0", "dram-0", "core-0-0", "core-0-1"]),
        (["dram-0", "package-0"], ["package-0", "dram-0"]),
        (["core-*", "dram-?", "core-0-1"], ["dram-0", "core-0-0", "core-0-1"]),
    ],
)
def test_channels_are_chosen_by_name_and_pattern(wanted: object, chosen: list[str]) -> None:
    source = pp.replay(scripts("package-0", "dram-0", "core-0-0", "core-0-1"))
    assert pp.Probe(wanted, sources=source).channels == tuple(chosen)


def test_single_cores_are_the_default_where_there_is_nothing_else() -> None:
    assert pp.Probe(sources=pp.replay(scripts("core-0-0", "core-0-1"))).channels == ("core-0-0", "core-0-1")


def test_a_channel_that_is_not_there_is_named_with_those_that_are() -> None:
    with pytest.raises(pp.BadArgument, match=r"channels.*'gpu-0'.*package-0, dram-0"):
        pp.Probe("gpu-0", sources=pp.replay(scripts("package-0", "dram-0")))


@pytest.mark.parametrize("channels", [7, [7], [None]])
def test_channels_of_a_wrong_type_are_a_type_error(channels: object) -> None:
    with pytest.raises(TypeError, match="channels|iterable"):
        pp.Probe(channels, sources=pp.replay(scripts("package-0")))


def test_no_channel_at_all_is_an_error() -> None:
    with pytest.raises(pp.BadArgument, match="channels"):
        pp.Probe([], sources=pp.replay(scripts("package-0")))


def test_two_sources_with_one_channel_are_an_error() -> None:
    with pytest.raises(pp.BadArgument, match=r"sources.*'package-0'"):
        pp.Probe(sources=[pp.replay(scripts("package-0")), pp.replay(scripts("package-0"))])


def test_several_sources_make_one_probe() -> None:
    with pp.Probe(sources=[pp.replay(scripts("package-0")), pp.replay(scripts("dram-0"))]) as probe:
        assert probe.channels == ("package-0", "dram-0")
        assert [sampler["channels"] for sampler in probe.stats()["samplers"]] == [["package-0"], ["dram-0"]]


def test_an_opened_source_is_for_one_probe() -> None:
    source = pp.replay(scripts("package-0"))
    pp.Probe(sources=source)
    with pytest.raises(pp.BadArgument, match="source"):
        pp.Probe(sources=source)


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("period", 0.0), ("period", 9e-6), ("period", 1.1), ("period", -1.0), ("period", math.nan),
        ("history", -1.0), ("history", math.nan), ("history", 1e9),
    ],
)  # fmt: skip
def test_a_number_out_of_range_is_named(argument: str, value: float) -> None:
    with pytest.raises(pp.BadArgument, match=argument):
        pp.Probe(sources=pp.replay(scripts("package-0")), **{argument: value})


@pytest.mark.parametrize("argument", ["period", "history", "budget"])
@pytest.mark.parametrize("value", ["1", True, [1.0]])
def test_a_number_of_a_wrong_type_is_named(argument: str, value: object) -> None:
    with pytest.raises(TypeError, match=argument):
        pp.Probe(sources=pp.replay(scripts("package-0")), **{argument: value})


def test_a_source_that_cannot_be_read_is_an_error_at_once() -> None:
    source = pp.replay(scripts("package-0"), [{"status": "fatal", "error": errno.EIO}])
    with pytest.raises(pp.Unavailable, match="package-0|replay") as caught:
        pp.Probe(sources=source)
    assert caught.value.errno == errno.EIO


# ---- Life


def test_it_runs_between_start_and_close_and_both_may_be_repeated() -> None:
    probe = pp.Probe(sources=pp.replay(scripts("package-0")))
    assert (probe.stats()["running"], repr(probe)) == (False, "<Probe of package-0, not started>")
    assert probe.start() is probe
    probe.start()
    assert (probe.stats()["running"], repr(probe)) == (True, "<Probe of package-0, running>")
    probe.close()
    probe.close()
    assert (probe.stats()["running"], repr(probe)) == (False, "<Probe of package-0, closed>")


def test_a_closed_probe_cannot_be_started_again() -> None:
    probe = pp.Probe(sources=pp.replay(scripts("package-0")))
    probe.close()
    with pytest.raises(pp.Unavailable, match="closed"):
        probe.start()


def test_it_is_closed_when_the_body_raises() -> None:
    probe = pp.Probe(sources=pp.replay(scripts("package-0")))
    with pytest.raises(LookupError, match="of the body"), probe:
        raise LookupError("of the body")
    assert probe.stats()["running"] is False


def test_all_that_was_before_close_can_be_asked_after_it() -> None:
    with pp.Probe(sources=pp.replay([steady(3)])) as probe:
        start = pp.now_ns()
        end = pp.now_ns()
    energies = probe.energy(start, end)
    assert 0.0 <= energies.lower[0] <= 3e-9 * (end - start) <= energies.upper[0]
    assert probe.view("package-0").size > 1
    with pytest.raises(pp.OutOfRange):
        probe.energy(start, pp.now_ns())


# ---- Views


def test_a_view_is_read_only_and_not_a_copy(probe: pp.Probe) -> None:
    view = probe.view("package-0")
    assert view.dtype == pp.EDGE_DTYPE
    assert not view.flags.owndata
    with pytest.raises(ValueError, match="read-only"):
        view["joules"][0] = 1.0
    with pytest.raises(ValueError, match="WRITEABLE"):
        view.flags.writeable = True
    again = probe.view("package-0")
    assert np.shares_memory(view, again)


def test_a_view_has_the_newest_edges_oldest_first(probe: pp.Probe) -> None:
    while probe.view("package-0").size < 10:
        probe.energy(pp.now_ns(), pp.now_ns())
    everything, three = probe.view("package-0"), probe.view("package-0", 3)
    assert three.size == 3
    assert (np.diff(everything["t_ns"]) > 0).all()
    assert (np.diff(everything["joules"]) >= 0.0).all()
    assert three["t_ns"][0] > everything["t_ns"][0]
    assert probe.view("package-0", 0).size == 0


def test_the_first_edge_is_where_the_total_starts(probe: pp.Probe) -> None:
    first = probe.view("package-0")[0]
    assert first["flags"] == pp.EDGE_FLAGS["first"]
    assert first["joules"] == 0.0


def test_view_refuses_what_cannot_be(probe: pp.Probe) -> None:
    with pytest.raises(pp.BadArgument, match="gpu-0"):
        probe.view("gpu-0")
    with pytest.raises(pp.BadArgument, match="count"):
        probe.view("package-0", -1)
    with pytest.raises(TypeError):
        probe.view("package-0", 1.5)  # type: ignore[arg-type]


def test_info_describes_the_channel(probe: pp.Probe) -> None:
    info = probe.info("core-0")
    assert (info.name, info.source, info.domain, info.package, info.parent) == (
        "core-0",
        "replay",
        "core",
        0,
        "package-0",
    )
    assert info.provenance == "measured"
    with pytest.raises(pp.BadArgument, match="gpu-0"):
        probe.info("gpu-0")


# ---- Energy


def test_energy_of_every_channel_lies_within_its_bounds() -> None:
    start_ns = pp.now_ns()
    watts = {"package-0": 3, "core-0": 1, "dram-0": 2}
    loads = {name: Load([(5 * MS, w), (3 * MS, 20 * w), (4 * MS, 0), (1, 5 * w)]) for name, w in watts.items()}
    updates = range(0, 10_000 * MS, MS)
    source = pp.replay([counter(load, updates, name=name) for name, load in loads.items()], start_ns=start_ns)
    with pp.Probe(sources=source) as probe:
        first = pp.now_ns()
        starts = np.arange(first, first + 20 * MS, MS // 3)
        ends = starts + np.arange(starts.size) * 10_000
        while pp.now_ns() < ends.max():
            pass
        energies = probe.energy(starts, ends)
        assert energies.channels == ("package-0", "core-0", "dram-0")
        assert energies.joules.shape == energies.lower.shape == energies.upper.shape == (starts.size, 3)
        for column, name in enumerate(energies.channels):
            truth = [
                loads[name].joules(a - start_ns, b - start_ns)
                for a, b in zip(starts.tolist(), ends.tolist(), strict=True)
            ]
            assert (energies.lower[:, column] <= np.array(truth) + 1e-9).all()
            assert (np.array(truth) <= energies.upper[:, column] + 1e-9).all()
        assert (energies.lower <= energies.joules).all()
        assert (energies.joules <= energies.upper).all()


def test_shapes_follow_the_question(probe: pp.Probe) -> None:
    a, b = pp.now_ns(), pp.now_ns()
    assert probe.energy(a, b).joules.shape == (3,)
    assert probe.energy([a], [b]).joules.shape == (1, 3)
    assert probe.energy([a, a], b).joules.shape == (2, 3)
    assert probe.energy([a, a], [b, b], "dram-0").joules.shape == (2,)
    assert probe.energy([a, a], [b, b], ["dram-0"]).joules.shape == (2, 1)
    assert probe.energy([a, a], [b, b], "dram-0").channels == ("dram-0",)
    assert probe.energy([a], [b], ["core-*", "package-0"]).channels == ("package-0", "core-0")
    assert np.ndim(probe.energy(a, b, "dram-0").joules) == 0
    assert probe.energy([], []).joules.shape == (0, 3)
    assert probe.energy(np.array([a], np.uint64), np.array([b], np.uint64)).joules.shape == (1, 3)


def test_one_channel_answers_as_it_does_among_others(probe: pp.Probe) -> None:
    start = pp.now_ns()
    end = pp.now_ns()
    alone, together = probe.energy(start, end, "core-0"), probe.energy(start, end)
    assert alone.joules == together.joules[1]
    assert alone.lower == together.lower[1]
    assert alone.upper == together.upper[1]


@pytest.mark.parametrize("starts", [1.5, [1.5], ["now"], [None], [True], np.array([1], "M8[ns]")])
def test_instants_that_are_not_integers_are_a_type_error(probe: pp.Probe, starts: object) -> None:
    with pytest.raises(TypeError, match="starts_ns"):
        probe.energy(starts, pp.now_ns())
    with pytest.raises(TypeError, match="ends_ns"):
        probe.energy(pp.now_ns(), starts)


def test_instants_of_a_wrong_shape_are_named(probe: pp.Probe) -> None:
    now = pp.now_ns()
    with pytest.raises(pp.BadArgument, match="starts_ns"):
        probe.energy([[now]], [now])
    with pytest.raises(pp.BadArgument, match="one length, not 2 and 3"):
        probe.energy([now, now], [now, now, now])


def test_an_interval_that_ends_before_it_starts_is_named(probe: pp.Probe) -> None:
    now = pp.now_ns()
    with pytest.raises(pp.BadArgument, match="interval 1 ends before"):
        probe.energy([now, now], [now, now - 1])


def test_a_wait_that_is_no_time_is_named(probe: pp.Probe) -> None:
    with pytest.raises(pp.BadArgument, match="settle"):
        probe.energy(pp.now_ns(), pp.now_ns(), settle=-1.0)
    with pytest.raises(TypeError, match="settle"):
        probe.energy(pp.now_ns(), pp.now_ns(), settle="long")  # type: ignore[arg-type]


def test_a_channel_for_energy_is_an_exact_name(probe: pp.Probe) -> None:
    with pytest.raises(pp.BadArgument, match=r"'core-\*'"):
        probe.energy(pp.now_ns(), pp.now_ns(), "core-*")


def test_the_future_is_out_of_range_at_once(probe: pp.Probe) -> None:
    with pytest.raises(pp.OutOfRange, match="future"):
        probe.energy(pp.now_ns(), pp.now_ns() + 3600 * 10**9, settle=1e9)


def test_what_was_before_the_first_reading_is_out_of_range(probe: pp.Probe) -> None:
    first = int(probe.view("package-0")["t_ns"][0])
    with pytest.raises(pp.OutOfRange, match="before the first reading"):
        probe.energy(first - 1, first)


@pytest.mark.parametrize("settle", [0, 0.0, False])
@pytest.mark.parametrize("max_watts", [0.0, 50.0])
def test_without_settling_the_bounds_are_wide_but_right(settle: float, max_watts: float) -> None:
    start_ns = pp.now_ns()
    load = Load([(30 * MS, 3), (1, 40)])
    source = pp.replay([counter(load, range(0, 10_000 * MS, 5 * MS), max_watts=max_watts)], start_ns=start_ns)
    with pp.Probe(sources=source) as probe:
        begin = pp.now_ns()
        answered = 0
        while (now := pp.now_ns()) < begin + 60 * MS:
            energies = probe.energy([begin, now - MS // 10], now, "package-0", settle=settle)
            for energy, start in zip(range(2), (begin, now - MS // 10), strict=True):
                truth = load.joules(start - start_ns, now - start_ns)
                assert energies.lower[energy] <= truth + 1e-9
                assert truth <= energies.upper[energy] + 1e-9
                assert energies.lower[energy] <= energies.joules[energy] <= energies.upper[energy]
            assert max_watts == 0.0 or math.isfinite(energies.upper[0])
            answered += energies.lower[0] > 0.0
        assert answered > 0


def test_a_counter_that_has_never_stepped_can_be_asked_without_settling() -> None:
    slow = counter(Load([(1, 1)]), [0, 3600 * 1000 * MS])  # steps once an hour
    with pp.Probe(sources=pp.replay([slow])) as probe:
        now = pp.now_ns()
        energy = probe.energy(now - 1000, now, "package-0", settle=False)
        assert energy.lower == energy.joules == 0.0
        assert energy.upper > 0.0


def test_a_counter_that_does_not_step_is_not_waited_for_for_ever() -> None:
    slow = counter(Load([(1, 1)]), [0, 3600 * 1000 * MS])
    with pp.Probe(sources=pp.replay([slow])) as probe:
        now = pp.now_ns()
        with pytest.raises(pp.SettleTimeout, match="package-0"):
            probe.energy(now, now, settle=0.01)


def test_one_channel_is_not_kept_waiting_by_another() -> None:
    slow = counter(Load([(1, 1)]), [0, 3600 * 1000 * MS], name="dram-0")
    with pp.Probe(sources=[pp.replay([slow]), pp.replay([steady()])]) as probe:
        now = pp.now_ns()
        assert probe.energy(now, now, "package-0").joules == 0.0


def test_what_the_ring_has_overwritten_is_an_overrun() -> None:
    with pp.Probe(sources=pp.replay([steady()]), period=1e-4, history=1e-3) as probe:
        first = int(probe.view("package-0")["t_ns"][0])
        while int(probe.view("package-0")["t_ns"][0]) == first:
            probe.energy(pp.now_ns(), pp.now_ns())
        with pytest.raises(pp.Overrun, match="package-0") as caught:
            probe.energy(first, first)
        assert "history" in caught.value.remedy


@pytest.mark.parametrize("status", ["gone", "fatal"])
def test_a_channel_that_ends_answers_up_to_its_end(status: str) -> None:
    ends = {"begin_ns": 1000 * MS, "status": status, "error": errno.ENODEV, "channel": "package-0"}
    start_ns = pp.now_ns() + LEAD
    with pp.Probe(sources=pp.replay([steady(3), steady(2, "dram-0")], [ends], start_ns=start_ns)) as probe:
        start = pp.now_ns()
        while probe.stats()["channels"]["package-0"]["health"] == "ok":
            probe.energy(pp.now_ns(), pp.now_ns(), "dram-0")
        last = probe.view("package-0", 1)[0]
        now = pp.now_ns()
        assert probe.energy(start, int(last["t_ns"]) - int(last["gap_ns"]), "package-0").joules > 0.0
        with pytest.raises(pp.ChannelGone, match="package-0"):
            probe.energy(start, now, "package-0")
        assert probe.energy(start, now, "dram-0").joules > 0.0
        stats = probe.stats()["channels"]["package-0"]
        assert (stats["health"], stats["error"]) == (status, errno.ENODEV)
        assert stats["ended_ns"] <= now


def test_readings_that_fail_for_a_while_cost_no_energy() -> None:
    start_ns = pp.now_ns() + LEAD
    fails = {"begin_ns": 10 * MS, "end_ns": 40 * MS, "status": "retry", "error": errno.EAGAIN}
    load = Load([(1, 3)])
    with pp.Probe(sources=pp.replay([counter(load)], [fails], start_ns=start_ns)) as probe:
        while pp.now_ns() < start_ns:
            pass
        start = pp.now_ns()
        while pp.now_ns() < start_ns + 60 * MS:
            pass
        end = pp.now_ns()
        energies = probe.energy(start, end, "package-0")
        truth = load.joules(start - start_ns, end - start_ns)
        assert energies.lower <= truth <= energies.upper
        stats = probe.stats()["channels"]["package-0"]
        assert stats["retries"] > 0
        assert stats["health"] == "ok"
        flags = probe.view("package-0")["flags"] & pp.EDGE_FLAGS["after_retry"]
        assert np.count_nonzero(flags) == 1


@pytest.mark.parametrize("max_watts", [0.0, 3.0])
def test_a_counter_that_falls_starts_a_new_segment_that_only_a_known_limit_bounds(max_watts: float) -> None:
    start_ns = pp.now_ns() + LEAD
    steps = [(i * MS, i * 1000 if i < 30 else (i - 30) * 1000) for i in range(10_000)]
    falls = {**steady(), "steps": steps, "max_watts": max_watts}
    with pp.Probe(sources=pp.replay([falls], start_ns=start_ns)) as probe:
        start = pp.now_ns()
        while not probe.stats()["channels"]["package-0"]["resets"]:
            probe.energy(pp.now_ns(), pp.now_ns())
        now = pp.now_ns()
        energies = probe.energy([start, now], [now, now], "package-0")
        most = max_watts * (now - start) * 1e-9 if max_watts else math.inf
        assert energies.upper[0] == pytest.approx(most)
        assert energies.flags[0] & pp.EDGE_FLAGS["reset"]
        assert not energies.resolved[0]
        assert math.isinf(energies.repetitions[0]) == (max_watts == 0.0)
        assert 0.0 < energies.joules[0] <= 0.2
        assert probe.view("package-0")["segment"][-1] == 1


def test_stats_add_up(probe: pp.Probe) -> None:
    probe.energy(pp.now_ns(), pp.now_ns())
    probe.close()
    stats = probe.stats()
    assert stats["channels"].keys() == set(probe.channels)
    assert stats["channels"]["package-0"]["edges"] == probe.view("package-0").size
    (sampler,) = stats["samplers"]
    assert sampler["polls"] == sum(sampler["read_ns"]) > 1
    assert stats["cpu_seconds"] == sampler["cpu_seconds"] > 0.0
