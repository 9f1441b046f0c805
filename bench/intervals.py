# SPDX-License-Identifier: MIT
"""Energy of a million intervals over a million edges, next to numpy's interpolation and to the memory's own speed."""

from __future__ import annotations

import mmap
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from powerprobe import _core

from . import native
from .machine import REPOSITORY
from .measure import Goal, Row, interleaved, row

Edges = npt.NDArray[np.void]
Times = npt.NDArray[np.int64]
Joules = npt.NDArray[np.float64]
Flags = npt.NDArray[np.uint32]

COUNT = 1_000_000

# Update periods in milliseconds: quantiles of 9997 steps of an Ice Lake-SP package counter, published with Alt et al.,
# "RAPL validation" (ICPE 2024). bench/native/intervals.cpp has the same.
QUANTILES = [0.0, 0.01, 0.50, 0.938, 0.95, 0.99, 1.0]
STEPS_MS = [0.60, 0.68, 0.88, 1.50, 1.52, 1.65, 2.83]


def intervals_sorted_vs_interp(quick: bool) -> Iterator[Row]:
    return _rows("intervals_sorted_vs_interp", True, 8.0, 7 if quick else 40)


def intervals_random_vs_interp(quick: bool) -> Iterator[Row]:
    return _rows("intervals_random_vs_interp", False, 10.0, 2 if quick else 12)


def _rows(name: str, in_order: bool, goal: float, rounds: int) -> Iterator[Row]:
    for case, jitter in (("metronome", False), ("Ice Lake-SP steps", True)):
        edges = _edges(jitter)
        _check(edges, *_intervals(edges, in_order))
        kind = f"intervals-{'jitter' if jitter else 'metronome'}-{'sorted' if in_order else 'random'}"
        _, bare = native.run(kind, rounds)
        with _Side("ours", jitter, in_order) as ours, _Side("interp", jitter, in_order) as interp:
            pairs = interleaved(rounds, ours.cost, interp.cost)
        # What numpy.interp takes over what it takes to move the bytes: one thread could not be faster.
        bytes_ms = statistics.median(limit for _, limit in bare) * COUNT * 1e-6
        most = statistics.median(limit for _, limit in pairs) / bytes_ms
        yield row(
            name,
            "ms",
            pairs,
            case=case,
            limit_is="numpy.interp of the ends minus that of the starts, which gives neither bounds nor flags",
            goal=Goal(least_speedup=goal),
            speedup=True,
            note="wall-clock time, each in a process of its own; ours shares the work among up to 4 threads, "
            f"here {min(4, len(os.sched_getaffinity(0)))}; one thread that moves the same bytes in order and computes nothing "
            f"would be {most:.1f}x as fast as numpy",
        )
        yield row(
            name.replace("_vs_interp", "_vs_memory"),
            "ns",
            bare,
            case=case,
            limit_is="a loop in one thread that moves the same bytes in order and computes nothing",
            note="for each interval, wall-clock time; without Python",
        )


def _edges(jitter: bool) -> Edges:
    """In a memfd as a ring's are: its pages are small ones, which numpy's own large arrays' are not."""
    random = np.random.default_rng(20240601)
    memory = mmap.mmap(_memfd(COUNT * _core.EDGE_DTYPE.itemsize), 0)
    edges = np.frombuffer(memory, _core.EDGE_DTYPE)
    steps = np.interp(random.random(COUNT), QUANTILES, STEPS_MS) if jitter else np.ones(COUNT)
    edges["t_ns"] = 1_000_000_000 + np.cumsum(steps * 1e6).astype(np.int64)
    edges["joules"] = np.cumsum(random.uniform(0.01, 0.03, COUNT))
    edges["gap_ns"] = 2000
    return edges


def _memfd(size: int) -> int:
    fd = os.memfd_create("bench")
    os.ftruncate(fd, size)
    return fd


def _intervals(edges: Edges, in_order: bool) -> tuple[Times, Times]:
    """Anywhere, up to 2 ms long."""
    random = np.random.default_rng(7)
    starts = random.integers(edges["t_ns"][0], edges["t_ns"][-4], COUNT)
    if in_order:
        starts.sort()
    ends = starts + random.integers(0, 2_000_000, COUNT)
    if in_order:
        ends.sort()
    return starts, ends


def _ours(edges: Edges, starts: Times, ends: Times) -> tuple[Joules, Joules, Joules, Flags]:
    return _core._series_energies(edges, 6e-5, 0.0, 0.0, 500.0, starts, ends)


def _interp(edges: Edges, starts: Times, ends: Times) -> Joules:
    t_ns, joules = edges["t_ns"], edges["joules"]
    difference: Joules = np.interp(ends, t_ns, joules) - np.interp(starts, t_ns, joules)
    return difference


def _check(edges: Edges, starts: Times, ends: Times) -> None:
    """Both sides must answer the same question, if the times that numpy is given are the middles of the gaps."""
    joules, lower, upper, flags = _ours(edges, starts, ends)
    assert not flags.any()
    middles = edges.copy()
    middles["t_ns"] -= edges["gap_ns"] // 2
    np.testing.assert_allclose(joules, _interp(middles, starts, ends), atol=1e-9)
    assert np.all(lower <= joules + 1e-9)
    assert np.all(joules <= upper + 1e-9)


class _Side:
    """One side in a process of its own, which is asked in turn with the other.

    In one process numpy would get the memory that ours has given back and be a quarter faster than it is by itself: what malloc
    keeps depends on the largest piece that it was ever given back.
    """

    def __init__(self, *arguments: object) -> None:
        command = [sys.executable, "-m", "bench.intervals", *map(str, arguments)]
        self._process = subprocess.Popen(
            command, cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def cost(self) -> float:
        """Milliseconds, with what it takes to make and to free the answer."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return float(self._process.stdout.readline())

    def __enter__(self) -> _Side:
        return self

    def __exit__(self, *exc: object) -> None:
        self._process.communicate()


def _answer(side: str, jitter: bool, in_order: bool) -> None:
    function = {"ours": _ours, "interp": _interp}[side]
    edges = _edges(jitter)
    starts, ends = _intervals(edges, in_order)
    for _ in sys.stdin:
        begin = time.perf_counter_ns()
        function(edges, starts, ends)
        print((time.perf_counter_ns() - begin) * 1e-6, flush=True)


if __name__ == "__main__":
    _answer(sys.argv[1], sys.argv[2] == "True", sys.argv[3] == "True")
