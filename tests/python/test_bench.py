# SPDX-License-Identifier: MIT
"""The benchmarks run, and what they conclude from figures is right. No figure is judged here."""

from __future__ import annotations

import importlib
import importlib.util
import json
import math
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
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
def bench() -> Iterator[Callable[[str], ModuleType]]:
    # By its path: the repository as an import root would put the sources in front of the installed package.
    folder = REPOSITORY / "bench"
    spec = importlib.util.spec_from_file_location(
        "bench", folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    assert spec is not None
    sys.modules["bench"] = importlib.util.module_from_spec(spec)
    yield lambda name: importlib.import_module(f"bench.{name}")
    for name in [name for name in sys.modules if name.partition(".")[0] == "bench"]:
        del sys.modules[name]


@pytest.fixture
def measure(bench: Callable[[str], ModuleType]) -> ModuleType:
    return bench("measure")


@pytest.fixture
def native_says(
    bench: Callable[[str], ModuleType], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], None]:
    """Puts a shell script in the place of the native half; $1 is the benchmark's name."""

    def say(script: str) -> None:
        program = tmp_path / "native"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o700)
        monkeypatch.setattr(bench("native"), "program", lambda: program)

    return say


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
        ({"least": 100.0}, [(100.0, math.nan)], True),
        ({"least": 100.0}, [(99.99, math.nan)] * 5, False),
        ({"least": 100.0}, [(99.0, math.nan), (100.0, math.nan)] * 5, None),
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


def test_a_figure_without_a_limit_has_no_ratio(measure: ModuleType) -> None:
    figure = measure.figure("x", "us", [1.0, 2.0, 9.0], goal=measure.Goal(most=3.0))

    assert (figure.value, figure.low, figure.high, figure.pairs) == (2.0, 1.5, 5.5, 3)
    assert (figure.limit, figure.ratio, figure.ratio_low, figure.ratio_high) == (None, None, None, None)
    assert (figure.goal, figure.met) == ("<= 3 us", None)


TRACKED = '{"median_us": 0.25, "p99_us": 500, "tight_median_us": 0.2, "tight_p99_us": 0.9, "caught_share": 0.9, "cpu_share": 0.08}'


def test_tracking_gives_its_rows_for_each_counter_and_says_which_is_not_here(
    bench: Callable[[str], ModuleType], native_says: Callable[[str], None]
) -> None:
    native_says(f"""
        case $1 in *one-watt) echo 'no msr PMU' >&2; exit 3;; esac
        echo '{{"what": "a counter"}}'
        for i in $(seq $2); do echo '{TRACKED}'; done""")

    *rows, missing = sorted(bench("accuracy").edge_location(True), key=lambda row: row.case == "one-watt reference")

    assert missing == bench("measure").NotHere("edge_location_median_us", "one-watt reference", "no msr PMU")
    assert len({row.case for row in rows}) == 6
    first = [(row.name, row.value, row.unit, row.goal, row.met) for row in rows[:4]]
    assert first == [
        ("edge_location_median_us", 0.25, "us", "<= 2 us", True),
        ("edge_location_p99_us", 500.0, "us", "", None),
        ("track_cpu_share", 8.0, "% of a core", "<= 7 % of a core", False),
        ("edges_caught_share", 90.0, "%", "", None),
    ]


def regions_say(outside: int) -> str:
    figures = '"ours": 0.5, "ours_p90": 1, "ends": 20, "ends_p90": 30, "lerp10ms": 10, "lerp10ms_p90": 12, "width": 200'
    return f"""
        echo '{{"what": "a counter"}}'
        for i in $(seq $2); do for length in 50 200 1000 5000 20000 100000; do
            echo '{{{figures}, "caught_share": 0.9, "regions": 500, "outside": {outside}, "length_us": '$length'}}'
        done; done"""


def test_regions_stand_beside_what_others_would_have_said(
    bench: Callable[[str], ModuleType], native_says: Callable[[str], None]
) -> None:
    native_says(regions_say(outside=0))

    rows = list(bench("accuracy").region_error(True))

    of_one_counter = {row.name: row for row in rows if row.case == "20 us of jitter"}
    assert set(of_one_counter) == {"bounds_coverage"} | {
        f"region_{length}_{load}_{twin}error_median_pct"
        for length in ("50us", "200us", "1ms", "5ms", "20ms", "100ms")
        for load in ("const", "square", "burst")
        for twin in ("", "ends_", "lerp10ms_")
    }
    ours = of_one_counter["region_1ms_const_error_median_pct"]
    assert (ours.value, ours.limit, ours.ratio, ours.goal, ours.met) == (0.5, 20.0, 40.0, "<= 2 %", True)
    assert of_one_counter["region_1ms_const_ends_error_median_pct"].value == 20.0
    assert of_one_counter["region_1ms_const_lerp10ms_error_median_pct"].value == 10.0
    assert (of_one_counter["bounds_coverage"].value, of_one_counter["bounds_coverage"].met) == (100.0, True)


def test_one_region_outside_its_bounds_is_a_goal_missed(
    bench: Callable[[str], ModuleType], native_says: Callable[[str], None]
) -> None:
    native_says(regions_say(outside=1))

    coverages = [row for row in bench("accuracy").region_error(True) if row.name == "bounds_coverage"]

    assert [row.met for row in coverages] == [False] * 4
    assert coverages[0].note == "36 of 18000 regions outside their bounds; 90% of the steps caught meanwhile"


def test_the_table_has_a_line_for_each_region_and_says_what_is_not_here(
    bench: Callable[[str], ModuleType], native_says: Callable[[str], None]
) -> None:
    native_says(regions_say(outside=0))
    facts = dict.fromkeys([*MACHINE_KEYS, "powerprobe", "date", "numpy", "compiler", "load_after"], "?")
    missing = bench("measure").NotHere("track_watts", "", "no counter")

    table = bench("__main__").markdown(facts, list(bench("accuracy").region_error(True)), [missing])

    cells = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines() if line.startswith("|")
    ]
    assert cells[:3] == [
        ["what", "case", "ours", "quartiles", "limit", "ratio", "quartiles", "goal", "met"],
        ["-" * len(cell) for cell in cells[1]],
        ["bounds_coverage", "metronome", "100 %", "100-100", "-", "-", "-", ">= 100 %", "yes"],
    ]
    line = ["1ms", "const", "20 us of jitter", "0.5 %", "0.5-0.5", "20 %", "10 %", "40x", "<= 2 %", "yes"]
    assert cells.count(line) == 1
    assert len(cells) == (2 + 4) + (2 + 4 * 18)
    assert "- track_watts: not measured here: no counter" in table


def test_the_picture_has_a_panel_for_each_load_and_counter(
    bench: Callable[[str], ModuleType], native_says: Callable[[str], None], tmp_path: Path
) -> None:
    pytest.importorskip("matplotlib")
    native_says(regions_say(outside=0))
    facts = {"cpu": "Some CPU", "cpus": 2, "hypervisor": "kvm", "kernel": "6.18", "date": "2026-11-25T08:00"}

    bench("plot").draw(
        list(bench("accuracy").region_error(True)), facts | {"load": [1.0], "load_after": [2.0]}, tmp_path / "a/b.svg"
    )

    text = (tmp_path / "a/b.svg").read_text()
    assert text.count('id="axes_') == 12
    for words in (
        "powerprobe",
        "two readings, at the ends",
        "20 us of jitter",
        "constant load",
        "Some CPU",
        "load 1.0 before",
    ):
        assert text.count(words) == 1


def test_a_picture_of_what_was_not_asked_for_is_refused() -> None:
    command = [sys.executable, "-m", "bench", "publish_ns", "--plot", "x.svg"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)

    assert done.returncode == 2
    assert "region_error" in done.stderr


@pytest.mark.skipif(shutil.which("cmake") is None, reason="the native benchmarks need cmake")
@pytest.mark.parametrize("name", ["track-shaken", "burst-stamped"])
def test_tracks_a_counter_whose_truth_is_known(bench: Callable[[str], ModuleType], name: str) -> None:
    what, figures = bench("native").lines(name, 1)

    assert what.startswith("each reading is one of ")
    assert len(figures) == (1 if name == "track-shaken" else 6)
    for each in figures:
        assert all(math.isfinite(value) for value in each.values())
        assert each.get("outside", 0) == 0
        assert each.get("regions", 500) == 500


@pytest.mark.skipif(shutil.which("cmake") is None, reason="the native benchmarks need cmake")
def test_watts_are_measured_or_said_to_be_missing(tmp_path: Path) -> None:
    result = run(tmp_path, "track_watts")

    assert [each["name"] for each in result["rows"] + result["not_here"]] == ["track_watts"]
