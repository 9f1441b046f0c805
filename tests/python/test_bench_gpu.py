# SPDX-License-Identifier: MIT
"""The benchmarks of GPUs: what they conclude from figures is right, and the report runs against a fake board."""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from fake_nvml import GPU, Board, Script, environment

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def fake_gpu() -> Iterator[ModuleType]:
    folder = REPOSITORY / "bench"
    spec = importlib.util.spec_from_file_location(
        "bench", folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    assert spec is not None
    sys.modules["bench"] = importlib.util.module_from_spec(spec)
    yield importlib.import_module("bench.fake_gpu")
    for name in [name for name in sys.modules if name.partition(".")[0] == "bench"]:
        del sys.modules[name]


def errors(fake_gpu: ModuleType, ours: list[float], ends: list[float], outside: int = 0) -> Any:
    return fake_gpu.Errors(ours=ours, ends=ends, outside=outside, width=0.25)


def test_a_row_is_over_all_loads_and_its_quartiles_are_of_quarters(fake_gpu: ModuleType) -> None:
    loads = {
        "const": errors(fake_gpu, [1.0] * 8, [10.0] * 8),
        "bursts": errors(fake_gpu, [3.0, 5.0, 7.0, 9.0] * 2, [30.0] * 8),
    }
    row = fake_gpu._row("counter 100 ms", 100, loads)
    assert row.name == "gpu_region_100ms_error_median_pct"
    # Quarter i has every fourth region of each load: medians of (1, 1, 3, 3), (1, 1, 5, 5), ...
    assert (row.value, row.low, row.high) == (3.5, 2.75, 4.25)
    assert row.limit == 20.0
    assert row.ratio == pytest.approx(np.median([20 / 2, 20 / 3, 20 / 4, 20 / 5]))
    assert (row.goal, row.met) == ("<= 3 %", None)
    assert "const: median 1 %" in row.note and "bursts: median 6 %" in row.note and "bounds 25 % wide" in row.note


def test_only_boards_with_a_counter_that_sees_all_have_a_goal(fake_gpu: ModuleType) -> None:
    loads = {"const": errors(fake_gpu, [1.0] * 8, [float("nan")] * 8)}
    assert fake_gpu._row("no counter", 500, loads).goal == ""
    assert fake_gpu._row("no counter", 500, loads).limit is None
    assert fake_gpu._row("part-time sensor", 500, loads).goal == ""
    assert fake_gpu._row("counter 20 ms", 500, loads).goal == "<= 1 %"
    assert fake_gpu._row("counter 20 ms", 50, loads).goal == ""


@pytest.mark.skipif(shutil.which("cmake") is None, reason="the native benchmarks need cmake")
def test_all_rows_are_there(tmp_path: Path) -> None:
    file = tmp_path / "result.json"
    command = [sys.executable, "-m", "bench", "gpu_region", "gpu8_cpu_share_over_calls", "--quick", "--json", str(file)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stderr
    rows = json.loads(file.read_text())["rows"]
    kinds = {"counter 20 ms", "counter 100 ms", "counter 100 ms, buffer 20 ms", "part-time sensor", "no counter"}
    for name in (*(f"gpu_region_{ms}ms_error_median_pct" for ms in (20, 50, 100, 500)), "gpu_bounds_coverage"):
        assert {row["case"] for row in rows if row["name"] == name} == kinds
    cpu = [row for row in rows if row["name"] == "gpu8_cpu_share_over_calls"]
    assert [row["case"] for row in cpu] == ["counters of 20 ms", "counters of 100 ms"]
    assert all(row["value"] > row["limit"] > 0.0 for row in cpu)
    # A figure that is not judged elsewhere: no bounds may ever be wrong.
    assert all(row["value"] == 100.0 for row in rows if row["name"] == "gpu_bounds_coverage")


def report(*arguments: str, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "bench.gpu", *arguments]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=300, check=False, env=env)


def test_the_report_runs_on_a_fake_board(tmp_path: Path) -> None:
    pytest.importorskip("pynvml")
    changing = [(650_000, 100_000), (470_000, 380_000), (230_000, 200_000)]
    env = environment(Script(boards=[Board(compute_capability=(8, 9), waves={GPU: changing})]))
    files = [tmp_path / "report.json", tmp_path / "report.md"]
    done = report("--seconds", "3", "--json", str(files[0]), "--markdown", str(files[1]), env=env)
    assert done.returncode == 0, done.stderr
    result = json.loads(files[0].read_text())
    names = {row["name"] for row in result["rows"]}
    assert names >= {"gpu_call_us", "gpu_update_period_ms", "gpu_counter_step_joules", "gpu_sampler_cpu_share"}
    assert names >= {f"gpu_region_{ms}ms_error_median_pct" for ms in (20, 50, 100, 500)}
    assert {each["name"] for each in result["not_here"]} >= {"load"}
    assert result["machine"]["gpus"][0]["driver"] == "550.54.15"
    assert "| gpu_call_us " in files[1].read_text() and files[1].read_text().startswith("gpu-0: NVIDIA H100")


def test_a_machine_without_a_board_gets_a_sentence(tmp_path: Path) -> None:
    nothing = tmp_path / "libnvidia-ml.so.1"
    nothing.write_text("no library\n")
    done = report(env={**os.environ, "LD_LIBRARY_PATH": str(tmp_path)})
    assert done.returncode == 3
    assert done.stderr.startswith("bench.gpu: ") and "Traceback" not in done.stderr


@pytest.mark.parametrize("seconds", ["0", "61", "soon"])
def test_a_time_that_cannot_be_is_wrong_usage(seconds: str) -> None:
    done = report("--seconds", seconds, env=dict(os.environ))
    assert done.returncode == 2
    assert "--seconds" in done.stderr
