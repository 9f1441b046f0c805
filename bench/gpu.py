# SPDX-License-Identifier: MIT
"""python -m bench.gpu [--seconds N] [--json FILE] [--markdown FILE]: what this machine's GPUs are like, and what we make of them.

Takes about two minutes with the usual 15 seconds, for all boards that NVML shows. The load is torch's or cupy's, where one of them
is there with a GPU; without one the boards are measured as they are found.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import random
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import powerprobe as pp
from powerprobe.cli.seen import Seen, watch
from powerprobe.errors import PowerprobeError
from powerprobe.extras import need
from powerprobe.gpus import facts
from powerprobe.windows import Window

from . import machine
from .__main__ import SCHEMA, markdown, write
from .fake_gpu import GOALS, LENGTHS_MS
from .measure import Goal, NotHere, Row, figure

_CALLS = 100  # of each function
_PAUSE = 0.005  # seconds between calls: other users of the driver are to notice nothing
_REGIONS = 300  # of each length
_LOADED = "under load"
_ENERGY, _INSTANT, _AVERAGE = 191, 186, 185  # NVML's numbers of fields
_SQUARE = 0.65  # seconds: half of the square wave's period, no multiple of any known window

Work = Callable[[], None]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.gpu", description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=15.0, help="of each part (default 15)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures and the machine's facts")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the table")
    arguments = parser.parse_args()
    if not 1.0 <= arguments.seconds <= 60.0:
        parser.error("--seconds must be from 1 to 60")
    try:
        need("pynvml", "the report on GPUs")
        found = pp.discover("nvml", strict=True)
    except PowerprobeError as error:
        print(f"bench.gpu: {error}", file=sys.stderr)
        return 3
    boards = [channel for channel in found.channels if channel.name == f"gpu-{channel.gpu}"]
    known: dict[str, object] = {**machine.facts(), "gpus": facts([board.uuid for board in boards], 5.0)}
    rows: list[Row] = []
    missing: list[NotHere] = []
    for result in _report(found, [board.name for board in boards], arguments.seconds):
        (rows if isinstance(result, Row) else missing).append(result)  # type: ignore[arg-type]
    known["load_after"] = machine.load()
    table = "\n".join(
        [*(f"{board.name}: {board.model}, {board.pci}, driver {_driver(known)}" for board in boards), ""]
    ) + markdown(known, rows, missing)
    print(table)
    everything = {
        "schema": SCHEMA,
        "machine": known,
        "rows": [dataclasses.asdict(row) for row in rows],
        "not_here": [dataclasses.asdict(each) for each in missing],
    }
    write(everything, table, arguments.json, arguments.markdown)
    return 0


def _driver(known: dict[str, object]) -> object:
    gpus = known["gpus"]
    return gpus[0].get("driver") if isinstance(gpus, list) and gpus else None


def _report(found: pp.Discovery, names: list[str], seconds: float) -> Iterator[Row | NotHere]:
    say = _stages()
    say("latency of the calls")
    yield from _latencies()
    work = _work()
    if work is None:
        yield NotHere(
            "load", "", "neither torch nor cupy is here with a GPU: the boards are measured as they are found"
        )
    say("how often readings change, and what they are means of")
    with _load(work, _SQUARE):
        yield from _readings(watch(found, seconds))
    say("regions, as found")
    yield from _tracked(found, names, seconds, "as found")
    if work is not None:
        say("regions under load")
        with _load(work, None):
            time.sleep(3.0)  # until the boards are warm and their clocks rest
            yield from _tracked(found, names, seconds, _LOADED)


def _stages() -> Callable[[str], None]:
    return lambda what: print(f"{what} ...", file=sys.stderr, flush=True)


# ---- Calls


def _latencies() -> Iterator[Row | NotHere]:
    import pynvml

    pynvml.nvmlInit()
    for index in range(pynvml.nvmlDeviceGetCount()):
        device = pynvml.nvmlDeviceGetHandleByIndex(index)
        fields = partial(pynvml.nvmlDeviceGetFieldValues, device)
        calls: dict[str, Callable[[], object]] = {
            "TotalEnergyConsumption": partial(pynvml.nvmlDeviceGetTotalEnergyConsumption, device),
            "PowerUsage": partial(pynvml.nvmlDeviceGetPowerUsage, device),
            "FieldValues, energy": partial(fields, [_ENERGY]),
            "FieldValues, instant power": partial(fields, [_INSTANT]),
            "FieldValues, averaged power": partial(fields, [_AVERAGE]),
            "FieldValues, all three": partial(fields, [_ENERGY, _INSTANT, _AVERAGE]),
            "Samples of power": partial(pynvml.nvmlDeviceGetSamples, device, 0, 0),
            "ClockInfo": partial(pynvml.nvmlDeviceGetClockInfo, device, 1),
            "ComputeRunningProcesses": partial(pynvml.nvmlDeviceGetComputeRunningProcesses, device),
        }
        for name, call in calls.items():
            case = f"gpu-{index}, {name}"
            try:
                call()
                yield figure("gpu_call_us", "us", _timed(call), case=case, note="from Python, which adds some us")
            except pynvml.NVMLError as error:
                yield NotHere("gpu_call_us", case, str(error))


def _timed(call: Callable[[], object]) -> list[float]:
    times = []
    for _ in range(_CALLS):
        begin = time.perf_counter_ns()
        call()
        times.append((time.perf_counter_ns() - begin) * 1e-3)
        time.sleep(_PAUSE)
    return times


# ---- Readings


def _readings(channels: list[Seen]) -> Iterator[Row | NotHere]:
    for channel in channels:
        if channel.period is None:
            yield NotHere("gpu_update_period_ms", channel.name, "it did not move meanwhile")
        else:
            yield figure("gpu_update_period_ms", "ms", [1e3 * each for each in channel.period], case=channel.name)
        if channel.step is not None and channel.window is None:
            yield figure("gpu_counter_step_joules", "J", [channel.step], case=channel.name)
        if isinstance(channel.window, Window):
            around = [
                1e3 * max(each, 1e-6) for each in (channel.window.low, channel.window.seconds, channel.window.high)
            ]
            yield figure(
                "gpu_window_ms", "ms", around, case=channel.name, note="low and high are what fits about as well"
            )
        elif isinstance(channel.window, str):
            yield NotHere("gpu_window_ms", channel.name, channel.window)
        if channel.mismatch is not None:
            yield figure(
                "gpu_counter_to_power_pct",
                "%",
                [100 * (1 + channel.mismatch)],
                case=channel.name,
                note="the counter's energy, of that of its board's power readings",
            )


# ---- Tracking


def _tracked(found: pp.Discovery, names: list[str], seconds: float, case: str) -> Iterator[Row | NotHere]:
    with pp.Probe(history=seconds + 5.0, discovery=found) as probe:
        time.sleep(2.0)  # until the periods are learned
        before, begin_ns = _spent(probe), pp.now_ns()
        time.sleep(seconds)
        after, end_ns = _spent(probe), pp.now_ns()
        elapsed = (end_ns - begin_ns) * 1e-9
        yield figure(
            "gpu_sampler_cpu_share",
            "% of a core",
            [100 * (after[0] - before[0]) / elapsed],
            case=case,
            note=f"{len(names)} boards, {(after[1] - before[1]) / elapsed:.0f} readings in a second, with what the driver takes",
        )
        for name in names:
            whole = probe.energy(begin_ns, end_ns, name)
            watts = float(whole.joules) / elapsed
            for length_ms in LENGTHS_MS:
                errors, outside, width = _errors(probe, name, watts, begin_ns, end_ns, length_ms * 1_000_000)
                yield figure(
                    f"gpu_region_{length_ms}ms_error_median_pct",
                    "%",
                    [max(each, 1e-6) for each in np.quantile(errors, (0.25, 0.5, 0.75))],
                    case=f"{name}, {case}",
                    goal=Goal(most=GOALS[length_ms]) if length_ms in GOALS and case == _LOADED else None,
                    note=f"against the mean of {elapsed:.0f} s, {watts:.0f} W, so with what the power really varied by; "
                    f"nine of ten within {np.quantile(errors, 0.9):.2g} %, bounds {100 * width:.2g} % wide, "
                    f"{outside} of {_REGIONS} of these means outside",
                )


def _spent(probe: pp.Probe) -> tuple[float, int]:
    stats: dict[str, Any] = probe.stats()
    return float(stats["cpu_seconds"]), sum(sampler["polls"] for sampler in stats["samplers"])


def _errors(
    probe: pp.Probe, name: str, watts: float, begin_ns: int, end_ns: int, length_ns: int
) -> tuple[list[float], int, float]:
    """In percent of the long-run mean; how many of these lie outside the bounds; how wide those are, as a share."""
    chance = random.Random(length_ns)
    starts = np.array([chance.randrange(begin_ns, end_ns - length_ns) for _ in range(_REGIONS)])
    energy = probe.energy(starts, starts + length_ns, name)
    mean = watts * length_ns * 1e-9
    outside = int(((mean < energy.lower) | (mean > energy.upper)).sum())
    return list(100 * np.abs(energy.joules / mean - 1)), outside, float(np.median((energy.upper - energy.lower) / mean))


# ---- Load


def _work() -> Work | None:
    """Some ten milliseconds of work on every visible board, waited for; None where there is nothing to work with."""
    try:
        import torch  # type: ignore[import-not-found,unused-ignore]

        if torch.cuda.is_available():
            devices = [torch.device("cuda", i) for i in range(torch.cuda.device_count())]
            operands = [torch.randn(8192, 8192, device=device, dtype=torch.float16) for device in devices]

            def work_torch() -> None:
                for operand in operands:
                    for _ in range(4):
                        torch.matmul(operand, operand)
                for device in devices:
                    torch.cuda.synchronize(device)

            return work_torch
    except ImportError:
        pass
    try:
        import cupy  # type: ignore[import-not-found,unused-ignore]

        arrays = []
        for i in range(cupy.cuda.runtime.getDeviceCount()):
            with cupy.cuda.Device(i):
                arrays.append(cupy.random.rand(8192, 8192, dtype=cupy.float32))

        def work_cupy() -> None:
            for i, array in enumerate(arrays):
                with cupy.cuda.Device(i):
                    cupy.matmul(array, array)
            for i in range(len(arrays)):
                cupy.cuda.Device(i).synchronize()

        return work_cupy if arrays else None
    except Exception:  # cupy without a GPU raises what its runtime calls an error
        return None


@contextlib.contextmanager
def _load(work: Work | None, half: float | None) -> Iterator[None]:
    """Works in a thread of its own: on and off for `half` seconds each, or always."""
    if work is None:
        yield
        return
    over = threading.Event()

    def run() -> None:
        while not over.is_set():
            until = time.monotonic() + (half or 1.0)
            while time.monotonic() < until and not over.is_set():
                work()
            if half:
                over.wait(half)

    thread = threading.Thread(target=run, name="load", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


if __name__ == "__main__":
    sys.exit(main())
