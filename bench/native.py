# SPDX-License-Identifier: MIT
"""Builds and runs the benchmarks that are written in C++."""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from .machine import REPOSITORY
from .measure import Pairs


@functools.cache
def program() -> Path:
    """build/bench/..., brought up to date. Raises RuntimeError with what the build said."""
    beside_python = str(Path(sys.executable).parent)
    cmake = shutil.which("cmake", path=os.pathsep.join([beside_python, os.environ.get("PATH", os.defpath)]))
    if cmake is None:
        raise RuntimeError("the native benchmarks need cmake 3.21 or newer: pip install cmake")
    build = ["--build", "--preset", "bench", "--target", "powerprobe_bench", "-j", str(os.cpu_count() or 1)]
    for step in (["--preset", "bench"], build):
        done = subprocess.run([cmake, *step], cwd=REPOSITORY, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"cmake {' '.join(step)} failed:\n{done.stdout}{done.stderr}")
    return REPOSITORY / "build/bench/bench/native/powerprobe_bench"


class Unavailable(RuntimeError):
    """This machine does not have what is to be measured. Says why."""


NOT_HERE = 3  # native/main.cpp's exit status for that


def lines(name: str, rounds: int, **environment: str) -> tuple[str, list[dict[str, float]]]:
    """What it says it measured, and the figures of each round."""
    done = subprocess.run(
        [program(), name, str(rounds)],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
        env={**os.environ, **environment},
    )
    if done.returncode == NOT_HERE:
        raise Unavailable(done.stderr.strip())
    if done.returncode != 0:
        raise RuntimeError(f"{name} failed: {done.stderr.strip()}")
    what, *figures = (json.loads(line) for line in done.stdout.splitlines())
    return what["what"], figures


def run(name: str, rounds: int) -> tuple[str, Pairs]:
    """The same for what is measured next to its limit."""
    what, figures = lines(name, rounds)
    return what, [(pair["ours"], pair["limit"]) for pair in figures]
