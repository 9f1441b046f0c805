# SPDX-License-Identifier: MIT
"""Rings and leases are counted: what is let go is freed, what is held stays."""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator

import numpy as np
import pytest
from truth import steady

import powerprobe as pp
from powerprobe import _core


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    gc.collect()
    before = _core.live_rings(), _core.live_leases()
    yield
    gc.collect()
    assert (_core.live_rings(), _core.live_leases()) == before


def open_probe(**more: float) -> pp.Probe:
    return pp.Probe(sources=pp.replay([steady(), steady(name="dram-0")]), **more).start()


def test_a_ring_for_each_channel_lives_as_long_as_its_probe() -> None:
    rings = _core.live_rings()
    probe = open_probe()
    assert _core.live_rings() == rings + 2
    probe.close()
    assert _core.live_rings() == rings + 2  # can still be asked
    del probe
    gc.collect()
    assert _core.live_rings() == rings


def test_a_probe_that_nobody_closed_is_freed() -> None:
    rings = _core.live_rings()
    open_probe()
    gc.collect()
    assert _core.live_rings() == rings


def test_a_view_is_one_lease_and_outlives_its_probe() -> None:
    rings, leases = _core.live_rings(), _core.live_leases()
    probe = open_probe()
    view = probe.view("package-0")
    assert _core.live_leases() == leases + 1
    first = view[0].copy()
    probe.close()
    del probe
    gc.collect()
    assert _core.live_rings() == rings + 1
    assert view[0] == first
    del view
    gc.collect()
    assert (_core.live_rings(), _core.live_leases()) == (rings, leases)


def test_slices_and_columns_keep_the_lease() -> None:
    leases = _core.live_leases()
    with open_probe() as probe:
        column = probe.view("package-0")[::2]["joules"]
        gc.collect()
        assert _core.live_leases() == leases + 1
        copied = column.copy()
        del column
        gc.collect()
        assert _core.live_leases() == leases
        assert copied[0] == 0.0


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_leases_go_back_in_any_order(order: tuple[int, ...]) -> None:
    leases = _core.live_leases()
    with open_probe() as probe:
        views = {n: probe.view("package-0") for n in range(3)}
        for gone, n in enumerate(order, start=1):
            del views[n]
            assert _core.live_leases() == leases + 3 - gone


def test_questions_leave_no_lease() -> None:
    leases = _core.live_leases()
    with open_probe() as probe:
        start = pp.now_ns()
        with probe.region("work"), probe.measure() as measurement:
            pass
        probe.energy(start, pp.now_ns())
        probe.regions()
        assert measurement.total >= 0.0
        assert _core.live_leases() == leases


def test_a_held_view_never_changes_while_the_writer_goes_round() -> None:
    with open_probe(period=1e-4, history=0.01) as probe:
        view = probe.view("package-0")
        before = view.copy()
        while not probe.stats()["channels"]["package-0"]["dropped"]:
            time.sleep(1e-3)
        assert np.array_equal(view, before)
        del view
        newest = probe.view("package-0", 1)["t_ns"][0]
        while probe.view("package-0", 1)["t_ns"][0] == newest:  # and then it goes on
            time.sleep(1e-3)
