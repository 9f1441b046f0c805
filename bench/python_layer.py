# SPDX-License-Identifier: MIT
"""What a Python program pays: regions, views, the import."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
import tempfile
import threading
import time
import timeit
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import powerprobe
from powerprobe import _core

from .measure import Goal, Row, beyond, interleaved, row

UNROLLED = 20


def region_python_ns(quick: bool) -> Iterator[Row]:
    rounds = 30 if quick else 300

    def marked() -> float:
        probe = _resting_probe()  # one with no regions yet, for each round
        return _nanoseconds("with region('x', items=1): pass", region=probe.region)()

    for case, statement, names in (
        ("vs an object made for it", "with memoryview(b): pass", {"b": b"x"}),
        ("vs an object at hand", "with lock: pass", {"lock": threading.Lock()}),
    ):
        pairs = interleaved(rounds, marked, _nanoseconds(statement, **names))
        made = "made" in case
        yield row(
            "region_python_ns",
            "ns",
            pairs,
            case=case,
            limit_is=f"`{statement}`",
            goal=Goal(most=1000.0, most_ratio=2.0) if made else Goal(most=1000.0),
            note="" if made else "nothing is made or thrown away on the other side, so no goal for the ratio",
        )


def view_us(quick: bool) -> Iterator[Row]:
    rounds = 50 if quick else 500
    longest = 1_000_000
    probe = _filled(longest)
    for count in (10, 1_000, 100_000, longest):
        first, second = probe.view(0, count), probe.view(0, count)
        assert len(first) == count
        assert first.ctypes.data == second.ctypes.data
        assert not first.flags.owndata
        del first, second
        yield _view_row(f"{count} edges", rounds, _nanoseconds("view(0, count)", view=probe.view, count=count), count)
    public = powerprobe.Probe(sources=powerprobe.replay([_ALWAYS_NEW]), period=1e-5, history=0.05)
    with public:
        time.sleep(0.05)
    count = len(public.view("package-0"))
    ours = _nanoseconds("view('package-0')", view=public.view)
    yield _view_row(f"Probe.view, {count} edges", rounds, ours, count)


def _view_row(case: str, rounds: int, nanoseconds: Callable[[], float], count: int) -> Row:
    edges = np.zeros(count, _core.EDGE_DTYPE)
    pairs = interleaved(
        rounds,
        nanoseconds,
        _nanoseconds("frombuffer(edges, dtype)", frombuffer=np.frombuffer, edges=edges, dtype=_core.EDGE_DTYPE),
    )
    return row(
        "view_us",
        "us",
        [(ours * 1e-3, limit * 1e-3) for ours, limit in pairs],
        case=case,
        goal=Goal(most=1.0),
        limit_is="numpy.frombuffer",
        note="0 bytes copied: views of the same edges are at the same address",
    )


def import_ms_over_numpy(quick: bool) -> Iterator[Row]:
    # Compiled once, as an installed package is, whatever this process was told about byte code.
    with tempfile.TemporaryDirectory() as cache:
        environment = {**os.environ, "PYTHONPYCACHEPREFIX": cache}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        ours = functools.partial(_import_ms, "numpy, powerprobe", environment)
        limit = functools.partial(_import_ms, "numpy", environment)
        pairs = interleaved(8 if quick else 60, ours, limit)
    yield row(
        "import_ms_over_numpy",
        "ms",
        pairs,
        limit_is="`import numpy`",
        goal=Goal(most_beyond=10.0),
        note=f"{beyond(pairs, 'ms')}; CPU time of fresh interpreters, files in the page cache and compiled",
    )


# A counter that nobody trusts to be fresh for any time: each reading is an edge, also when it rests.
_ALWAYS_NEW: dict[str, Any] = {"name": "package-0", "joules_per_count": 1e-6, "stale_ns": 0, "steps": [(0, 0)]}


def _resting_probe() -> powerprobe.Probe:
    return powerprobe.Probe(sources=powerprobe.replay([_ALWAYS_NEW]), period=1.0, history=10.0)


def _filled(count: int) -> _core.Probe:
    """A probe at rest whose ring holds at least that many edges."""
    probe = _core.Probe([powerprobe.replay([_ALWAYS_NEW])], "poll", 1, count)  # a period that is always over
    probe.start()
    probe.ask()
    deadline = time.monotonic() + 60.0
    while len(probe.view(0)) < count and time.monotonic() < deadline:
        time.sleep(0.01)
    probe.release()
    probe.stop()
    if len(probe.view(0)) < count:
        raise RuntimeError(f"no {count} edges within a minute")
    return probe


def _nanoseconds(statement: str, **names: object) -> Callable[[], float]:
    """CPU time of one execution; the loop around it is spread over many."""
    loops = 500
    timer = timeit.Timer("\n".join([statement] * UNROLLED), timer=time.thread_time_ns, globals=names)
    return lambda: timer.timeit(loops) / (loops * UNROLLED)


def _import_ms(modules: str, environment: dict[str, str]) -> float:
    program = f"import time; begin = time.thread_time_ns(); import {modules}; print(time.thread_time_ns() - begin)"
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60, env=environment)
    return int(done.stdout) * 1e-6
