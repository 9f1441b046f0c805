# SPDX-License-Identifier: MIT
"""GPUs that are not there: the tests' fake NVML, whose boards' energy is known at every instant. What tracking makes of them."""

from __future__ import annotations

import dataclasses
import os
import random
import statistics
import sys
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np

import powerprobe as pp
from powerprobe import _core
from powerprobe.discovery import Discovery

from . import native
from .machine import REPOSITORY
from .measure import Goal, NotHere, Row, beyond, figure, row

LENGTHS_MS = (20, 50, 100, 500)
GOALS = {100: 3.0, 500: 1.0}  # median error in percent
REGIONS = 400  # of each length, on each board

# (microseconds, milliwatts), over and over.
LOADS = {
    "const": [(1_000_000, 300_000)],
    "training steps": [(140_000, 420_000), (23_000, 130_000), (60_000, 380_000), (14_000, 90_000)],
    "bursts": [(317_000, 80_000), (41_000, 450_000), (113_000, 80_000), (250_000, 450_000)],
}


def fake() -> Any:
    """The tests' module; it compiles the library when it is first used."""
    folder = str(REPOSITORY / "tests/python")
    if folder not in sys.path:
        sys.path.append(folder)
    import fake_nvml  # type: ignore[import-not-found]

    return fake_nvml


def kinds() -> dict[str, Any]:
    """How boards are made, by what their rows are called: counter and readings as published for each (docs/sources.md)."""
    nvml = fake()
    return {
        "counter 20 ms": partial(
            nvml.Board,
            name="fake, as Volta",
            compute_capability=(7, 0),
            energy=nvml.Energy(period_us=20_000, jitter_us=300),
            instant=nvml.Updates(period_us=20_000, window_us=10_000),
            average=None,
            power_usage="instant",
        ),
        "counter 100 ms": partial(
            nvml.Board,
            name="fake, as Ada",
            compute_capability=(8, 9),
            energy=nvml.Energy(period_us=100_000, jitter_us=1_000),
            instant=nvml.Updates(period_us=100_000, phase_us=40_000),
        ),
        "counter 100 ms, buffer 20 ms": partial(
            nvml.Board,
            name="fake, as Ada, whose driver keeps readings",
            compute_capability=(8, 9),
            energy=nvml.Energy(period_us=100_000, jitter_us=1_000),
            instant=nvml.Updates(period_us=100_000, phase_us=40_000),
            buffer=nvml.Buffer(period_us=20_000),
        ),
        "part-time sensor": partial(
            nvml.Board,
            name="fake, as H100",
            energy=nvml.Energy(period_us=100_000, jitter_us=1_000),
            instant=nvml.Updates(period_us=100_000, window_us=25_000, phase_us=70_000),
        ),
        "no counter": partial(
            nvml.Board,
            name="fake, as Pascal",
            compute_capability=(6, 0),
            energy=None,
            fields=((nvml.INSTANT, nvml.GPU),),
            instant=nvml.Updates(period_us=20_000, window_us=10_000),
            average=None,
            power_usage="instant",
        ),
    }


def discovery(path: object) -> Discovery:
    return Discovery(_core.survey(["nvml"], False, nvml=str(path)))


@dataclasses.dataclass
class Errors:
    """Of regions of one length on one board, in percent of the true energy."""

    ours: list[float]
    ends: list[float]  # of two readings of the counter, exactly at the ends
    outside: int
    width: float


def gpu_region(quick: bool) -> Iterator[Row]:
    """A row for each length and kind of board, over all loads; boards of all kinds are tracked at once."""
    nvml = fake()
    seconds = 6.0 if quick else 20.0
    made = {(kind, load): make(waves={nvml.GPU: LOADS[load]}) for kind, make in kinds().items() for load in LOADS}
    fake_library = nvml.library(nvml.Script(boards=list(made.values())))
    with pp.Probe(mode="track", history=seconds + 10, discovery=discovery(fake_library.path)) as probe:
        time.sleep(2.0)  # until the periods are learned
        begin_ns = pp.now_ns()
        time.sleep(seconds)
        end_ns = pp.now_ns()
        time.sleep(0.5)
        origin_ns = fake_library.start_ns
        found: dict[tuple[str, int], dict[str, Errors]] = {}
        for gpu, ((kind, load), board) in enumerate(made.items()):
            for length_ms in LENGTHS_MS:
                errors = _errors(probe, f"gpu-{gpu}", board, origin_ns, begin_ns, end_ns, length_ms * 1_000_000)
                found.setdefault((kind, length_ms), {})[load] = errors
    for (kind, length_ms), by_load in found.items():
        yield _row(kind, length_ms, by_load)
    for kind in kinds():
        of_kind = [e for (name, _), by_load in found.items() if name == kind for e in by_load.values()]
        regions = sum(len(e.ours) for e in of_kind)
        outside = sum(e.outside for e in of_kind)
        yield figure(
            "gpu_bounds_coverage",
            "%",
            [100 * (1 - outside / regions)],
            case=kind,
            goal=Goal(least=100.0),
            note=f"{outside} of {regions} regions outside their bounds",
        )


def _errors(
    probe: pp.Probe, channel: str, board: Any, origin_ns: int, begin_ns: int, end_ns: int, length_ns: int
) -> Errors:
    nvml = fake()
    chance = random.Random(length_ns)
    starts = np.array([chance.randrange(begin_ns, end_ns - length_ns * 11 // 10) for _ in range(REGIONS)])
    ends = starts + np.array([round(length_ns * chance.uniform(0.9, 1.1)) for _ in range(REGIONS)])
    energy = probe.energy(starts, ends, channel)
    truth = np.array(
        [nvml.true_joules(board, int(s) - origin_ns, int(e) - origin_ns) for s, e in zip(starts, ends, strict=True)]
    )
    shown = np.full(REGIONS, np.nan)
    if board.energy is not None:
        counts = [[nvml.counter_mj(board, int(t) - origin_ns) for t in instants] for instants in (starts, ends)]
        shown = (np.array(counts[1]) - np.array(counts[0])) * 1e-3
    slack = 1e-9 * truth
    return Errors(
        ours=list(100 * np.abs(energy.joules - truth) / truth),
        ends=list(100 * np.abs(shown - truth) / truth),
        outside=int(((truth < energy.lower - slack) | (truth > energy.upper + slack)).sum()),
        width=float(np.median((energy.upper - energy.lower) / truth)),
    )


def _row(kind: str, length_ms: int, by_load: dict[str, Errors]) -> Row:
    """Over all loads together; the quartiles are those of a quarter of the regions each."""
    each = "; ".join(
        f"{load}: median {statistics.median(e.ours):.2g} %, nine of ten within {np.quantile(e.ours, 0.9):.2g} %, "
        f"bounds {100 * e.width:.2g} % wide"
        for load, e in by_load.items()
    )
    name = f"gpu_region_{length_ms}ms_error_median_pct"
    goal = Goal(most=GOALS[length_ms]) if length_ms in GOALS and kind.startswith("counter") else None

    def medians(which: str) -> list[float]:
        quarters = (np.concatenate([getattr(e, which)[part::4] for e in by_load.values()]) for part in range(4))
        return [float(np.median(quarter)) for quarter in quarters]

    ours, ends = medians("ours"), medians("ends")
    if not all(np.isfinite(ends)):
        return figure(name, "%", ours, case=kind, goal=goal, note=each)
    return row(
        name,
        "%",
        list(zip(ours, ends, strict=True)),
        case=kind,
        goal=goal,
        limit_is="what two readings of the counter give, exactly at the ends",
        speedup=True,
        note=each,
    )


def gpu8_cpu_share_over_calls(quick: bool) -> Iterator[Row | NotHere]:
    """Eight boards, tracked at their full rate: CPU time of the thread that reads them, next to that of its calls alone."""
    nvml = fake()
    rounds, seconds = (4, 2.0) if quick else (12, 4.0)
    for period_ms in (20, 100):
        boards = [
            nvml.Board(
                compute_capability=(8, 9),
                waves={nvml.GPU: [(900_000 + 10_000 * i, 100_000), (1_000_000, 300_000)]},
                energy=nvml.Energy(period_us=period_ms * 1000, phase_us=period_ms * 125 * i, jitter_us=300, seed=i),
                instant=nvml.Updates(period_us=period_ms * 1000, phase_us=period_ms * 125 * i),
            )
            for i in range(8)
        ]
        script = nvml.Script(boards=boards)
        environment = nvml.environment(script)
        limit = {
            "POWERPROBE_BENCH_NVML": os.path.join(
                environment["LD_LIBRARY_PATH"].partition(os.pathsep)[0], "libnvidia-ml.so.1"
            ),
            "FAKE_NVML_SCRIPT": environment["FAKE_NVML_SCRIPT"],
        }
        fake_library = nvml.library(script)
        pairs = []
        rates = []
        with pp.Probe(history=10.0, discovery=discovery(fake_library.path)) as probe:
            time.sleep(2.0)
            for _ in range(rounds):
                calls, cpu, begin = fake_library.calls(), _cpu_seconds(probe), time.monotonic()
                time.sleep(seconds)
                elapsed = time.monotonic() - begin
                rate = (fake_library.calls() - calls) / elapsed
                share = (_cpu_seconds(probe) - cpu) / elapsed
                _, figures = native.lines("nvml-calls", 3, **limit)
                call_seconds = statistics.median(each["cpu_ns"] for each in figures) * 1e-9
                pairs.append((100 * share, 100 * rate * call_seconds))
                rates.append(rate)
        rate = statistics.median(rates)
        yield row(
            "gpu8_cpu_share_over_calls",
            "% of a core",
            pairs,
            case=f"counters of {period_ms} ms",
            limit_is="the calls alone",
            goal=Goal(most_beyond=2.0),
            note=f"{rate:.0f} calls in a second, {rate * period_ms / 8000:.1f} a step; {beyond(pairs, '%')} beyond the calls",
        )


def _cpu_seconds(probe: pp.Probe) -> float:
    return float(probe.stats()["cpu_seconds"])  # type: ignore[arg-type]
