# SPDX-License-Identifier: MIT
"""The fake NVML, asked by the real pynvml: it answers what its script says, and its energies are the true ones."""

from __future__ import annotations

import ctypes
import itertools
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pynvml
import pytest
from fake_nvml import (
    AVERAGE,
    ENERGY,
    GPU,
    GPU_IS_LOST,
    INSTANT,
    MEMORY,
    MODULE,
    TOTAL_ENERGY,
    Board,
    Buffer,
    Energy,
    Fake,
    Fault,
    Hang,
    Process,
    Script,
    Throttle,
    Updates,
    Variant,
    counter_mj,
    environment,
    library,
    mean_mw,
    reading_mw,
    true_joules,
    true_picojoules,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from truth import Load

MS = 1_000_000
S = 1000 * MS
TWO_LEVELS = [(30_000, 100_000), (20_000, 350_001)]  # a mean of 200.0004 W, 50 ms

Loaded = Callable[..., Fake]


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> Loaded:
    """load(script, variant): a fake of the test's own, which pynvml uses and has initialized, unless init fails."""

    def load(script: Script | str, variant: Variant = "", init: bool = True) -> Fake:
        fake = library(script, variant)
        monkeypatch.setattr(pynvml, "nvmlLib", fake.lib)
        monkeypatch.setattr(pynvml, "_nvmlGetFunctionPointer_cache", {})
        if init:
            pynvml.nvmlInit()
        return fake

    return load


def first() -> Any:
    return pynvml.nvmlDeviceGetHandleByIndex(0)


def code_of(call: Callable[..., object], *arguments: object) -> int:
    """The code that NVML answers, 0 for success."""
    try:
        call(*arguments)
    except pynvml.NVMLError as error:
        return int(error.value)
    return 0


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


# What a board is


def test_a_board_is_what_its_script_says(loaded: Loaded) -> None:
    board = Board(
        name="NVIDIA A100-SXM4-40GB",
        uuid="GPU-6a2d1ee0-0b4d-4dd1-8b6f-2c3a0f0c1d2e",
        pci="00000001:3B:1F.0",
        arch=7,
        compute_capability=(8, 0),
        cores=6912,
        clock_mhz=(1095, 1410),
        memory_clock_mhz=(1100, 1215),
        limits_mw=(100_000, 410_000, 400_000, 300_000, 250_000),
        persistence=0,
        temperature_c=61,
        utilization=(97, 41),
    )
    loaded(Script(boards=[Board(), board], driver="470.82.01"))
    device = pynvml.nvmlDeviceGetHandleByUUID(board.uuid)

    assert pynvml.nvmlDeviceGetCount() == 2
    assert pynvml.nvmlSystemGetDriverVersion() == "470.82.01"
    assert pynvml.nvmlSystemGetNVMLVersion() == "12.470.82.01"
    assert pynvml.nvmlDeviceGetIndex(device) == 1
    assert pynvml.nvmlDeviceGetName(device) == board.name
    assert pynvml.nvmlDeviceGetUUID(device) == board.uuid
    assert pynvml.nvmlDeviceGetArchitecture(device) == 7
    assert pynvml.nvmlDeviceGetCudaComputeCapability(device) == (8, 0)
    assert pynvml.nvmlDeviceGetNumGpuCores(device) == 6912
    assert pynvml.nvmlDeviceGetClockInfo(device, pynvml.NVML_CLOCK_SM) == 1095
    assert pynvml.nvmlDeviceGetMaxClockInfo(device, pynvml.NVML_CLOCK_SM) == 1410
    assert pynvml.nvmlDeviceGetClockInfo(device, pynvml.NVML_CLOCK_MEM) == 1100
    assert pynvml.nvmlDeviceGetMaxClockInfo(device, pynvml.NVML_CLOCK_MEM) == 1215
    assert pynvml.nvmlDeviceGetPowerManagementLimitConstraints(device) == [100_000, 410_000]
    assert pynvml.nvmlDeviceGetPowerManagementDefaultLimit(device) == 400_000
    assert pynvml.nvmlDeviceGetPowerManagementLimit(device) == 300_000
    assert pynvml.nvmlDeviceGetEnforcedPowerLimit(device) == 250_000
    assert pynvml.nvmlDeviceGetPersistenceMode(device) == 0
    assert pynvml.nvmlDeviceGetTemperature(device, pynvml.NVML_TEMPERATURE_GPU) == 61
    rates = pynvml.nvmlDeviceGetUtilizationRates(device)
    assert (rates.gpu, rates.memory) == (97, 41)
    pci = pynvml.nvmlDeviceGetPciInfo(device)
    assert (pci.domain, pci.bus, pci.device, pci.busId, pci.busIdLegacy) == (
        1,
        0x3B,
        0x1F,
        "00000001:3B:1F.0",
        "0001:3B:1F.0",
    )
    assert pynvml.nvmlDeviceGetIndex(pynvml.nvmlDeviceGetHandleByPciBusId("0001:3b:1f.0")) == 1


def test_boards_without_a_name_of_their_own_can_be_told_apart(loaded: Loaded) -> None:
    loaded(Script(boards=[Board() for _ in range(16)]))

    devices = [pynvml.nvmlDeviceGetHandleByIndex(i) for i in range(16)]
    assert len({pynvml.nvmlDeviceGetUUID(device) for device in devices}) == 16
    assert len({pynvml.nvmlDeviceGetPciInfo(device).busId for device in devices}) == 16
    assert [pynvml.nvmlDeviceGetIndex(device) for device in devices] == list(range(16))


def test_what_there_is_not(loaded: Loaded) -> None:
    loaded(Script())

    assert code_of(pynvml.nvmlDeviceGetHandleByIndex, 1) == pynvml.NVML_ERROR_INVALID_ARGUMENT
    assert code_of(pynvml.nvmlDeviceGetHandleByUUID, "GPU-1") == pynvml.NVML_ERROR_NOT_FOUND
    assert code_of(pynvml.nvmlDeviceGetHandleByPciBusId, "0000:99:00.0") == pynvml.NVML_ERROR_NOT_FOUND
    assert code_of(pynvml.nvmlDeviceGetName, ctypes.c_void_p(12345)) == pynvml.NVML_ERROR_INVALID_ARGUMENT
    assert code_of(pynvml.nvmlDeviceGetName, None) == pynvml.NVML_ERROR_INVALID_ARGUMENT


def test_a_text_must_fit_with_its_end(loaded: Loaded) -> None:
    fake = loaded(Script(boards=[Board(name="12345")]))

    room = ctypes.create_string_buffer(6)
    assert fake.lib.nvmlDeviceGetName(first(), room, 5) == pynvml.NVML_ERROR_INSUFFICIENT_SIZE
    assert fake.lib.nvmlDeviceGetName(first(), room, 6) == 0 and room.value == b"12345"


def test_instances(loaded: Loaded) -> None:
    migs = ["MIG-11111111-aaaa", "MIG-22222222-bbbb"]
    loaded(Script(boards=[Board(uuid="GPU-1", migs=migs), Board(), Board(mig_max=0)]))
    split, whole, old = (pynvml.nvmlDeviceGetHandleByIndex(i) for i in range(3))

    assert pynvml.nvmlDeviceGetMigMode(split) == [1, 1]
    assert pynvml.nvmlDeviceGetMigMode(whole) == [0, 0]
    assert code_of(pynvml.nvmlDeviceGetMigMode, old) == pynvml.NVML_ERROR_NOT_SUPPORTED
    assert [pynvml.nvmlDeviceGetMaxMigDeviceCount(device) for device in (split, whole, old)] == [7, 7, 0]
    instances = [pynvml.nvmlDeviceGetMigDeviceHandleByIndex(split, i) for i in range(2)]
    assert [pynvml.nvmlDeviceGetUUID(instance) for instance in instances] == migs
    assert [pynvml.nvmlDeviceIsMigDeviceHandle(device).value for device in (split, *instances)] == [0, 1, 1]
    assert code_of(pynvml.nvmlDeviceGetMigDeviceHandleByIndex, split, 2) == pynvml.NVML_ERROR_NOT_FOUND
    assert code_of(pynvml.nvmlDeviceGetMigDeviceHandleByIndex, split, 7) == pynvml.NVML_ERROR_INVALID_ARGUMENT
    parent = pynvml.nvmlDeviceGetDeviceHandleFromMigDeviceHandle(instances[1])
    assert pynvml.nvmlDeviceGetUUID(parent) == "GPU-1"
    assert pynvml.nvmlDeviceGetUUID(pynvml.nvmlDeviceGetHandleByUUID(migs[1])) == migs[1]
    assert code_of(pynvml.nvmlDeviceGetTotalEnergyConsumption, instances[0]) == pynvml.NVML_ERROR_NOT_SUPPORTED
    assert code_of(pynvml.nvmlDeviceGetPowerUsage, instances[0]) == pynvml.NVML_ERROR_NOT_SUPPORTED


def test_processes(loaded: Loaded) -> None:
    loaded(
        Script(
            boards=[
                Board(processes=[Process(pid=7, memory_bytes=1 << 33), Process(pid=8, memory_bytes=5, kind="graphics")])
            ]
        )
    )

    (compute,) = pynvml.nvmlDeviceGetComputeRunningProcesses(first())
    (graphics,) = pynvml.nvmlDeviceGetGraphicsRunningProcesses(first())
    assert (compute.pid, compute.usedGpuMemory) == (7, 1 << 33)
    assert (graphics.pid, graphics.usedGpuMemory) == (8, 5)


def test_throttling_comes_and_goes_and_adds_up(loaded: Loaded) -> None:
    spans = [Throttle(from_ms=100, to_ms=200, mask=4, policy=0), Throttle(from_ms=150, to_ms=300, mask=8, policy=1)]
    fake = loaded(Script(boards=[Board(spans=spans)]))

    def at(t_ms: int) -> tuple[int, int, int]:
        fake.freeze(t_ms * MS)
        reasons = pynvml.nvmlDeviceGetCurrentClocksEventReasons(first())
        assert pynvml.nvmlDeviceGetCurrentClocksThrottleReasons(first()) == reasons
        status = [pynvml.nvmlDeviceGetViolationStatus(first(), policy) for policy in (0, 1)]
        assert status[0].referenceTime == fake.wall_us(t_ms * MS)
        return reasons, status[0].violationTime, status[1].violationTime

    assert at(99) == (0, 0, 0)
    assert at(160) == (4 | 8, 60 * MS, 10 * MS)
    assert at(200) == (8, 100 * MS, 50 * MS)
    assert at(500) == (0, 100 * MS, 150 * MS)


# Power and energy


def test_every_scope_has_its_own_power_and_energy(loaded: Loaded) -> None:
    waves = {GPU: TWO_LEVELS, MODULE: [(1, 500_000)], MEMORY: [(7, 20_000), (3, 90_000)]}
    board = Board(
        waves=waves,
        energy=Energy(period_us=20_000, phase_us=3_000, jitter_us=900, seed=5, first_mj=77),
        instant=Updates(period_us=100_000, window_us=25_000, jitter_us=11, seed=6),
        average=Updates(period_us=100_000, window_us=1_000_000, phase_us=41_000),
        fields=[(number, scope) for number in (ENERGY, AVERAGE, INSTANT) for scope in waves],
    )
    assert board.instant is not None and board.average is not None
    fake = loaded(Script(boards=[board]))

    for t_ns in (0, 1, 2_345_678_901, 3600 * S + 17):
        fake.freeze(t_ns)
        values = iter(pynvml.nvmlDeviceGetFieldValues(first(), board.fields))
        for scope in waves:
            value = next(values)
            assert (value.nvmlReturn, value.valueType) == (0, pynvml.NVML_VALUE_TYPE_UNSIGNED_LONG_LONG)
            assert value.value.ullVal == counter_mj(board, t_ns, scope)
        for reading, scope in itertools.product((board.average, board.instant), waves):
            value = next(values)
            assert (value.nvmlReturn, value.valueType) == (0, pynvml.NVML_VALUE_TYPE_UNSIGNED_INT)
            assert value.value.uiVal == reading_mw(board, reading, t_ns, scope)
        assert pynvml.nvmlDeviceGetTotalEnergyConsumption(first()) == counter_mj(board, t_ns)
        assert pynvml.nvmlDeviceGetPowerUsage(first()) == reading_mw(board, board.average, t_ns)


def test_power_usage_is_the_reading_that_the_script_says(loaded: Loaded) -> None:
    readings: dict[str, Any] = {
        "instant": Updates(period_us=10_000, window_us=1_000),
        "average": Updates(period_us=10_000, window_us=50_000),
    }
    boards = [Board(waves={GPU: TWO_LEVELS}, power_usage=kind, **readings) for kind in ("instant", "average", "off")]
    loaded(Script(boards=boards, frozen_ns=1_040 * MS))
    instant, average, off = (pynvml.nvmlDeviceGetHandleByIndex(i) for i in range(3))

    assert pynvml.nvmlDeviceGetPowerUsage(instant) == 350_001
    assert pynvml.nvmlDeviceGetPowerUsage(average) == 200_000  # rounded down
    assert code_of(pynvml.nvmlDeviceGetPowerUsage, off) == pynvml.NVML_ERROR_NOT_SUPPORTED


def test_a_part_time_counter_sees_its_window_only(loaded: Loaded) -> None:
    # Each update comes 40 ms into the waveform's 50 ms: its 5 ms are all of the high level.
    board = Board(
        waves={GPU: TWO_LEVELS}, energy=Energy(period_us=50_000, phase_us=40_000, window_us=5_000, kind="sensor")
    )
    loaded(Script(boards=[board], frozen_ns=1_040 * MS))

    assert (
        pynvml.nvmlDeviceGetTotalEnergyConsumption(first()) == 1040 * 350_001 // 1000 == counter_mj(board, 1_040 * MS)
    )
    assert true_joules(board, 0, 1_040 * MS) == 20 * 10.00002 + 3 + 3.50001


def test_a_reset_takes_the_counter_to_zero(loaded: Loaded) -> None:
    for kind in ("waveform", "sensor"):
        board = Board(energy=Energy(period_us=20_000, first_mj=5_000, kind=kind), resets_ms=[1_010, 2_000])
        fake = loaded(Script(boards=[board]))

        def at(t_ms: int, fake: Fake = fake, board: Board = board) -> int:
            fake.freeze(t_ms * MS)
            assert pynvml.nvmlDeviceGetTotalEnergyConsumption(first()) == counter_mj(board, t_ms * MS)
            return counter_mj(board, t_ms * MS)

        times = (0, 1_009, 1_010, 1_019, 1_020, 1_999, 2_000, 2_020)
        assert [at(t_ms) for t_ms in times] == [5_000, 105_000, 0, 0, 1_000, 97_000, 0, 2_000]
        assert at(1_009) == 105_000  # backwards, too
        assert at(500) == 55_000


def test_a_board_without_a_counter(loaded: Loaded) -> None:
    loaded(Script(boards=[Board(energy=None, instant=None)]))

    assert code_of(pynvml.nvmlDeviceGetTotalEnergyConsumption, first()) == pynvml.NVML_ERROR_NOT_SUPPORTED
    codes = [
        value.nvmlReturn for value in pynvml.nvmlDeviceGetFieldValues(first(), [TOTAL_ENERGY, ENERGY, INSTANT, AVERAGE])
    ]
    assert codes == [pynvml.NVML_ERROR_NOT_SUPPORTED] * 3 + [0]


# Field values and the buffer


def test_a_missing_field_fails_its_entry_or_the_call(loaded: Loaded) -> None:
    old = [(TOTAL_ENERGY, GPU)]
    boards = [
        Board(fields=old, waves={GPU: TWO_LEVELS, MODULE: TWO_LEVELS}),
        Board(fields=old, field_missing=("entry", 2)),
        Board(fields=old, field_missing=("call", 2)),
        Board(fields=[], field_missing=("call", 3)),
    ]
    loaded(Script(boards=boards))

    def ask(index: int, *fields: int | tuple[int, int]) -> list[int]:
        values = pynvml.nvmlDeviceGetFieldValues(pynvml.nvmlDeviceGetHandleByIndex(index), fields)
        return [value.nvmlReturn for value in values]

    assert ask(0, TOTAL_ENERGY, INSTANT, (TOTAL_ENERGY, MODULE), 9999) == [0, 3, 3, 3]
    assert ask(1, INSTANT, TOTAL_ENERGY) == [2, 0]
    assert ask(2, TOTAL_ENERGY) == [0]
    assert code_of(ask, 2, TOTAL_ENERGY, INSTANT) == pynvml.NVML_ERROR_INVALID_ARGUMENT
    assert code_of(ask, 3, TOTAL_ENERGY) == pynvml.NVML_ERROR_NOT_SUPPORTED
    assert code_of(ask, 0) == pynvml.NVML_ERROR_INVALID_ARGUMENT


def test_stamps_tell_the_call_the_update_nothing_or_lies(loaded: Loaded) -> None:
    energy = Energy(period_us=20_000, phase_us=1_000, jitter_us=500, seed=3)
    boards = [Board(energy=energy, stamps=stamps, latency_us=312) for stamps in ("read", "update", "zero", "wrong")]
    fake = loaded(Script(boards=boards))

    offs = []
    for t_ns in range(5 * S, 5 * S + 200 * MS, 7 * MS):
        fake.freeze(t_ns)
        update_us = fake.wall_us(energy.at_ns(energy.last(t_ns)))
        values = [pynvml.nvmlDeviceGetFieldValues(pynvml.nvmlDeviceGetHandleByIndex(i), [ENERGY])[0] for i in range(4)]
        read, update, zero, wrong = (value.timestamp for value in values)
        assert (read, update, zero) == (fake.wall_us(t_ns), update_us, 0)
        assert {value.latencyUsec for value in values} == {312}
        offs.append(wrong - update_us)
    assert all(100_000 <= abs(off) <= 160_000 for off in offs) and len(set(offs)) > 3


def test_stamps_are_on_the_wall_clock(loaded: Loaded) -> None:
    fake = loaded(Script())

    off_ns = fake.wall_us(time.monotonic_ns() - fake.start_ns) * 1000 - time.time_ns()
    assert abs(off_ns) < 10 * S  # whatever the machine does to its clock, it is no other clock


def test_the_buffer_has_what_is_new(loaded: Loaded) -> None:
    buffer = Buffer(period_us=20_000, phase_us=5_000, jitter_us=4_000, window_us=10_000, seed=9, depth=30)
    board = Board(waves={GPU: TWO_LEVELS}, buffer=buffer)
    fake = loaded(Script(boards=[board, Board(), Board(waves={MODULE: TWO_LEVELS}, buffer=buffer)], frozen_ns=10 * S))
    last = buffer.last(10 * S)

    def ask(device: Any, last_seen_us: int, kind: int = pynvml.NVML_TOTAL_POWER_SAMPLES) -> list[tuple[int, int]]:
        type_of_value, values = pynvml.nvmlDeviceGetSamples(device, kind, last_seen_us)
        assert type_of_value == pynvml.NVML_VALUE_TYPE_UNSIGNED_INT
        return [(value.timeStamp, value.sampleValue.uiVal) for value in values]

    updates_ns = [buffer.at_ns(k) for k in range(last - 29, last + 1)]
    expected = [(fake.wall_us(at_ns), mean_mw(board, at_ns, buffer.window_ns)) for at_ns in updates_ns]
    assert len({value for _, value in expected}) > 2
    assert ask(first(), 0) == expected
    assert ask(first(), expected[-3][0]) == expected[-2:]
    assert ask(first(), expected[-3][0] - 1) == expected[-3:]
    assert code_of(ask, first(), expected[-1][0]) == pynvml.NVML_ERROR_NOT_FOUND
    assert code_of(ask, first(), 0, pynvml.NVML_GPU_UTILIZATION_SAMPLES) == pynvml.NVML_ERROR_NOT_SUPPORTED
    assert code_of(ask, first(), 0, pynvml.NVML_MODULE_POWER_SAMPLES) == pynvml.NVML_ERROR_NOT_SUPPORTED
    assert code_of(ask, pynvml.nvmlDeviceGetHandleByIndex(1), 0) == pynvml.NVML_ERROR_NOT_SUPPORTED
    module = pynvml.nvmlDeviceGetHandleByIndex(2)
    assert ask(module, 0, pynvml.NVML_MODULE_POWER_SAMPLES) == expected
    assert code_of(ask, module, 0) == pynvml.NVML_ERROR_NOT_SUPPORTED

    kind, count = ctypes.c_int(), ctypes.c_uint(29)
    room = (pynvml.c_nvmlSample_t * 29)()
    code = fake.lib.nvmlDeviceGetSamples(
        first(), 0, ctypes.c_ulonglong(0), ctypes.byref(kind), ctypes.byref(count), room
    )
    assert (code, count.value, room[0].timeStamp) == (pynvml.NVML_ERROR_INSUFFICIENT_SIZE, 30, 0)


def test_the_stamps_of_the_buffer_can_be_wrong(loaded: Loaded) -> None:
    buffers = [Buffer(period_us=20_000, depth=30, stamps=stamps) for stamps in ("wrong", "zero", "update")]
    loaded(Script(boards=[Board(buffer=buffer) for buffer in buffers], frozen_ns=10 * S))

    wrong, zero, true = (
        [value.timeStamp for value in pynvml.nvmlDeviceGetSamples(pynvml.nvmlDeviceGetHandleByIndex(i), 0, 0)[1]]
        for i in range(3)
    )
    assert set(zero) == {0}
    assert wrong != sorted(wrong)
    assert all(100_000 <= abs(off - at) <= 160_000 for off, at in zip(wrong, true, strict=True))


# Faults


def test_nothing_answers_before_init_and_after_the_last_shutdown(loaded: Loaded) -> None:
    loaded(Script(), init=False)

    assert code_of(pynvml.nvmlDeviceGetCount) == pynvml.NVML_ERROR_UNINITIALIZED
    assert code_of(pynvml.nvmlShutdown) == pynvml.NVML_ERROR_UNINITIALIZED
    pynvml.nvmlInit()
    pynvml.nvmlInit()
    device = first()
    pynvml.nvmlShutdown()
    assert pynvml.nvmlDeviceGetName(device)
    pynvml.nvmlShutdown()
    assert code_of(pynvml.nvmlDeviceGetName, device) == pynvml.NVML_ERROR_UNINITIALIZED
    pynvml.nvmlInit()
    assert code_of(pynvml.nvmlDeviceGetName, device) == pynvml.NVML_ERROR_INVALID_ARGUMENT  # a handle of another time
    assert pynvml.nvmlDeviceGetName(first())


def test_init_takes_its_time_and_fails(loaded: Loaded) -> None:
    loaded(Script(init_error=9, init_delay_ms=30), init=False)

    begun_ns = time.monotonic_ns()
    assert code_of(pynvml.nvmlInit) == pynvml.NVML_ERROR_DRIVER_NOT_LOADED
    assert time.monotonic_ns() - begun_ns >= 30 * MS
    assert code_of(pynvml.nvmlDeviceGetCount) == pynvml.NVML_ERROR_UNINITIALIZED


def test_a_fault_has_its_time_its_board_and_its_function(loaded: Loaded) -> None:
    energy = "nvmlDeviceGetTotalEnergyConsumption"
    faulty = Board(spans=[Fault(from_ms=100, to_ms=200, code=999), Fault(from_ms=300, code=4, function=energy)])
    fake = loaded(Script(boards=[faulty, Board()]))
    devices = [pynvml.nvmlDeviceGetHandleByIndex(i) for i in range(2)]

    def at(t_ms: int) -> list[tuple[int, int]]:
        fake.freeze(t_ms * MS)
        asks = (pynvml.nvmlDeviceGetTotalEnergyConsumption, pynvml.nvmlDeviceGetPowerUsage)
        return [(code_of(asks[0], device), code_of(asks[1], device)) for device in devices]

    assert at(99) == [(0, 0), (0, 0)]
    assert at(100) == [(999, 999), (0, 0)]
    assert at(200) == [(0, 0), (0, 0)]
    assert at(300) == at(10**6) == [(4, 0), (0, 0)]


def test_a_lost_board_stays_lost(loaded: Loaded) -> None:
    fake = loaded(Script(boards=[Board(spans=[Fault(from_ms=100, code=GPU_IS_LOST)]), Board()]))
    device = first()
    fake.freeze(10**9 * MS)

    assert code_of(pynvml.nvmlDeviceGetTotalEnergyConsumption, device) == pynvml.NVML_ERROR_GPU_IS_LOST
    assert code_of(pynvml.nvmlDeviceGetHandleByIndex, 0) == pynvml.NVML_ERROR_GPU_IS_LOST
    assert pynvml.nvmlDeviceGetCount() == 2
    assert pynvml.nvmlDeviceGetPowerUsage(pynvml.nvmlDeviceGetHandleByIndex(1)) == 100_000


class Caller(threading.Thread):
    """Asks a board for its power; `code` is None until the call returns."""

    def __init__(self, device: Any) -> None:
        super().__init__(daemon=True)
        self.device = device
        self.code: int | None = None

    def run(self) -> None:
        self.code = code_of(pynvml.nvmlDeviceGetPowerUsage, self.device)


@pytest.mark.parametrize("end", ["release", "freeze", "play", "time"])
def test_a_hang_keeps_only_its_board_and_ends(loaded: Loaded, end: str) -> None:
    to_ms = 300 if end == "time" else 10_000
    spans = [Hang(from_ms=50, to_ms=to_ms, function="nvmlDeviceGetPowerUsage")]
    fake = loaded(Script(boards=[Board(spans=spans), Board()], frozen_ns=0))
    devices = [pynvml.nvmlDeviceGetHandleByIndex(i) for i in range(2)]
    if end == "time":
        fake.play(Script(boards=[Board(spans=spans), Board()], start_ns=time.monotonic_ns() - 50 * MS))
    else:
        fake.freeze(50 * MS)

    callers = [Caller(devices[0]) for _ in range(3)]
    for caller in callers:
        caller.start()
    wait_until(lambda: fake.calls("nvmlDeviceGetPowerUsage", 0) == 3)
    assert pynvml.nvmlDeviceGetPowerUsage(devices[1]) == 100_000  # would never return if a lock were kept
    if end != "time":
        assert pynvml.nvmlDeviceGetName(devices[0])
        assert [caller.code for caller in callers] == [None] * 3

    if end == "release":
        fake.release()
    elif end == "freeze":
        fake.freeze(10_000 * MS)
    elif end == "play":
        fake.play(Script())
    for caller in callers:
        caller.join(60)
    assert [caller.code for caller in callers] == [0] * 3
    if end == "release":
        assert pynvml.nvmlDeviceGetPowerUsage(devices[0]) == 100_000  # a released hang is over
    if end == "time":
        assert time.monotonic_ns() - fake.start_ns >= 300 * MS


def test_a_hang_for_good_ends_only_by_release(loaded: Loaded) -> None:
    fake = loaded(Script(boards=[Board(spans=[Hang(function="nvmlDeviceGetPowerUsage")])]))
    caller = Caller(first())
    caller.start()
    wait_until(lambda: fake.calls("nvmlDeviceGetPowerUsage") == 1)
    fake.release()
    caller.join(60)
    assert caller.code == 0


def test_a_call_takes_its_value_between_its_two_delays(loaded: Loaded) -> None:
    fake = loaded(Script(boards=[Board(delay_us=(20_000, 30_000))]))
    device = first()

    begin_us = fake.wall_us(time.monotonic_ns() - fake.start_ns)
    taken_us = pynvml.nvmlDeviceGetFieldValues(device, [ENERGY])[0].timestamp
    end_us = fake.wall_us(time.monotonic_ns() - fake.start_ns)

    assert begin_us + 20_000 <= taken_us <= end_us - 30_000


# Around it all


def test_calls_are_counted_by_function_and_board(loaded: Loaded) -> None:
    fake = loaded(Script(boards=[Board(), Board()]))
    assert fake.calls() == fake.calls("nvmlInitWithFlags") == 1
    device = pynvml.nvmlDeviceGetHandleByIndex(1)
    pynvml.nvmlDeviceGetPowerUsage(device)
    pynvml.nvmlDeviceGetPowerUsage(device)

    assert fake.calls() == 4
    assert fake.calls("nvmlDeviceGetPowerUsage") == fake.calls("nvmlDeviceGetPowerUsage", 1) == 2
    assert fake.calls("nvmlDeviceGetPowerUsage", 0) == fake.calls(None, 0) == fake.calls("nvmlDeviceGetName") == 0
    assert fake.calls(None, 1) == 3
    assert fake.calls(None, 2) == 0
    fake.play(Script())
    assert fake.calls() == 0


def test_each_library_is_its_own(loaded: Loaded) -> None:
    one, other = library(Script()), loaded(Script())

    assert one.path != other.path
    assert (one.calls(), other.calls()) == (0, 1)


def test_many_threads_at_once_while_scripts_change(loaded: Loaded) -> None:
    energy = Energy(period_us=1_000, window_us=300, kind="sensor")
    script = Script(boards=[Board(energy=energy), Board(energy=energy)], frozen_ns=2 * S)
    fake = loaded(script)
    devices = [pynvml.nvmlDeviceGetHandleByIndex(i) for i in range(2)]
    answers: list[set[int]] = [set() for _ in range(4)]

    def ask(n: int) -> None:
        for _ in range(500):
            answers[n].add(pynvml.nvmlDeviceGetTotalEnergyConsumption(devices[n % 2]))

    def run() -> None:
        threads = [threading.Thread(target=ask, args=[n]) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    run()
    assert fake.calls("nvmlDeviceGetTotalEnergyConsumption", 1) == 1000
    stop = threading.Event()

    def change() -> None:
        while not stop.is_set():
            fake.play(script)

    changing = threading.Thread(target=change)
    changing.start()
    run()
    stop.set()
    changing.join()
    assert answers == [{200_000}] * 4


LISTED = [
    "nvmlInit_v2",
    "nvmlInitWithFlags",
    "nvmlShutdown",
    "nvmlDeviceGetCount_v2",
    "nvmlDeviceGetHandleByIndex_v2",
    "nvmlDeviceGetName",
    "nvmlDeviceGetUUID",
    "nvmlDeviceGetPowerUsage",
]
DEVICE = [
    "nvmlErrorString",
    "nvmlSystemGetDriverVersion",
    "nvmlSystemGetNVMLVersion",
    "nvmlDeviceGetHandleByUUID",
    "nvmlDeviceGetHandleByPciBusId_v2",
    "nvmlDeviceGetPciInfo_v3",
    "nvmlDeviceGetIndex",
    "nvmlDeviceGetArchitecture",
    "nvmlDeviceGetCudaComputeCapability",
    "nvmlDeviceGetNumGpuCores",
    "nvmlDeviceGetMaxClockInfo",
    "nvmlDeviceGetClockInfo",
    "nvmlDeviceGetEnforcedPowerLimit",
    "nvmlDeviceGetPowerManagementLimit",
    "nvmlDeviceGetPowerManagementDefaultLimit",
    "nvmlDeviceGetPowerManagementLimitConstraints",
    "nvmlDeviceGetMigMode",
    "nvmlDeviceGetMaxMigDeviceCount",
    "nvmlDeviceGetMigDeviceHandleByIndex",
    "nvmlDeviceIsMigDeviceHandle",
    "nvmlDeviceGetDeviceHandleFromMigDeviceHandle",
    "nvmlDeviceGetCurrentClocksEventReasons",
    "nvmlDeviceGetCurrentClocksThrottleReasons",
    "nvmlDeviceGetViolationStatus",
    "nvmlDeviceGetComputeRunningProcesses_v3",
    "nvmlDeviceGetGraphicsRunningProcesses_v3",
    "nvmlDeviceGetTemperature",
    "nvmlDeviceGetUtilizationRates",
    "nvmlDeviceGetPersistenceMode",
]
FIELDS = ["nvmlDeviceGetTotalEnergyConsumption", "nvmlDeviceGetFieldValues", "nvmlDeviceGetSamples"]


@pytest.mark.parametrize(
    ("variant", "there"), [("", LISTED + DEVICE + FIELDS), ("without_fields", LISTED + DEVICE), ("minimal", LISTED)]
)
def test_a_variant_has_its_functions_and_no_others(loaded: Loaded, variant: Variant, there: list[str]) -> None:
    fake = loaded(Script(), variant)

    assert {name for name in LISTED + DEVICE + FIELDS if hasattr(fake.lib, name)} == set(there)
    assert pynvml.nvmlDeviceGetPowerUsage(first()) == 100_000
    if variant:
        code = code_of(pynvml.nvmlDeviceGetTotalEnergyConsumption, first())
        assert code == pynvml.NVML_ERROR_FUNCTION_NOT_FOUND


def run_elsewhere(program: str, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
        env=env,
    )


def test_another_process_finds_it_under_its_own_name() -> None:
    script = Script(boards=[Board(), Board(uuid="GPU-there", waves={GPU: [(10, 123_456)]})])
    program = """
        import pynvml
        pynvml.nvmlInit()
        device = pynvml.nvmlDeviceGetHandleByUUID("GPU-there")
        print(pynvml.nvmlDeviceGetCount(), pynvml.nvmlDeviceGetPowerUsage(device))
        print(pynvml.nvmlDeviceGetTotalEnergyConsumption(device))
    """
    done = run_elsewhere(program, environment(script))

    assert done.returncode == 0, done.stderr
    count, power_mw, energy_mj = map(int, done.stdout.split())
    assert (count, power_mw) == (2, 123_456) and 0 <= energy_mj < 123_456 * 120


def test_without_a_script_there_is_no_driver() -> None:
    env = environment(Script())
    del env["FAKE_NVML_SCRIPT"]
    done = run_elsewhere("import pynvml; pynvml.nvmlInit()", env)

    assert "Driver Not Loaded" in done.stderr


def test_a_forked_child_can_ask_while_the_parent_hangs() -> None:
    script = Script(boards=[Board(spans=[Hang(function="nvmlDeviceGetPowerUsage")])])
    program = """
        import os, threading, warnings
        import pynvml
        warnings.simplefilter("ignore")
        pynvml.nvmlInit()
        device = pynvml.nvmlDeviceGetHandleByIndex(0)
        threading.Thread(target=pynvml.nvmlDeviceGetPowerUsage, args=[device], daemon=True).start()
        while pynvml.nvmlLib.fake_nvml_calls(b"nvmlDeviceGetPowerUsage", 0) == 0:
            pass
        child = os.fork()
        if child == 0:
            os._exit(len(pynvml.nvmlDeviceGetName(device)))
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
        os._exit(0)
    """
    done = run_elsewhere(program, environment(script))

    assert done.stdout.split() == [str(len(Board().name))], done.stderr


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("nmae x", "no such key of a board"),
        ("energy period_us=20 jitter_us=10", "half"),
        ("energy phase_us=3", "period_us"),
        ("instant period_us=1 shade=2", "shade=2"),
        ("wave 0", "at least one"),
        ("wave 3 1:1", "out of range"),
        ("wave 0 1:x", "no number"),
        ("reset_ms 5\nreset_ms 5", "order"),
        ("stamps sometimes", "not known"),
        ("limits_mw 1 2", "missing"),
        ("name " + "x" * 100, "too long"),
    ],
)
def test_a_script_with_a_mistake_is_not_played(line: str, why: str) -> None:
    text = f"# a comment\nboard\n{line}\n"
    done = run_elsewhere("import pynvml; pynvml.nvmlInit(); print('went on')", environment(text))

    assert done.stdout == "" and why in done.stderr
    assert f"script line {3 + line.count(chr(10))} ({line.split()[0]})" in done.stderr


# Against the truth, by property: pieces of the power, and when what is updated


@pytest.fixture(scope="module")
def shared() -> Iterator[Fake]:
    """One library for all examples of the properties."""
    fake = library(Script())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pynvml, "nvmlLib", fake.lib)
        patch.setattr(pynvml, "_nvmlGetFunctionPointer_cache", {})
        pynvml.nvmlInit()
        yield fake


LONGEST_NS = 3 * S
waves = st.lists(st.tuples(st.integers(5_000, 200_000), st.integers(0, 1_200_000)), min_size=1, max_size=6)
times_ns = st.lists(st.integers(0, LONGEST_NS), min_size=2, max_size=8).map(sorted)


@st.composite
def updates(draw: st.DrawFn) -> dict[str, Any]:
    period_us = draw(st.integers(1_000, 300_000))
    return {
        "period_us": period_us,
        "phase_us": draw(st.integers(0, 2 * period_us)),
        "jitter_us": draw(st.integers(0, (period_us - 1) // 2)),
        "window_us": draw(st.integers(1, 2 * period_us)),
        "seed": draw(st.integers(0, 2**32)),
    }


class Sum:
    """A waveform's energy by other sums than ours: piece after piece, from a few seconds before script time 0 on."""

    def __init__(self, wave: list[tuple[int, int]]) -> None:
        pieces = [(us * 1000, mw) for us, mw in wave]
        period_ns = sum(ns for ns, _ in pieces)
        periods = LONGEST_NS // period_ns + 1
        self.load = Load(pieces * (2 * periods))
        self.zero_ns = periods * period_ns  # whole ones, so that at script time 0 one begins

    def picojoules(self, start_ns: int, end_ns: int) -> int:
        return self.load.nanojoules(end_ns + self.zero_ns) - self.load.nanojoules(start_ns + self.zero_ns)


@settings(deadline=None)
@given(wave=waves, times=times_ns)
def test_the_truth_is_the_sum_of_the_pieces(wave: list[tuple[int, int]], times: list[int]) -> None:
    board, truth = Board(waves={GPU: wave}), Sum(wave)

    for start_ns, end_ns in itertools.pairwise([-LONGEST_NS, *times]):
        assert true_picojoules(board, start_ns, end_ns) == truth.picojoules(start_ns, end_ns)


@settings(deadline=None)
@given(timing=updates(), times=times_ns)
def test_updates_come_in_order_near_their_time(timing: dict[str, Any], times: list[int]) -> None:
    updates = Updates(**timing)

    for t_ns in times:
        k = updates.last(t_ns)
        assert updates.at_ns(k) <= t_ns < updates.at_ns(k + 1)
        nominal_us = updates.phase_us + k * updates.period_us
        assert abs(updates.at_ns(k) - nominal_us * 1000) <= updates.jitter_us * 1000


@settings(deadline=None)
@given(wave=waves, timing=updates(), times=times_ns, first_mj=st.integers(0, 2**40))
def test_a_counter_never_falls_and_is_true_at_its_last_update(
    shared: Fake, wave: list[tuple[int, int]], timing: dict[str, Any], times: list[int], first_mj: int
) -> None:
    energy = Energy(**timing, first_mj=first_mj)
    board = Board(waves={GPU: wave}, energy=energy, stamps="update")
    shared.play(Script(boards=[board]))

    before, truth = first_mj, Sum(wave)
    for t_ns in times:
        shared.freeze(t_ns)
        update_ns = energy.at_ns(energy.last(t_ns))
        (value,) = pynvml.nvmlDeviceGetFieldValues(first(), [ENERGY])
        assert value.value.ullVal == first_mj + truth.picojoules(0, max(update_ns, 0)) // 10**9
        assert value.value.ullVal == counter_mj(board, t_ns) >= before
        assert value.timestamp == shared.wall_us(update_ns)
        before = value.value.ullVal


@settings(deadline=None)
@given(wave=waves, timing=updates(), times=times_ns)
def test_a_part_time_counter_adds_what_its_windows_saw(
    shared: Fake, wave: list[tuple[int, int]], timing: dict[str, Any], times: list[int]
) -> None:
    energy = Energy(**timing, kind="sensor")
    board = Board(waves={GPU: wave}, energy=energy)
    shared.play(Script(boards=[board]))

    before = 0
    for t_ns in times:
        shared.freeze(t_ns)
        shown = pynvml.nvmlDeviceGetTotalEnergyConsumption(first())
        assert shown == counter_mj(board, t_ns) >= before
        before = shown


@settings(deadline=None)
@given(watts=st.integers(0, 1000), timing=updates(), t_ns=st.integers(0, LONGEST_NS))
def test_of_a_steady_load_a_part_time_counter_misses_nothing(watts: int, timing: dict[str, Any], t_ns: int) -> None:
    waves = {GPU: [(1, watts * 1000)]}

    counters = [Board(waves=waves, energy=Energy(**timing, kind=kind)) for kind in ("waveform", "sensor")]
    assert counter_mj(counters[0], t_ns) == counter_mj(counters[1], t_ns)


@settings(deadline=None)
@given(wave=waves, timing=updates(), times=times_ns)
def test_a_reading_is_the_mean_over_its_window(
    shared: Fake, wave: list[tuple[int, int]], timing: dict[str, Any], times: list[int]
) -> None:
    reading = Updates(**timing)
    board = Board(waves={GPU: wave}, instant=reading, power_usage="instant", stamps="update")
    shared.play(Script(boards=[board]))
    truth = Sum(wave)

    for t_ns in times:
        shared.freeze(t_ns)
        update_ns = reading.at_ns(reading.last(t_ns))
        window_pj = truth.picojoules(update_ns - reading.window_ns, update_ns)
        (value,) = pynvml.nvmlDeviceGetFieldValues(first(), [INSTANT])
        assert 0 <= window_pj - value.value.uiVal * reading.window_ns < reading.window_ns
        assert value.value.uiVal == reading_mw(board, reading, t_ns) == pynvml.nvmlDeviceGetPowerUsage(first())
        assert value.timestamp == shared.wall_us(update_ns)


def test_time_goes_on_by_itself(loaded: Loaded) -> None:
    board = Board(energy=Energy(period_us=1_000))
    fake = loaded(Script(boards=[board]))

    def now_ns() -> int:
        return time.monotonic_ns() - fake.start_ns

    device = first()
    for _ in range(100):
        begin_ns = now_ns()
        shown = pynvml.nvmlDeviceGetTotalEnergyConsumption(device)
        assert counter_mj(board, begin_ns) <= shown <= counter_mj(board, now_ns())
