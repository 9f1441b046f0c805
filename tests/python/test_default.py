# SPDX-License-Identifier: MIT
"""The shared probe of a process: with hidden GPUs and without, and when a channel of it has ended and comes back."""

from __future__ import annotations

import time

import pytest
from conftest import Machine
from truth import steady

import powerprobe as pp
from powerprobe import default, discovery

GONE = {"begin_ns": 500_000_000, "end_ns": 1 << 62, "channel": "gpu-0", "status": "gone"}


@pytest.fixture
def server(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A package, a single core and two boards, gpu-1 hidden."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    machine.has(steady(3), steady(1, "core-0-1"), steady(40, "gpu-0"), steady(50, "gpu-1"))
    return machine


def test_hidden_boards_are_measured_when_asked_for(server: Machine) -> None:
    with pp.measure() as shown, pp.measure(all_gpus=True) as all_, pp.measure(channels="gpu-1") as named:
        pass

    assert shown.channels == ("package-0", "gpu-0")
    assert all_.channels == ("package-0", "gpu-0", "gpu-1")
    assert named.channels == ("gpu-1",)
    assert server.searches == 1
    assert all_._probe is named._probe is not shown._probe
    assert shown._probe.channels == ("package-0", "gpu-0")
    assert all_._probe.channels == ("package-0", "gpu-0", "gpu-1")


def test_the_variable_is_read_when_a_measurement_begins(server: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    measuring = pp.measure()
    with measuring as first:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
        with measuring as second:
            pass

    assert first.channels == ("package-0", "gpu-0")
    assert second.channels == ("package-0", "gpu-1")


def test_a_board_can_be_named_where_all_are_hidden(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    machine.has(steady(40, "gpu-0"))
    with pytest.raises(pp.Unavailable, match="CUDA_VISIBLE_DEVICES"):
        pp.measure().begin()
    with pp.measure(channels="gpu-0") as named, pp.measure(all_gpus=True) as all_:
        pass
    assert named.channels == all_.channels == ("gpu-0",)


def test_a_probe_that_was_given_has_chosen_already() -> None:
    with pp.Probe(sources=pp.replay([steady()])) as probe, pytest.raises(pp.BadArgument, match="all_gpus"):
        pp.measure(probe=probe, all_gpus=True)


# ---- A board that is lost


def lose(server: Machine) -> pp.Measurement:
    """A measurement during which gpu-0 ends."""
    server.faults = [GONE]
    lost = pp.measure().begin()
    deadline = time.monotonic() + 30
    while not lost._probe._has_ended(["gpu-0"]):
        assert time.monotonic() < deadline
        lost._probe._native.ask()  # keeps the samplers reading
        time.sleep(0.001)
    server.faults = []
    return lost


def test_what_is_back_is_measured_by_a_new_probe(server: Machine) -> None:
    lost = lose(server)
    server.has(*server.scripts, steady(7, "vram-0"))  # which a newer driver tells
    with pp.measure() as after:
        pass
    lost.end()

    assert server.searches == 2
    assert after._probe is not lost._probe
    assert after.unknown == {}
    assert after.joules["gpu-0"] >= 0.0
    assert set(lost.unknown) == {"gpu-0"}
    assert lost.joules["package-0"] > 0.0
    with pp.measure() as later:
        pass
    assert later._probe is after._probe
    assert "vram-0" in later.channels


def test_who_does_not_ask_for_what_has_ended_keeps_the_probe(server: Machine) -> None:
    lost = lose(server)
    with pp.measure(channels="package-0") as other:
        pass

    assert server.searches == 1
    assert other._probe is lost._probe
    lost.end()


def test_what_is_not_back_stays_unknown_and_is_looked_for_every_ten_seconds(
    server: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]
    monkeypatch.setattr(default, "monotonic", lambda: now[0])
    lost = lose(server)
    everything = server.scripts
    server.has(everything[0])
    searches = []
    for _ in range(3):
        with pp.measure(channels=["package-0", "gpu-0"]) as still:
            pass
        assert still._probe is lost._probe
        assert "gpu-0" in still.channels
        searches.append(server.searches)
    server.has(*everything)
    now[0] += 9.999
    with pp.measure() as too_soon:
        pass
    now[0] += 0.001
    with pp.measure() as back:
        pass

    assert searches == [2, 2, 2]
    assert too_soon._probe is lost._probe
    assert server.searches == 3
    assert back._probe is not lost._probe
    lost.end()


def test_a_search_that_fails_changes_nothing(server: Machine) -> None:
    lost = lose(server)
    server.error = pp.Unavailable("the driver is being reloaded")
    with pp.measure() as still:
        pass

    assert server.searches == 2
    assert still._probe is lost._probe
    lost.end()


def test_discovery_can_be_made_to_search_again(monkeypatch: pytest.MonkeyPatch) -> None:
    searches: list[bool] = []

    def search(names: object, strict: bool, root: object) -> object:
        searches.append(strict)
        return object()

    monkeypatch.setattr(discovery, "_search", search)
    monkeypatch.setattr(discovery, "_found", {})
    first = pp.discover(strict=False)
    assert pp.discover(strict=False) is first
    again = pp.discover(strict=False, again=True)
    assert again is not first
    assert pp.discover(strict=False) is again
    assert searches == [False, False]
