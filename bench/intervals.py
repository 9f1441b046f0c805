# SPDX-License-Identifier: MIT
"""Energy of a million intervals over a million edges, next to numpy's interpolation and to the memory's own speed."""

from __future__ import annotations

import functools
import mmap
import os
import statistics
import time
from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt

from powerprobe import _core

from . import native
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
        starts, ends = _intervals(edges, in_order)
        _check(edges, starts, ends)
        kind = f"intervals-{'jitter' if jitter else 'metronome'}-{'sorted' if in_order else 'random'}"
        _, bare = native.run(kind, rounds)
        question = (edges, starts, ends)
        pairs = interleaved(
            rounds, functools.partial(_cost, _ours, *question), functools.partial(_cost, _interp, *question)
        )
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
            note=f"wall-clock time of both; ours shares the work among up to 4 threads, here {min(4, _cpus())}; one thread that "
            f"moves the same bytes in order and computes nothing would be {most:.1f}x as fast as numpy",
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


def _cpus() -> int:
    return len(os.sched_getaffinity(0))


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


def _cost(function: Callable[[Edges, Times, Times], object], edges: Edges, starts: Times, ends: Times) -> float:
    """Milliseconds, with what it takes to make and to free the answer."""
    begin = time.perf_counter_ns()
    function(edges, starts, ends)
    return (time.perf_counter_ns() - begin) * 1e-6
