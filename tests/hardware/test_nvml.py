# SPDX-License-Identifier: MIT
"""The source nvml on this machine's own boards, next to what pynvml and nvidia-smi say. Without a board each test says why.

To see that the tests test, run them against a fake board (a test in tests/python/test_nvml_machine.py does):

    cd tests/python
    python -c "
    import subprocess, sys
    from fake_nvml import GPU, Board, Script, Updates, environment
    board = Board(compute_capability=(8, 9), waves={GPU: [(173_000, 120_000), (311_000, 260_000)]})
    run = [sys.executable, '-m', 'pytest', '-rs', '../hardware/test_nvml.py']
    sys.exit(subprocess.run(run, env=environment(Script(boards=[board]))).returncode)"

Nothing here changes how a board runs. The load is torch's or cupy's, where one of them is there with a GPU.
"""

from __future__ import annotations

import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import powerprobe as pp

SECONDS = 2.0
STEP = 0.2  # seconds: longer than any step of a counter that is known, jitter and all


@pytest.fixture(scope="module")
def nvml() -> Any:
    pynvml = pytest.importorskip("pynvml", reason="the package nvidia-ml-py is not installed")
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        pytest.skip(f"NVML: {error}")
    return pynvml


@pytest.fixture(scope="module")
def found() -> pp.Discovery:
    try:
        return pp.discover("nvml", strict=True)
    except pp.PowerprobeError as error:
        pytest.skip(str(error).replace("\n", "; "))


@pytest.fixture
def probe(found: pp.Discovery) -> Iterator[pp.Probe]:
    """All that the boards have."""
    with pp.Probe(channels="*", discovery=found) as running:
        yield running


def boards(probe: pp.Probe) -> dict[str, pp.ChannelInfo]:
    """The channels that have all of a board, by name."""
    infos = {name: probe.info(name) for name in probe.channels}
    return {name: info for name, info in infos.items() if name == f"gpu-{info.gpu}"}


def with_counter(probe: pp.Probe) -> dict[str, pp.ChannelInfo]:
    counters = {name: info for name, info in boards(probe).items() if info.provenance == "measured"}
    if not counters:
        pytest.skip("no board here has an energy counter; Volta and later ones do")
    return counters


# ---- Who they are


def test_boards_are_those_of_pynvml(nvml: Any, probe: pp.Probe) -> None:
    assert boards(probe)
    assert len(boards(probe)) + len({each.path for each in probe.refusals}) == nvml.nvmlDeviceGetCount()
    for info in boards(probe).values():
        device = nvml.nvmlDeviceGetHandleByUUID(info.uuid)
        assert info.gpu == nvml.nvmlDeviceGetIndex(device)
        assert info.pci == nvml.nvmlDeviceGetPciInfo(device).busId
        assert info.model == nvml.nvmlDeviceGetName(device)


def test_instances_are_those_of_pynvml(nvml: Any, probe: pp.Probe) -> None:
    for info in boards(probe).values():
        device = nvml.nvmlDeviceGetHandleByUUID(info.uuid)
        instances = []
        try:
            most = nvml.nvmlDeviceGetMaxMigDeviceCount(device) if nvml.nvmlDeviceGetMigMode(device)[0] else 0
        except nvml.NVMLError:  # a board without MIG
            most = 0
        for i in range(most):
            try:
                instances.append(nvml.nvmlDeviceGetUUID(nvml.nvmlDeviceGetMigDeviceHandleByIndex(device, i)))
            except nvml.NVMLError:  # numbers in use need not be in a row
                continue
        assert info.instances == instances


# ---- What they use


def test_energy_is_that_of_pynvml(nvml: Any, probe: pp.Probe) -> None:
    counters = with_counter(probe)
    devices = {name: nvml.nvmlDeviceGetHandleByUUID(info.uuid) for name, info in counters.items()}
    time.sleep(2 * STEP)
    ends = []
    for _ in range(2):
        asked_ns = pp.now_ns()
        told = {name: nvml.nvmlDeviceGetTotalEnergyConsumption(device) * 1e-3 for name, device in devices.items()}
        ends.append((asked_ns, told, pp.now_ns()))
        time.sleep(SECONDS)
    (_, before, begin_ns), (end_ns, after, _) = ends
    for name in counters:
        energy = probe.energy(begin_ns, end_ns, name)
        other = after[name] - before[name]
        # Each of its two readings is up to a step old.
        steps = 2 * STEP / (SECONDS - STEP) * other
        assert energy.lower <= energy.joules <= energy.upper
        assert energy.joules == pytest.approx(other, abs=steps + 0.002)
        assert energy.lower - steps <= other <= energy.upper + steps
        assert energy.joules > 0.0


def test_energy_is_that_of_nvidia_smi(probe: pp.Probe) -> None:
    command = shutil.which("nvidia-smi")
    if command is None:
        pytest.skip("there is no nvidia-smi")
    query = [command, "--query-gpu=uuid,power.draw", "--format=csv,noheader,nounits"]
    readings: dict[str, list[float]] = {info.uuid: [] for info in boards(probe).values()}
    time.sleep(1.0)  # power.draw may be the mean of a second
    begin_ns = pp.now_ns()
    while pp.now_ns() - begin_ns < SECONDS * 1e9:
        done = subprocess.run(query, check=False, capture_output=True, text=True, timeout=60)
        if done.returncode != 0 or "N/A" in done.stdout:
            pytest.skip(f"nvidia-smi does not tell the power here: {(done.stdout + done.stderr).strip()}")
        for line in done.stdout.splitlines():
            uuid, watts = (part.strip() for part in line.split(","))
            if uuid in readings:
                readings[uuid].append(float(watts))
        time.sleep(0.1)
    end_ns = pp.now_ns()
    for name, info in boards(probe).items():
        energy = probe.energy(begin_ns, end_ns, name)
        watts = np.array(readings[info.uuid])
        other = watts.mean() * (end_ns - begin_ns) * 1e-9
        spread = (watts.max() - watts.min()) * (end_ns - begin_ns) * 1e-9
        assert energy.joules == pytest.approx(other, rel=0.15, abs=spread + 1.0)


def test_counter_and_power_readings_agree_or_the_answer_says_so(probe: pp.Probe) -> None:
    counters = with_counter(probe)
    pairs = {
        name: next((f"{name}-{kind}" for kind in ("instant", "average") if f"{name}-{kind}" in probe.channels), None)
        for name in counters
    }
    if not any(pairs.values()):
        pytest.skip("no board here has power readings beside its counter")
    time.sleep(1.5)  # a reading may be the mean of a second
    with probe.measure() as m:
        time.sleep(2 * SECONDS)
    for name, readings in pairs.items():
        if readings is None:
            continue
        off = m.joules[name] / m.joules[readings] - 1.0
        explained = m.upper[readings] >= m.lower[name] and m.lower[readings] <= m.upper[name]
        told = m.gpus[name]["mismatch"]
        assert told is None or told == pytest.approx(off, abs=0.05)
        assert abs(off) < 0.05 or explained or told is not None, (name, off)


def test_a_counter_steps_as_often_as_is_known_of_any(probe: pp.Probe) -> None:
    counters = with_counter(probe)
    time.sleep(3.0)
    stats: Any = probe.stats()["channels"]
    for name in counters:
        view = probe.view(name)
        steps = np.diff(view["t_ns"][(view["flags"] & pp.EDGE_FLAGS["late"]) == 0]) * 1e-6
        assert steps.size > 5
        assert 5.0 < np.median(steps) < 200.0
        assert 5e6 < stats[name]["period_ns"] < 200e6
        assert (np.diff(view["joules"]) >= 0.0).all()
        assert stats[name]["resets"] == 0


def test_the_thread_that_reads_does_not_take_more_than_it_may(probe: pp.Probe) -> None:
    boards(probe)
    time.sleep(1.0)
    begin, begin_ns = float(probe.stats()["cpu_seconds"]), pp.now_ns()  # type: ignore[arg-type]
    time.sleep(SECONDS)
    share = (float(probe.stats()["cpu_seconds"]) - begin) / ((pp.now_ns() - begin_ns) * 1e-9)  # type: ignore[arg-type]
    assert share < 0.2 + 0.07 * len(boards(probe))  # the budget is a share for each board


# ---- Under load


def work() -> Callable[[], None] | None:
    """Some milliseconds of work on the first visible board, waited for; None where there is nothing to work with."""
    try:
        import torch

        if torch.cuda.is_available():
            operand = torch.randn(4096, 4096, device="cuda")

            def multiply() -> None:
                for _ in range(4):
                    torch.matmul(operand, operand)
                torch.cuda.synchronize()

            return multiply
    except ImportError:
        pass
    try:
        import cupy

        array = cupy.random.rand(4096, 4096, dtype=cupy.float32)

        def multiply_cupy() -> None:
            for _ in range(4):
                cupy.matmul(array, array)
            cupy.cuda.Device().synchronize()

        return multiply_cupy
    except Exception:  # cupy without a GPU raises what its runtime calls an error
        return None


def test_a_busy_board_takes_more_than_an_idle_one(probe: pp.Probe) -> None:
    load = work()
    if load is None:
        pytest.skip("neither torch nor cupy is here with a GPU")
    load()
    time.sleep(3.0)  # clocks and power come down
    middle_ns = pp.now_ns()
    time.sleep(SECONDS)
    idle = probe.energy(middle_ns, pp.now_ns(), list(boards(probe)))
    over = threading.Event()
    thread = threading.Thread(target=lambda: [load() for _ in iter(over.is_set, True)])
    thread.start()
    try:
        time.sleep(1.0)
        begin_ns = pp.now_ns()
        time.sleep(SECONDS)
        busy = probe.energy(begin_ns, pp.now_ns(), list(boards(probe)))
    finally:
        over.set()
        thread.join()
    assert (busy.joules - idle.joules).max() > 0.2 * idle.joules.max()
    assert (busy.lower > idle.joules).any()
