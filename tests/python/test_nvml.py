# SPDX-License-Identifier: MIT
"""The source nvml end to end over a fake library: the real pynvml is told the same, and probes live through what boards do."""

from __future__ import annotations

import errno
import math
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from fake_nvml import (
    AVERAGE,
    GPU,
    GPU_IS_LOST,
    INSTANT,
    MEMORY,
    MODULE,
    Board,
    Energy,
    Fake,
    Fault,
    Script,
    Updates,
    counter_mj,
    library,
)
from nvml_probe import RELATIVE, discovery, poll, poll_edges, probe_on, threads, truth
from truth import MS, steady

import powerprobe as pp

UUIDS = [f"GPU-8932f937-d72c-4106-c12f-20bd9faed9f{i}" for i in range(8)]
STEPS = [(30_000, 100_000), (20_000, 350_000), (41_000, 240_000)]
BUSY = {GPU: STEPS}

Nvml = Any


@pytest.fixture
def nvml(monkeypatch: pytest.MonkeyPatch) -> Callable[[Fake], Nvml]:
    """nvml(fake): the real pynvml, which has the same library as the probe, initialized."""
    pynvml = pytest.importorskip("pynvml")

    def load(fake: Fake) -> Nvml:
        monkeypatch.setattr(pynvml, "nvmlLib", fake.lib)
        monkeypatch.setattr(pynvml, "_nvmlGetFunctionPointer_cache", {})
        pynvml.nvmlInit()
        return pynvml

    return load


def change(fake: Fake, *boards: Board) -> None:
    """The boards become these; time and energy go on."""
    fake.play(Script(boards=boards, start_ns=fake.start_ns))


def health(probe: pp.Probe, channel: str) -> str:
    return str(probe.stats()["channels"][channel]["health"])  # type: ignore[index]


# ---- The same as pynvml


def test_boards_are_named_as_pynvml_names_them(nvml: Callable[[Fake], Nvml]) -> None:
    migs = ["MIG-1b2c3d4e-0000-5000-8000-000000000001", "MIG-1b2c3d4e-0000-5000-8000-000000000002"]
    fake = library(
        Script(
            boards=[
                Board(uuid=UUIDS[2], pci="00000000:C1:00.0", name="NVIDIA A100-SXM4-80GB", migs=migs),
                Board(uuid=UUIDS[0], pci="00000000:01:00.0"),
                Board(uuid=UUIDS[1], pci="00010000:01:00.0", name="NVIDIA L4", mig_max=0),
            ]
        )
    )
    other = nvml(fake)
    infos = {info.gpu: info for info in discovery(fake).channels}

    assert sorted(infos) == list(range(other.nvmlDeviceGetCount()))
    for index, info in infos.items():
        device = other.nvmlDeviceGetHandleByIndex(index)
        assert other.nvmlDeviceGetIndex(other.nvmlDeviceGetHandleByUUID(info.uuid)) == index
        assert info.uuid == other.nvmlDeviceGetUUID(device)
        assert info.pci == other.nvmlDeviceGetPciInfo(device).busId
        assert info.model == other.nvmlDeviceGetName(device)
        assert info.instances == [
            other.nvmlDeviceGetUUID(other.nvmlDeviceGetMigDeviceHandleByIndex(device, i))
            for i in range(len(migs) if index == 0 else 0)
        ]
        assert info.speed == other.nvmlDeviceGetNumGpuCores(device) * other.nvmlDeviceGetMaxClockInfo(device, 1)
        assert info.max_watts == 2e-3 * other.nvmlDeviceGetPowerManagementLimitConstraints(device)[1]


def test_the_counter_says_what_pynvml_is_told(nvml: Callable[[Fake], Nvml]) -> None:
    board = Board(waves=BUSY, energy=Energy(period_us=20_000, first_mj=123_456_789, jitter_us=700))
    fake = library(Script(boards=[board, Board(waves={GPU: [(1000, 77_000)]})], frozen_ns=0))
    other = nvml(fake)
    devices = [other.nvmlDeviceGetHandleByIndex(i) for i in range(2)]
    with probe_on(fake) as probe:
        begin = [other.nvmlDeviceGetTotalEnergyConsumption(device) for device in devices]
        assert begin[0] == counter_mj(board, 0)
        for t_ms in (170, 190, 1000, 1700):  # what is impossible in the time would be a reset
            fake.freeze(t_ms * MS)
            for index, device in enumerate(devices):
                told = (other.nvmlDeviceGetTotalEnergyConsumption(device) - begin[index]) * 1e-3
                channel = f"gpu-{index}"
                poll(lambda channel=channel, told=told: probe.view(channel, 1)["joules"][0] >= told - 1e-9, channel)
                view = probe.view(channel)
                assert view["joules"][-1] - view["joules"][0] == pytest.approx(told, abs=1e-9)
                by_field = other.nvmlDeviceGetFieldValues(device, [83, 191])
                assert {each.value.ullVal for each in by_field} == {round(told * 1e3) + begin[index]}


def test_readings_are_the_watts_that_pynvml_is_told(nvml: Callable[[Fake], Nvml]) -> None:
    script = Script(
        boards=[
            Board(waves=BUSY),
            Board(waves=BUSY, compute_capability=(7, 0), average=None, power_usage="instant"),
            Board(
                waves={GPU: STEPS, MODULE: [(9000, 800_000), (1000, 650_000)], MEMORY: [(1000, 41_000)]},
                fields=[(INSTANT, GPU), (AVERAGE, GPU), (INSTANT, MODULE), (INSTANT, MEMORY)],
            ),
        ],
        frozen_ns=0,
    )
    fake = library(script)
    other = nvml(fake)
    told = {
        "gpu-0-instant": (0, INSTANT, GPU),
        "gpu-0-average": (0, AVERAGE, GPU),
        "gpu-1-instant": (1, INSTANT, GPU),
        "gpu-2-instant": (2, INSTANT, GPU),
        "gpu-2-average": (2, AVERAGE, GPU),
        "module-2": (2, INSTANT, MODULE),
        "vram-2": (2, INSTANT, MEMORY),
    }
    with probe_on(fake) as probe:
        assert set(told) == {name for name in probe.channels if probe.info(name).provenance == "integrated"}
        for t_ms in (330, 3017):
            fake.freeze(t_ms * MS)
            for channel, (index, field, scope) in told.items():
                device = other.nvmlDeviceGetHandleByIndex(index)
                watts = other.nvmlDeviceGetFieldValues(device, [(field, scope)])[0].value.uiVal * 1e-3
                seen_ns = pp.now_ns() + probe.info(channel).window_ns  # edges lie back, by the window and more
                poll_edges(probe, channel, 4)
                last, latest = probe.view(channel, 2)
                assert latest["t_ns"] < seen_ns + 60 * 10**9
                power = (latest["joules"] - last["joules"]) / (latest["t_ns"] - last["t_ns"]) * 1e9
                assert power == pytest.approx(watts, rel=1e-6), (channel, t_ms)
        usage = [other.nvmlDeviceGetPowerUsage(other.nvmlDeviceGetHandleByIndex(i)) for i in range(3)]
        fields = [(0, AVERAGE), (1, INSTANT), (2, AVERAGE)]
        assert usage == [
            other.nvmlDeviceGetFieldValues(other.nvmlDeviceGetHandleByIndex(i), [field])[0].value.uiVal
            for i, field in fields
        ]


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (3, errno.EOPNOTSUPP),
        (4, errno.EACCES),
        (10, errno.ETIMEDOUT),
        (GPU_IS_LOST, errno.ENODEV),
        (16, errno.ENODEV),
        (17, errno.EIO),
        (999, errno.EIO),
    ],
)
def test_a_board_that_cannot_be_opened_is_refused_alone(nvml: Callable[[Fake], Nvml], code: int, error: int) -> None:
    fake = library(Script(boards=[Board(), Board(spans=[Fault(code=code)]), Board()]))
    other = nvml(fake)
    with pytest.raises(other.NVMLError) as raised:
        other.nvmlDeviceGetHandleByIndex(1)
    found = discovery(fake)

    assert raised.value.value == code
    assert other.nvmlDeviceGetCount() == 3
    assert {info.gpu for info in found.channels} == {0, 2}
    assert [(each.source, each.path, each.error) for each in found.refusals] == [("nvml", "GPU 1", error)]
    assert found.refusals[0].reason
    if code in (17, 999):  # which have no words of their own
        assert f"NVML answers {code} ({raised.value})" in found.refusals[0].reason


def test_a_total_over_an_interval_lies_beside_that_of_pynvml(nvml: Callable[[Fake], Nvml]) -> None:
    board = Board(waves=BUSY, compute_capability=(8, 9))  # whose sensor looks all the time
    fake = library(Script(boards=[board]))
    other = nvml(fake)
    device = other.nvmlDeviceGetHandleByIndex(0)
    with probe_on(fake) as probe:
        poll_edges(probe, "gpu-0", 20)
        begin_mj, begin_ns = other.nvmlDeviceGetTotalEnergyConsumption(device), pp.now_ns()
        poll_edges(probe, "gpu-0", 20)
        end_mj, end_ns = other.nvmlDeviceGetTotalEnergyConsumption(device), pp.now_ns()
        energy = probe.energy(begin_ns, end_ns, "gpu-0")
    true = truth(fake, board, begin_ns, end_ns)
    assert energy.lower <= true <= energy.upper
    assert abs(energy.joules - true) <= abs((end_mj - begin_mj) * 1e-3 - true) + 350 * 0.02
    assert energy.upper - energy.lower <= 4 * 350 * 0.02 + 0.01 * true  # two steps at each end, at the highest power


# ---- A board without a counter


def test_readings_that_see_everything_come_to_the_truth() -> None:
    board = Board(
        name="NVIDIA RTX A6000",
        compute_capability=(8, 6),
        waves={GPU: [(230_000, 210_000), (310_000, 290_000), (90_000, 260_000)]},
        energy=None,
        instant=Updates(period_us=100_000),
        fields=((INSTANT, GPU), (AVERAGE, GPU)),
    )
    fake = library(Script(boards=[board]))
    with probe_on(fake, channels=None) as probe:
        assert probe.channels == ("gpu-0",)
        info = probe.info("gpu-0")
        assert (info.provenance, info.reading, info.update_period_ns, info.window_ns) == (
            "integrated",
            "instant",
            100 * MS,
            100 * MS,
        )
        begin_ns = pp.now_ns()
        with probe.measure() as m:
            time.sleep(1.6)
        end_ns = pp.now_ns()
        assert m.total_provenance == "integrated"
        starts = np.linspace(begin_ns, end_ns - 1000 * MS, 40).astype(np.int64)
        energy = probe.energy(starts, starts + 1000 * MS, "gpu-0", settle=10.0)
    true = np.array([truth(fake, board, int(s), int(s) + 1000 * MS) for s in starts])
    np.testing.assert_allclose(energy.joules, true, rtol=0.02)
    assert ((energy.lower <= true) & (true <= energy.upper)).all()


# ---- What happens to boards


def test_a_lost_board_ends_and_the_others_go_on() -> None:
    boards = [Board(waves=BUSY) for _ in range(3)]
    fake = library(Script(boards=boards))
    with probe_on(fake) as probe:
        begin_ns = pp.now_ns()
        poll_edges(probe, "gpu-1", 30)
        before_ns = pp.now_ns()
        before = probe.energy(begin_ns, before_ns, "gpu-1")
        lost = [boards[0], replace(boards[1], spans=[Fault(code=GPU_IS_LOST)]), boards[2]]
        change(fake, *lost)
        poll(lambda: health(probe, "gpu-1") == "gone")

        again = probe.energy(begin_ns, before_ns, "gpu-1")
        assert (again.joules, again.lower, again.upper) == (before.joules, before.lower, before.upper)
        assert before.lower <= truth(fake, boards[1], begin_ns, before_ns) <= before.upper
        with pytest.raises(pp.ChannelGone, match="gpu-1 ended"):
            probe.energy(begin_ns, pp.now_ns(), "gpu-1")
        stats: Any = probe.stats()["channels"]
        assert stats["gpu-1"]["error"] == errno.ENODEV
        assert begin_ns < stats["gpu-1"]["ended_ns"] <= pp.now_ns()
        for gpu in (0, 2):
            poll_edges(probe, f"gpu-{gpu}", 5)
            end_ns = pp.now_ns()
            other = probe.energy(before_ns, end_ns, f"gpu-{gpu}")
            assert other.lower <= truth(fake, boards[gpu], before_ns, end_ns) <= other.upper
            assert stats[f"gpu-{gpu}"]["health"] == "ok"
        with probe.measure(channels=["gpu-0", "gpu-1"]) as m:
            time.sleep(0.05)
        assert m.joules["gpu-0"] > 0.0
        assert math.isnan(m.joules["gpu-1"]) and math.isnan(m.total)
        assert m.unknown == {"gpu-1": "the channel ended before: reading it fails (No such device)"}


def test_a_code_that_passes_is_retried() -> None:
    board = Board(waves=BUSY)
    fake = library(Script(boards=[board]))
    with probe_on(fake, channels="gpu-0") as probe:
        poll_edges(probe, "gpu-0", 10)
        begin_ns = pp.now_ns()
        change(fake, replace(board, spans=[Fault(code=999)]))
        poll(lambda: health(probe, "gpu-0") == "retrying")
        assert probe.stats()["channels"]["gpu-0"]["error"] == errno.EIO  # type: ignore[index]
        change(fake, board)
        poll(lambda: health(probe, "gpu-0") == "ok")
        poll_edges(probe, "gpu-0", 5)
        end_ns = pp.now_ns()
        energy = probe.energy(begin_ns, end_ns, "gpu-0")
        flags = probe.view("gpu-0")["flags"]
        retries: Any = probe.stats()["channels"]
    assert retries["gpu-0"]["retries"] > 0
    assert np.count_nonzero(flags & pp.EDGE_FLAGS["after_retry"]) == 1
    assert energy.lower <= truth(fake, board, begin_ns, end_ns) <= energy.upper
    assert not energy.flags & pp.EDGE_FLAGS["reset"]


def test_a_counter_that_was_reset_says_so_and_keeps_its_bounds() -> None:
    board = Board(waves=BUSY, energy=Energy(period_us=20_000, first_mj=5_000_000_000))
    fake = library(Script(boards=[board]))
    with probe_on(fake, channels="gpu-0") as probe:
        poll_edges(probe, "gpu-0", 10)
        begin_ns = pp.now_ns()
        change(fake, replace(board, resets_ms=[(begin_ns - fake.start_ns) // MS + 1]))
        with probe.measure() as m:
            poll(lambda: probe.stats()["channels"]["gpu-0"]["resets"] == 1)  # type: ignore[index]
            poll_edges(probe, "gpu-0", 10)
        end_ns = pp.now_ns()
        energy = probe.energy(begin_ns, end_ns, "gpu-0")
        starts = np.linspace(begin_ns, end_ns - 10 * MS, 200).astype(np.int64)
        parts = probe.energy(starts, starts + 10 * MS, "gpu-0")
    for start_ns, stop_ns, part in [
        (begin_ns, end_ns, energy),
        (m.start_ns, m.end_ns, m.energies()),
    ]:
        true = truth(fake, board, start_ns, stop_ns)
        assert (part.lower <= true).all() and (true <= part.upper).all()
        assert (part.joules < 2 * true).all()  # not five megajoules
    assert energy.flags & pp.EDGE_FLAGS["reset"]
    assert "reset" in m.flags["gpu-0"] and m.losses["resets"] == 1
    true = np.array([truth(fake, board, int(s), int(s) + 10 * MS) for s in starts])
    assert (parts.lower <= true * (1 + RELATIVE)).all() and (true <= parts.upper * (1 + RELATIVE)).all()
    assert (parts.joules >= 0.0).all()
    is_reset = (parts.flags & pp.EDGE_FLAGS["reset"]) != 0
    assert is_reset.any() and not is_reset.all()


def test_a_probe_that_is_closed_right_behind_a_step_still_sees_the_next() -> None:
    """Of a measurement that ends where a slow counter has just stepped, and is read behind the with block."""
    fake = library(Script(boards=[Board(energy=Energy(period_us=100_000))] * 4))
    found = discovery(fake)
    for _ in range(5):
        with pp.Probe(discovery=found) as probe:
            poll_edges(probe, "gpu-3", 3)
            with probe.measure() as m:
                poll_edges(probe, "gpu-3", 1)
        assert m.unknown == {}


# ---- In company


def test_one_measurement_has_boards_and_processors_on_one_clock() -> None:
    board = Board(waves=BUSY, energy=Energy(period_us=100_000))
    fake = library(Script(boards=[board]))
    with pp.Probe(
        channels="*", discovery=discovery(fake), sources=pp.replay([steady(3), steady(1, "core-0")])
    ) as probe:
        poll_edges(probe, "gpu-0", 3)
        with probe.measure() as m:
            time.sleep(0.35)
            early = m.energies(settle=False)
        at_once = m.energies(settle=False)
        settled = m.energies()

        assert set(m.joules) == {"package-0", "core-0", "gpu-0", "gpu-0-instant", "gpu-0-average"}
        assert m.total == m.joules["package-0"] + m.joules["gpu-0"]
        assert m.total_provenance == "measured"
        assert m.joules["package-0"] == pytest.approx(3.0 * m.seconds, rel=0.02)
        true = truth(fake, board, m.start_ns, m.end_ns)
        assert m.lower["gpu-0"] <= true <= m.upper["gpu-0"]
        row = probe.channels.index("gpu-0")
        assert at_once.lower[row] <= true <= at_once.upper[row]
        assert at_once.upper[row] - at_once.lower[row] >= settled.upper[row] - settled.lower[row]
        assert 0.0 <= early.lower[row] <= early.upper[row]
        # The slowest counter that is asked about is waited for, and no other.
        begin_ns, end_ns = m.start_ns, pp.now_ns()
        slow = probe.energy(begin_ns, end_ns, ["package-0", "gpu-0"])
        for channel in ("package-0", "gpu-0"):
            assert probe.view(channel, 1)["t_ns"][0] >= end_ns
        row = slow.channels.index("gpu-0")
        assert slow.lower[row] <= truth(fake, board, begin_ns, end_ns) <= slow.upper[row]


def test_without_settling_bounds_are_as_wide_as_what_is_not_known() -> None:
    board = Board(waves=BUSY, energy=Energy(period_us=100_000))
    fake = library(Script(boards=[board]))
    with probe_on(fake, channels="gpu-0") as probe:
        poll_edges(probe, "gpu-0", 5)
        begin_ns = int(probe.view("gpu-0", 3)["t_ns"][0])
        end_ns = pp.now_ns()
        wide = probe.energy(begin_ns, end_ns, "gpu-0", settle=False)
        with pytest.raises(pp.OutOfRange):
            probe.energy(begin_ns, end_ns + 10**9, "gpu-0", settle=False)
        narrow = probe.energy(begin_ns, end_ns, "gpu-0")
    true = truth(fake, board, begin_ns, end_ns)
    assert wide.lower <= true <= wide.upper
    assert narrow.lower <= true <= narrow.upper
    assert wide.upper >= narrow.upper and wide.lower <= narrow.lower


# ---- Threads


def test_eight_boards_take_one_thread_that_reads_and_one_that_watches() -> None:
    assert not {"pp-nvml", "pp-watch"} & set(threads())
    fake = library(Script(boards=[Board(uuid=uuid, waves=BUSY) for uuid in UUIDS]))
    with probe_on(fake) as probe:
        for gpu in range(8):
            poll_edges(probe, f"gpu-{gpu}", 3)
        names = threads()
        assert (names.count("pp-nvml"), names.count("pp-watch")) == (1, 1)
        assert len(probe.stats()["samplers"]) == 8  # type: ignore[arg-type]
    assert not {"pp-nvml", "pp-watch"} & set(threads())
    for gpu in range(8):
        assert probe.view(f"gpu-{gpu}").size > 3


def test_probes_of_the_same_boards_do_not_disturb_each_other() -> None:
    board = Board(waves=BUSY)
    fake = library(Script(boards=[board]))
    with probe_on(fake) as one:
        with probe_on(fake) as other:
            poll_edges(other, "gpu-0", 5)
            assert threads().count("pp-nvml") == 2
        begin_ns = pp.now_ns()
        poll_edges(one, "gpu-0", 5)
        end_ns = pp.now_ns()
        energy = one.energy(begin_ns, end_ns, "gpu-0")
    assert energy.lower <= truth(fake, board, begin_ns, end_ns) <= energy.upper


# ---- fork


def test_a_child_of_a_fork_goes_on_and_can_measure_anew(python: Callable) -> None:
    done = python("""
        import os, sys, warnings
        warnings.simplefilter("ignore", DeprecationWarning)
        import powerprobe as pp
        from fake_nvml import Board, Script, library
        from nvml_probe import discovery, poll_edges, probe_on, threads

        fake = library(Script(boards=[Board(), Board()]))
        found = discovery(fake)
        with pp.Probe(discovery=found) as probe:
            poll_edges(probe, "gpu-1", 3)
            inits = fake.calls("nvmlInit_v2")
            if (pid := os.fork()) == 0:
                print("threads", [name for name in threads() if name.startswith("pp-")])
                # The boards go on being read by the parent.
                with probe.measure() as m:
                    poll_edges(probe, "gpu-1", 3)
                print(m.joules["gpu-1"] > 0.0, m.unknown, fake.calls("nvmlInit_v2") - inits)
                # What was found by the parent can be opened here, and so can what the child finds itself.
                for anew in (pp.Probe(discovery=found), probe_on(fake)):
                    with anew:
                        with anew.measure() as m:
                            poll_edges(anew, "gpu-1", 3)
                        print(m.joules["gpu-1"] > 0.0, m.unknown)
                print("initialised", fake.calls("nvmlInit_v2") - inits)
                sys.stdout.flush()
                os._exit(0)
            print("child", os.waitpid(pid, 0)[1])
            with probe.measure() as m:
                poll_edges(probe, "gpu-0", 3)
            print(m.total > 0.0, fake.calls("nvmlInit_v2") - inits)
    """)
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        "threads []",
        "True {} 0",
        "True {}",
        "True {}",
        "initialised 1",
        "child 0",
        "True 0",
    ]
