# SPDX-License-Identifier: MIT
"""The benchmarks run, and what they conclude from figures is right. No figure is judged here."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
ROW_KEYS = {
    "name",
    "case",
    "value",
    "unit",
    "low",
    "high",
    "limit",
    "limit_is",
    "ratio",
    "ratio_low",
    "ratio_high",
    "goal",
}
MACHINE_KEYS = {"cpu", "kernel", "governor", "affinity", "clocksource", "hypervisor", "load", "python", "commit"}


@pytest.fixture(scope="module")
def measure() -> ModuleType:
    # By its path: the repository as an import root would put the sources in front of the installed package.
    spec = importlib.util.spec_from_file_location("bench_measure", REPOSITORY / "bench/measure.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def run(tmp_path: Path, *arguments: str) -> Any:
    file = tmp_path / "result.json"
    command = [sys.executable, "-m", "bench", *arguments, "--quick", "--json", str(file)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stderr
    result = json.loads(file.read_text())
    for row in result["rows"]:
        assert set(row) == ROW_KEYS | {"met", "pairs", "note"}
        assert 0 < row["low"] <= row["value"] <= row["high"]
        assert f"| {row['name']} " in done.stdout
    assert set(result["machine"]) >= MACHINE_KEYS
    return result


def test_writes_a_row_for_each_case_and_the_machines_facts(tmp_path: Path) -> None:
    result = run(tmp_path, "region_python_ns")

    assert [row["name"] for row in result["rows"]] == ["region_python_ns"] * 2
    assert result["rows"][0]["goal"] == "<= 2x and <= 1000 ns"
    assert result["quick"] is True


@pytest.mark.skipif(shutil.which("cmake") is None, reason="the native benchmarks need cmake")
def test_builds_and_runs_the_native_half(tmp_path: Path) -> None:
    result = run(tmp_path, "publish_ns")

    assert [(row["name"], row["unit"], row["pairs"]) for row in result["rows"]] == [("publish_ns", "ns", 20)]


def test_names_a_figure_that_is_not_there() -> None:
    command = [sys.executable, "-m", "bench", "nonsense"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)

    assert done.returncode == 2
    assert "nonsense" in done.stderr
    assert "publish_ns" in done.stderr


def test_ratio_is_the_median_of_the_ratios_within_pairs(measure: ModuleType) -> None:
    pairs = [(1.0, 1.0), (20.0, 10.0), (300.0, 100.0)]

    row = measure.row("x", "ns", pairs, limit_is="y")
    faster = measure.row("x", "ns", pairs, limit_is="y", speedup=True)

    assert (row.ratio, row.value, row.limit) == (2.0, 20.0, 10.0)
    assert faster.ratio == 0.5


@pytest.mark.parametrize(
    ("goal", "pairs", "met"),
    [
        ({"most": 15.0}, [(7.0, 1.0)] * 5, True),
        ({"most": 15.0}, [(16.0, 1.0)] * 5, False),
        ({"most": 15.0}, [(14.0, 1.0), (16.0, 1.0)] * 5, None),
        ({"most_ratio": 2.0}, [(1.9, 1.0)] * 5, True),
        ({"most_ratio": 2.0}, [(2.1, 1.0)] * 5, False),
        ({"most_beyond": 10.0}, [(109.0, 100.0)] * 5, True),
        ({"most_beyond": 10.0}, [(111.0, 100.0)] * 5, False),
        ({"least_speedup": 8.0}, [(1.0, 9.0)] * 5, True),
        ({"least_speedup": 8.0}, [(1.0, 7.0)] * 5, False),
        ({"least_speedup": 8.0}, [(1.0, 7.0), (1.0, 9.0)] * 5, None),
        ({"most": 15.0, "most_ratio": 2.0}, [(14.0, 1.0)] * 5, False),
        ({"most_ratio": 2.0, "most": 15.0}, [(14.0, 13.0), (16.0, 15.0)] * 5, None),
        ({}, [(1.0, 1.0)] * 5, None),
    ],
)
def test_a_goal_is_met_when_it_holds_at_both_quartiles(
    measure: ModuleType, goal: dict[str, float], pairs: list[tuple[float, float]], met: bool | None
) -> None:
    assert measure.Goal(**goal).met(pairs) is met


def test_the_two_sides_take_turns_at_beginning(measure: ModuleType) -> None:
    calls: list[str] = []

    def ours() -> float:
        calls.append("ours")
        return 1.0

    def limit() -> float:
        calls.append("limit")
        return 2.0

    pairs = measure.interleaved(3, ours, limit)

    assert pairs == [(1.0, 2.0)] * 3
    assert calls[2:] == ["ours", "limit", "limit", "ours", "ours", "limit"]
