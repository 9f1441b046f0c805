# SPDX-License-Identifier: MIT
"""Regions: two time stamps from any thread, and their energies afterwards."""

from __future__ import annotations

import math
import threading

import numpy as np
import pytest
from truth import MS, Load, counter, steady

import powerprobe as pp


def test_regions_have_name_times_items_and_thread(probe: pp.Probe) -> None:
    before = pp.now_ns()
    with probe.region("decode", items=128):
        pass
    with probe.region("encode", 0):
        pass
    after = pp.now_ns()
    regions = probe.regions()
    assert len(regions) == 2
    assert regions.names == ("decode", "encode")
    assert regions.items.tolist() == [128.0, 0.0]
    assert (regions.thread == threading.get_ident()).all()
    assert before <= regions.start_ns[0] <= regions.end_ns[0] <= regions.start_ns[1] <= regions.end_ns[1] <= after


def test_their_energies_hold_the_truth() -> None:
    start_ns = pp.now_ns()
    load = Load([(7 * MS, 3), (2 * MS, 40), (1, 1)])
    with pp.Probe(sources=pp.replay([counter(load)], start_ns=start_ns)) as probe:
        for _ in range(20):
            with probe.region("turn"):
                until = pp.now_ns() + MS
                while pp.now_ns() < until:
                    pass
        regions = probe.regions()
        assert regions.joules.shape == (20, 1)
        times = zip(regions.start_ns.tolist(), regions.end_ns.tolist(), strict=True)
        truth = np.array([load.joules(a - start_ns, b - start_ns) for a, b in times])
        assert (regions.lower[:, 0] <= truth + 1e-9).all()
        assert (truth <= regions.upper[:, 0] + 1e-9).all()
        turn = regions.summary()["turn"]
        assert (turn.count, turn.unknown, turn.items) == (20, 0, 20.0)
        assert turn.total_lower <= truth.sum() + 1e-8
        assert truth.sum() <= turn.total_upper + 1e-8
        assert turn.total_per_item == pytest.approx(turn.total / 20.0)
        assert turn.joules_per_item == {"package-0": pytest.approx(turn.total / 20.0)}
        assert turn.joules == {"package-0": pytest.approx(regions.joules.sum())}


def test_nested_regions_know_their_depth_and_end_inside_out(probe: pp.Probe) -> None:
    with probe.region("step"):
        with probe.region("forward"), probe.region("attention"):
            pass
        with probe.region("backward"):
            pass
    regions = probe.regions()
    assert list(zip(regions.names, regions.depth.tolist(), strict=True)) == [
        ("attention", 2), ("forward", 1), ("backward", 1), ("step", 0),
    ]  # fmt: skip
    assert regions.joules[-1, 0] >= regions.joules[0, 0]


def test_depth_is_right_again_after_a_body_that_raised(probe: pp.Probe) -> None:
    with pytest.raises(LookupError, match="of the body"), probe.region("fails"):
        raise LookupError("of the body")
    with probe.region("next"):
        pass
    assert probe.regions().names == ("fails", "next")
    assert probe.regions().depth.tolist() == [0, 0]


def test_every_thread_has_its_own_depth(probe: pp.Probe) -> None:
    threads, turns = 4, 200
    barrier = threading.Barrier(threads)

    def work(name: str) -> None:
        barrier.wait()
        for _ in range(turns):
            with probe.region(name), probe.region(f"inside {name}"):
                pass

    workers = [threading.Thread(target=work, args=(f"worker {n}",)) for n in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    regions = probe.regions()
    assert len(regions) == threads * turns * 2
    names = np.array(regions.names)
    for n in range(threads):
        own, inside = names == f"worker {n}", names == f"inside worker {n}"
        assert own.sum() == inside.sum() == turns
        assert (regions.depth[own] == 0).all()
        assert (regions.depth[inside] == 1).all()
        assert len(set(regions.thread[own | inside].tolist())) == 1
        # of one thread, the energies of what is inside lie before the end of what is around it
        assert (regions.start_ns[own] <= regions.start_ns[inside]).all()
        assert (regions.end_ns[inside] <= regions.end_ns[own]).all()
    parts = regions.by_thread()
    assert sum(len(part) for part in parts.values()) == len(regions)
    for thread, part in parts.items():
        assert set(part.thread.tolist()) == {thread}
        assert len(part.summary()) == 2  # a worker's own two names
        assert part.joules.shape == (2 * turns, 3)
        here = regions.thread == thread
        assert part.names == tuple(names[here])
        assert np.array_equal(part.joules, regions.joules[here])


def test_later_calls_add_what_has_ended_since(probe: pp.Probe) -> None:
    with probe.region("a"):
        pass
    first = probe.regions()
    with probe.region("b"):
        pass
    second = probe.regions()
    assert (first.names, second.names) == (("a",), ("a", "b"))
    assert np.array_equal(first.joules[0], second.joules[0])
    assert len(probe.regions()) == 2


def test_an_open_region_is_not_there_yet(probe: pp.Probe) -> None:
    with probe.region("open"):
        assert len(probe.regions()) == 0
    assert len(probe.regions()) == 1


def test_regions_can_be_asked_after_close() -> None:
    with pp.Probe(sources=pp.replay([steady()])) as probe, probe.region("last"):
        pass
    assert not np.isnan(probe.regions().joules).any()


def test_what_is_older_than_the_history_is_unknown_and_not_zero() -> None:
    with pp.Probe(sources=pp.replay([steady()]), period=1e-4, history=1e-3) as probe:
        with probe.region("old"):
            pass
        ended = pp.now_ns()
        while int(probe.view("package-0")["t_ns"][0]) <= ended:
            probe.energy(pp.now_ns(), pp.now_ns())
        with probe.region("new"):
            pass
        regions = probe.regions()
        assert np.isnan(regions.joules[0, 0])
        assert np.isnan(regions.lower[0, 0])
        assert regions.joules[1, 0] >= 0.0
        old = regions.summary()["old"]
        assert (old.count, old.unknown) == (1, 1)
        assert math.isnan(old.total)
        assert math.isnan(old.joules["package-0"])
        assert "unknown" in str(regions)


def test_totals_count_nothing_twice(probe: pp.Probe) -> None:
    with probe.region("work"):
        probe.energy(pp.now_ns(), pp.now_ns())
    work = probe.regions().summary()["work"]
    assert work.total == pytest.approx(work.joules["package-0"] + work.joules["dram-0"])


def test_printed_it_is_a_table_by_name(probe: pp.Probe) -> None:
    for _ in range(3):
        with probe.region("decode", items=10):
            probe.energy(pp.now_ns(), pp.now_ns())
    with probe.region("encode"):
        probe.energy(pp.now_ns(), pp.now_ns())
    lines = str(probe.regions()).splitlines()
    assert lines[0].split()[:3] == ["region", "count", "time"]
    assert lines[0].endswith("unknown")
    assert [line.split()[:2] for line in lines[1:]] == [["decode", "3"], ["encode", "1"]]
    assert repr(probe.regions()) == "<Regions: 4 of 2 names>"


def test_no_regions_are_an_empty_table(probe: pp.Probe) -> None:
    regions = probe.regions()
    assert (len(regions), regions.joules.shape, regions.summary(), str(regions)) == (0, (0, 3), {}, "no regions")


def test_region_refuses_what_cannot_be(probe: pp.Probe) -> None:
    with pytest.raises(TypeError, match="name"):
        probe.region(7)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="items"):
        probe.region("work", -1)
    with pytest.raises(TypeError):
        probe.region("work", "many")  # type: ignore[arg-type]
    region = probe.region("once")
    with region, pytest.raises(RuntimeError, match="open"):
        region.__enter__()
