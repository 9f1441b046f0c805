# SPDX-License-Identifier: MIT
"""A board that hangs over a fake NVML: the others are measured, what is not known says why, and every program ends by itself."""

from __future__ import annotations

import errno
import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from fake_nvml import GPU, Board, Fake, Fault, Hang, Script, library
from nvml_probe import discovery, poll, poll_edges, probe_on, threads, truth

import powerprobe as pp

BOARDS = [Board(waves={GPU: [(30_000, 100_000), (20_000, 350_000)]}) for _ in range(3)]


class Machine:
    """Three boards, of which gpu-1 can be made to hang, for good or until it is let go."""

    def __init__(self) -> None:
        self.fake: Fake = library(Script(boards=BOARDS))

    def hang(self, **more: Any) -> None:
        stuck = replace(BOARDS[1], spans=[Hang(**more)])
        self.fake.play(Script(boards=[BOARDS[0], stuck, BOARDS[2]], start_ns=self.fake.start_ns))

    def let_go(self) -> None:
        self.fake.play(Script(boards=BOARDS, start_ns=self.fake.start_ns))
        self.fake.release()


@pytest.fixture
def machine() -> Iterator[Machine]:
    made = Machine()
    yield made
    made.let_go()
    poll(lambda: "pp-nvml" not in threads(), "a thread that was left behind does not end")


def state(probe: pp.Probe, channel: str, key: str) -> Any:
    return probe.stats()["channels"][channel][key]  # type: ignore[index]


def is_within(machine: Machine, probe: pp.Probe, gpu: int, begin_ns: int, end_ns: int) -> bool:
    energy = probe.energy(begin_ns, end_ns, f"gpu-{gpu}")
    return bool(energy.lower <= truth(machine.fake, BOARDS[gpu], begin_ns, end_ns) <= energy.upper)


def test_the_others_go_on_and_what_hangs_goes_on_when_it_is_let_go(machine: Machine) -> None:
    with probe_on(machine.fake) as probe:
        poll_edges(probe, "gpu-1", 5)
        begin_ns = pp.now_ns()
        machine.hang()
        poll(lambda: state(probe, "gpu-1", "health") == "retrying")
        hanging_ns = pp.now_ns()
        for gpu in (0, 2):
            poll_edges(probe, f"gpu-{gpu}", 5)
            assert state(probe, f"gpu-{gpu}", "health") == "ok"
        machine.let_go()
        poll(lambda: state(probe, "gpu-1", "health") == "ok")
        poll_edges(probe, "gpu-1", 5)

        end_ns = pp.now_ns()
        for gpu in (0, 2):
            assert is_within(machine, probe, gpu, begin_ns, hanging_ns)
        for gpu in range(3):
            assert is_within(machine, probe, gpu, begin_ns, end_ns)
        assert state(probe, "gpu-1", "ended_ns") is None
        assert state(probe, "gpu-1", "resets") == 0
        assert (probe.view("gpu-1")["flags"] & pp.EDGE_FLAGS["after_retry"]).any()


def test_a_hang_of_one_function_is_a_hang_of_its_board(machine: Machine) -> None:
    with probe_on(machine.fake, channels=None) as probe:
        poll_edges(probe, "gpu-1", 2)
        machine.hang(function="nvmlDeviceGetFieldValues")
        poll(lambda: state(probe, "gpu-1", "health") == "retrying")
        poll_edges(probe, "gpu-0", 5)
        machine.let_go()
        poll_edges(probe, "gpu-1", 5)


def test_what_hangs_for_long_has_ended(machine: Machine) -> None:
    with probe_on(machine.fake, channels=None) as probe:
        begin_ns = pp.now_ns()
        poll_edges(probe, "gpu-1", 5)
        before_ns = pp.now_ns()
        probe.energy(begin_ns, before_ns)
        machine.hang()
        poll(lambda: state(probe, "gpu-1", "health") == "gone")
        assert state(probe, "gpu-1", "error") == errno.ETIMEDOUT
        assert is_within(machine, probe, 1, begin_ns, before_ns)
        with pytest.raises(pp.ChannelGone, match="gpu-1 ended"):
            probe.energy(begin_ns, pp.now_ns(), "gpu-1")
        poll_edges(probe, "gpu-2", 5)
        assert is_within(machine, probe, 2, begin_ns, pp.now_ns())


def test_a_measurement_has_the_others_joules_and_says_why_one_is_missing(machine: Machine) -> None:
    with probe_on(machine.fake, channels=None) as probe:
        for gpu in range(3):
            poll_edges(probe, f"gpu-{gpu}", 3)
        with probe.measure() as begun_before:
            machine.hang()
            poll(lambda: state(probe, "gpu-1", "health") == "retrying")
        with probe.measure() as begun_after:
            poll_edges(probe, "gpu-0", 5)
        for m in (begun_before, begun_after):
            assert set(m.unknown) == {"gpu-1"}
            reasons = ("no edge came in time", "the channel ended before")
            assert m.unknown["gpu-1"] in [f"{reason}: reading it hangs (Connection timed out)" for reason in reasons]
            assert math.isnan(m.joules["gpu-1"]) and math.isnan(m.total)
            assert f"gpu-1 is not known: {m.unknown['gpu-1']}" in str(m)
            for gpu in (0, 2):
                true = truth(machine.fake, BOARDS[gpu], m.start_ns, m.end_ns)
                assert m.lower[f"gpu-{gpu}"] <= true <= m.upper[f"gpu-{gpu}"]
        with probe.measure(channels=["gpu-0", "gpu-2"]) as without:
            poll_edges(probe, "gpu-0", 5)
        assert without.unknown == {} and without.total > 0.0


def test_asking_for_what_hangs_ends_with_a_reason(machine: Machine) -> None:
    with probe_on(machine.fake, channels=None) as probe:
        poll_edges(probe, "gpu-1", 3)
        machine.hang()
        begin_ns = int(probe.view("gpu-1", 2)["t_ns"][0])
        with pytest.raises((pp.SettleTimeout, pp.ChannelGone), match="gpu-1"):
            probe.energy(begin_ns, pp.now_ns(), settle=0.5)
        wide = probe.energy(begin_ns, pp.now_ns(), "gpu-1", settle=False)
        assert 0.0 <= wide.lower <= wide.joules <= wide.upper


def test_a_probe_closes_while_a_board_hangs(machine: Machine) -> None:
    probe = probe_on(machine.fake, channels=None).start()
    begin_ns = pp.now_ns()
    poll_edges(probe, "gpu-1", 5)
    until_ns = int(probe.view("gpu-1", 1)["t_ns"][0]) - 30_000_000
    machine.hang()
    calls = machine.fake.calls("nvmlDeviceGetFieldValues", 1)
    poll(lambda: machine.fake.calls("nvmlDeviceGetFieldValues", 1) > calls)
    probe.close()
    probe.close()
    assert repr(probe).endswith("closed>")
    assert is_within(machine, probe, 1, begin_ns, until_ns)
    assert is_within(machine, probe, 0, begin_ns, until_ns)
    assert threads().count("pp-nvml") == 1  # left behind in the call; it ends with it
    with probe_on(machine.fake, channels=["gpu-0", "gpu-2"]) as other:
        poll_edges(other, "gpu-2", 3)


def test_a_board_that_hangs_is_refused_and_the_others_are_opened(machine: Machine) -> None:
    machine.hang()
    found = discovery(machine.fake)
    assert {info.gpu for info in found.channels} == {0, 2}
    assert [(each.source, each.path, each.error) for each in found.refusals] == [("nvml", "GPU 1", errno.ETIMEDOUT)]
    assert "did not answer within 2 s" in found.refusals[0].reason
    assert "nvidia-smi" in found.refusals[0].remedy
    with pp.Probe(discovery=found) as probe:
        poll_edges(probe, "gpu-2", 3)


def test_a_board_that_fails_and_one_that_hangs(machine: Machine) -> None:
    with probe_on(machine.fake, channels=None) as probe:
        poll_edges(probe, "gpu-2", 3)
        bad = [BOARDS[0], replace(BOARDS[1], spans=[Hang()]), replace(BOARDS[2], spans=[Fault(code=15)])]
        machine.fake.play(Script(boards=bad, start_ns=machine.fake.start_ns))
        poll(lambda: state(probe, "gpu-2", "health") == "gone")
        poll(lambda: state(probe, "gpu-1", "health") != "ok")
        poll_edges(probe, "gpu-0", 5)


# ---- Programs end

PROGRAM = """
    import os, sys, threading
    import powerprobe as pp
    from fake_nvml import Board, Hang, Script, environment, library
    from nvml_probe import discovery, poll, poll_edges, probe_on

    boards = [Board(), Board()]
    fake = library(Script(boards=boards))

    def hang():
        stuck = Board(spans=[Hang()])
        fake.play(Script(boards=[boards[0], stuck], start_ns=fake.start_ns))
        poll(lambda: fake.calls("nvmlDeviceGetFieldValues", 1) > 0)  # calls are counted from the script on

"""

ENDS = {
    "after a with block": """
        with probe_on(fake) as probe:
            poll_edges(probe, "gpu-1", 2)
            hang()
    """,
    "inside a with block": """
        with probe_on(fake) as probe:
            poll_edges(probe, "gpu-1", 2)
            hang()
            print("end", flush=True)
            sys.exit(0)
    """,
    "a probe that nobody closes": """
        probe = probe_on(fake).start()
        poll_edges(probe, "gpu-1", 2)
        hang()
    """,
    "a measurement": """
        with probe_on(fake, channels=None) as probe:
            poll_edges(probe, "gpu-1", 2)
            with probe.measure() as m:
                hang()
            assert m.joules["gpu-0"] >= 0.0, m.unknown
            assert set(m.unknown) == {"gpu-1"}, m.unknown
    """,
    "a measurement that nobody ends": """
        probe = probe_on(fake, channels=None).start()
        m = probe.measure().begin()
        hang()
    """,
    "a search": """
        fake.play(Script(boards=[boards[0], Board(spans=[Hang()])]))
        assert len(discovery(fake).refusals) == 1
    """,
    "a thread that waits": """
        probe = probe_on(fake, channels=None).start()
        poll_edges(probe, "gpu-1", 2)
        hang()
        def wait():
            try:
                probe.energy(pp.now_ns(), pp.now_ns(), settle=3600.0)
            except pp.PowerprobeError:
                pass
        threading.Thread(target=wait, daemon=True).start()
    """,
}


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
def test_a_program_ends_by_itself(python: Callable, end: str) -> None:
    done = python(f"{PROGRAM}{_unindented(end)}    print('end', flush=True)")
    assert (done.returncode, done.stdout, done.stderr) == (0, "end\n", "")


def _unindented(text: str) -> str:
    """By four spaces: as far in as PROGRAM."""
    return "\n".join(line.removeprefix("    ") for line in text.splitlines()) + "\n"


def test_the_shared_probe_of_a_program_ends_by_itself(python: Callable) -> None:
    done = python(f"""{PROGRAM}
    from powerprobe import default
    default.discover = lambda *_, **__: discovery(fake)
    with pp.measure() as m:
        hang()
    print(sorted(m.unknown), m.joules["gpu-0"] >= 0.0, flush=True)
    begin = pp.now_ns()
    print('end', flush=True)
    """)
    assert (done.returncode, done.stdout, done.stderr) == (0, "['gpu-1'] True\nend\n", "")
