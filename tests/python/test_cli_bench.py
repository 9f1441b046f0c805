# SPDX-License-Identifier: MIT
"""`powerprobe bench` as a subprocess: figures against an exact truth, what goes where, exit statuses."""

from __future__ import annotations

import csv
import io
import json
import random
import re
import signal
import statistics
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cli_machine import COMMAND, environment, powerprobe, recording
from hypothesis import given
from hypothesis import strategies as st

from powerprobe.cli.bench_runs import parsed, schedule

SHORT, LONG = "sleep 0.02", "sleep 0.08"
WATTS = {"package-0": 40.0, "core-0": 10.0, "dram-0": 2.0}
SPREAD = {"mean", "low", "high", "stddev", "min", "max"}


@pytest.fixture
def played(tmp_path: Path) -> list[str]:
    """bench of a machine whose package takes 40 W, 10 of them in its cores, and whose memory takes 2."""
    return ["bench", "--replay", str(recording(tmp_path, WATTS)), "--baseline", "50ms", "-w", "0"]


def result_of(played: list[str], *options: str | Path) -> dict[str, Any]:
    done = powerprobe(*played, "--export-json", "-", *options)
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result


@given(st.integers(1, 6), st.integers(1, 20), st.integers())
def test_rounds_have_each_command_once_in_an_order_of_the_seed(commands: int, repeat: int, seed: int) -> None:
    order = schedule(commands, repeat, True, random.Random(seed))

    for i in range(0, len(order), commands):
        assert sorted(order[i : i + commands]) == list(range(commands))
    assert order == schedule(commands, repeat, True, random.Random(seed))
    assert schedule(2, 3, False, random.Random(seed)) == [0, 0, 0, 1, 1, 1]


def test_orders_differ() -> None:
    pairs = schedule(2, 50, True, random.Random(1))
    assert {tuple(pairs[i : i + 2]) for i in range(0, 100, 2)} == {(0, 1), (1, 0)}


def test_a_command_is_split_as_a_shell_would() -> None:
    assert parsed("""prog 'a b' "c d" e\\ f $HOME""", shell=False).argv == ["prog", "a b", "c d", "e f", "$HOME"]
    assert parsed("a | b", shell=True).argv == ["sh", "-c", "a | b"]
    for wrong in ("", "  ", "'open"):
        with pytest.raises(ValueError):
            parsed(wrong, shell=False)


def test_means_are_power_times_time_on_every_channel(played: list[str]) -> None:
    result = result_of(played, "-r", "5", LONG)
    (record,) = result["commands"]

    seconds = [run["seconds"] for run in record["runs"]]
    assert record["seconds"]["mean"] == pytest.approx(statistics.mean(seconds))
    assert record["seconds"]["stddev"] == pytest.approx(statistics.stdev(seconds))
    for name, watts in {**WATTS, "total": 42.0}.items():
        each = record["total"] if name == "total" else record["channels"][name]
        assert each["lower"] <= watts * statistics.mean(seconds) <= each["upper"]
        runs = [run["total"] if name == "total" else run["channels"][name] for run in record["runs"]]
        assert each["lower"] <= statistics.mean(run["lower"] for run in runs)
        assert each["upper"] >= statistics.mean(run["upper"] for run in runs)
        assert each["joules"]["low"] <= each["joules"]["mean"] <= each["joules"]["high"]
        assert each["provenance"] == "measured"
        assert result["baseline"]["before"][name] == pytest.approx(watts, rel=0.1)
    assert abs(record["total"]["net_joules"]["mean"]) < 0.1 * record["total"]["joules"]["mean"]
    assert record["watts"]["mean"] == pytest.approx(42.0, rel=0.1)


def test_json_has_the_documented_keys(played: list[str]) -> None:
    result = result_of(played, "-r", "2", "--compare", SHORT, LONG)
    text = (Path(__file__).parents[2] / "docs/json.md").read_text().partition("## bench")[2]

    def documented(key: str) -> bool:
        return f"`{key}`" in text

    first, second = result["commands"]
    assert set(first["total"]["joules"]) == set(first["seconds"]) == SPREAD
    for keys in (result, first, first["total"], second["against_first"], second["against_first"]["joules"]):
        assert all(documented(key) for key in keys), [key for key in keys if not documented(key)]
    assert first["against_first"] is None


def test_compared_commands_are_told_apart_and_the_verdict_says_so(played: list[str]) -> None:
    result = result_of(played, "-r", "6", "--compare", "--seed", "5", SHORT, LONG)

    against = result["commands"][1]["against_first"]
    times = [record["seconds"]["mean"] for record in result["commands"]]
    assert against["joules"]["ratio"]["value"] == pytest.approx(times[1] / times[0], rel=0.2)
    assert against["joules"]["ratio"]["low"] > 1.0
    assert re.match(r"2 takes [\d.]+ % \[[\d.]+, [\d.]+\] more than 1", against["verdict"])
    assert against["net_joules"]["ratio"]["value"] is None  # under constant power nothing is net
    assert (result["compared"], result["seed"]) == (True, 5)


def test_rounds_run_the_commands_in_turn(played: list[str], tmp_path: Path) -> None:
    log = tmp_path / "log"
    powerprobe(*played, "-r", "4", "--compare", "-S", f"echo a >> {log}", f"echo b >> {log}")
    rounds = log.read_text().split()
    assert [set(rounds[i : i + 2]) for i in range(0, 8, 2)] == [{"a", "b"}] * 4

    log.unlink()
    powerprobe(*played, "-r", "2", "-w", "1", "-S", f"echo a >> {log}", f"echo b >> {log}")
    assert log.read_text().split() == ["a"] * 3 + ["b"] * 3


def test_each_run_is_prepared(played: list[str], tmp_path: Path) -> None:
    log = tmp_path / "log"
    powerprobe(*played, "-r", "2", "-w", "1", "-S", "--prepare", f"echo p >> {log}", f"echo r >> {log}")
    assert log.read_text().split() == ["p", "r"] * 3

    done = powerprobe(*played, "--prepare", "false", "true")
    assert done.returncode == 4
    assert "'false', which prepares each run, ended with status 1" in done.stderr


def test_the_table_shows_what_hyperfine_users_look_for(played: list[str]) -> None:
    done = powerprobe(*played, "-r", "3", "--compare", "--histogram", SHORT, LONG)
    lines = done.stdout.splitlines()

    number = r"-?\d+(\.\d+)?"
    for label, unit in (("package-0", "J"), ("  core-0", "J"), ("total", "J"), ("net of idling", "J"), ("time", "s")):
        row = rf"  {label}\s+{number} ± {number}\s+{unit}\s+{number} … {number}\s+\[{number}, {number}\]"
        assert sum(bool(re.match(row, line)) for line in lines) == 2, label
    assert f" 1: '{SHORT}' (3 runs)" in lines
    assert any(line.startswith(" Against 1, in 3 rounds of random order (--seed ") for line in lines)
    assert any(re.match(r"  energy: 2 takes .* more than 1", line) for line in lines)
    assert sum("|" in line for line in lines) == 2
    assert "idling took" in done.stdout
    assert all(line == line.rstrip() for line in lines)
    assert "\x1b" not in done.stdout


def test_commands_that_are_only_listed_get_ratios_and_no_verdict(played: list[str]) -> None:
    text = powerprobe(*played, "-r", "2", SHORT, LONG).stdout

    assert re.search(r"2: [\d.]+ times the energy, [\d.]+ times the time, [\d.]+ times the power", text)
    assert "--compare" in text
    assert "more than" not in text


def test_what_commands_print_is_discarded_unless_it_is_asked_for(played: list[str]) -> None:
    said = "sh -c 'echo out; echo err >&2; cat'"
    done = powerprobe(*played, "-r", "2", said, input="through\n")
    assert (done.stderr, "out\n" in done.stdout) == ("", False)

    done = powerprobe(*played, "-r", "1", "--show-output", said, input="through\n")
    assert done.stdout.startswith("out\nthrough\n")
    assert "err\n" in done.stderr


def test_exports_are_written_and_read_back(played: list[str], tmp_path: Path) -> None:
    paths = {kind: tmp_path / f"r.{kind}" for kind in ("json", "csv", "markdown")}
    options = [str(each) for kind, path in paths.items() for each in (f"--export-{kind}", path)]
    done = powerprobe(*played, "-r", "3", "--compare", *options, SHORT, "sleep 0.03 0.01")
    assert "total" in done.stdout

    record = json.loads(paths["json"].read_text())["commands"][0]
    rows = list(csv.DictReader(io.StringIO(paths["csv"].read_text())))
    assert [row["command"] for row in rows] == [SHORT, "sleep 0.03 0.01"]
    assert float(rows[0]["joules_mean"]) == record["total"]["joules"]["mean"]
    assert (rows[0]["ratio"], float(rows[1]["ratio"]) > 1.0) == ("", True)
    table = paths["markdown"].read_text().splitlines()
    assert len(table) == 4
    assert len({line.count("|") for line in table}) == 1
    assert f"`{SHORT}`" in table[2]


def test_a_pipe_in_a_command_does_not_break_the_markdown(played: list[str]) -> None:
    done = powerprobe(*played, "-r", "1", "-S", "--export-markdown", "-", "true | true")
    assert "`true \\| true`" in done.stdout
    assert "total" in done.stderr  # the table for people makes room


def test_a_file_that_cannot_be_written_is_said_before_anything_runs(played: list[str], tmp_path: Path) -> None:
    for option, name in (("--export-json", "no/r"), ("--export-csv", "no/r"), ("--plot", "no/r.png")):
        done = powerprobe(*played, option, tmp_path / name, f"touch {tmp_path}/ran")
        assert done.returncode == 2
        assert "No such file or directory" in done.stderr
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(("suffix", "begin"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")])
def test_runs_can_be_plotted(played: list[str], tmp_path: Path, suffix: str, begin: bytes) -> None:
    path = tmp_path / f"plot.{suffix}"
    done = powerprobe(*played, "-r", "3", "--plot", path, SHORT, "sh -c 'echo $HOME $x'")
    assert (done.returncode, done.stderr) == (0, "")
    assert path.read_bytes().startswith(begin)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["-r", "0", "true"], "-r"),
        (["--compare", "true"], "two commands"),
        (["--max-joules", "1", "-r", "1", "true"], "one run has no interval"),
        (["--max-joules", "0", "true"], "--max-joules"),
        (["--margin", "0", "--compare", "true", "true"], "--margin"),
        (["--plot", "plot.jpeg2000", "true"], ".svg"),
        (["--baseline", "never", "true"], "never"),
        (["", "true"], "is no command: it is empty"),
        (["true", "echo 'open"], "No closing quotation"),
        (["--sources", "cpu_model", "true"], "--replay"),
        (["--channels", "gpu-*", "true"], "gpu-*"),
        ([], "COMMAND"),
    ],
)
def test_wrong_usage_is_status_2_with_a_sentence(played: list[str], options: list[str], says: str) -> None:
    done = powerprobe(*played, *options)

    assert done.returncode == 2
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_a_command_that_cannot_be_started_is_named(played: list[str], tmp_path: Path) -> None:
    done = powerprobe(*played, "no-such-command -x")
    assert (done.returncode, done.stderr) == (127, "powerprobe: cannot start 'no-such-command': command not found\n")
    assert powerprobe(*played, str(tmp_path)).returncode == 126


def test_a_command_that_fails_ends_it_unless_that_is_ignored(played: list[str]) -> None:
    done = powerprobe(*played, "-r", "2", "sh -c 'exit 7'")
    assert done.returncode == 4
    assert "'sh -c 'exit 7'' ended with status 7" in done.stderr
    assert "--ignore-failure" in done.stderr

    done = powerprobe(*played, "-r", "2", "-i", "sh -c 'exit 7'")
    assert done.returncode == 0
    assert "failures: 2 of 2 runs" in done.stdout
    assert "killed by signal 9" in powerprobe(*played, "sh -c 'kill -KILL $$'").stderr


def test_a_budget_is_a_matter_of_the_upper_end_of_the_interval(played: list[str], tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    assert powerprobe(*played, "-r", "3", "--max-joules", "1000", SHORT).returncode == 0
    done = powerprobe(*played, "-r", "3", "--max-joules", "1", "--export-json", path, SHORT, LONG)

    assert done.returncode == 1
    assert re.search(rf"over the budget of 1 J: '{LONG}' takes [\d.]+ J \[[\d.]+, [\d.]+\]", done.stderr)
    assert len(json.loads(path.read_text())["commands"]) == 2  # what was measured is shown and written all the same


def test_an_estimate_says_so_and_gives_no_verdict() -> None:
    options = ("bench", "--sources", "cpu_model", "--baseline", "0", "-r", "2", "-w", "0")
    text = powerprobe(*options, "--compare", SHORT, LONG).stdout

    assert re.search(r"cpu\s+~[\d.]+", text)
    assert "~ estimated from CPU time, not measured" in text
    assert "energy: cannot tell: this is an estimate" in text
    assert "net of idling" not in text


def test_strict_exits_with_3_where_there_is_only_an_estimate(tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    done = powerprobe("bench", "--root", tmp_path, "--strict", "true")
    assert done.returncode == 3
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(("missing", "options"), [("scipy", []), ("matplotlib", ["--plot", "x.png"])])
def test_a_missing_package_is_one_sentence_with_the_command(
    python: Callable, tmp_path: Path, played: list[str], missing: str, options: list[str]
) -> None:
    done = python(f"""
        import sys
        sys.modules[{missing!r}] = None
        from powerprobe.cli import main
        sys.exit(main({[*played, *options, f"touch {tmp_path}/ran"]!r}))
    """)
    assert done.returncode == 3
    assert f"needs the package {missing}, which is not installed" in done.stderr
    assert f"pip install '{missing}" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "ran").exists()


# ---- Ctrl-C


def interrupted(*args: str, ready: Path, to_group: bool = True) -> tuple[int, str]:
    """Sends ctrl-C as a terminal does when a command opens the named pipe."""
    import os

    os.mkfifo(ready)
    process = subprocess.Popen(
        [*COMMAND, *args],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
        start_new_session=True,
    )
    with open(ready) as pipe:
        pipe.read()
    os.killpg(process.pid, signal.SIGINT)
    output, errors = process.communicate(timeout=30)
    assert "Traceback" not in errors
    return process.returncode, output


def test_ctrl_c_shows_the_whole_rounds_until_then(played: list[str], tmp_path: Path) -> None:
    # The third run of the second command says that it is there, and waits.
    waits = f"echo x >> {tmp_path}/n; [ $(wc -l < {tmp_path}/n) -lt 3 ] || {{ echo > {tmp_path}/p; exec sleep 30; }}"
    path = tmp_path / "r.json"
    other_first = next(seed for seed in range(100) if schedule(2, 3, True, random.Random(seed))[4] == 0)
    options = ("-r", "9", "--compare", "--seed", str(other_first), "-S")
    status, output = interrupted(*played, *options, "--export-json", str(path), "true", waits, ready=tmp_path / "p")

    assert status == -signal.SIGINT
    assert "interrupted: this is what was measured until then" in output
    result = json.loads(path.read_text())
    assert [len(record["runs"]) for record in result["commands"]] == [2, 2]
    assert result["interrupted"] is True
    assert result["baseline"] is None


def test_ctrl_c_before_the_first_run_has_ended_shows_nothing(played: list[str], tmp_path: Path) -> None:
    status, output = interrupted(*played, "-S", f"echo > {tmp_path}/p; exec sleep 30", ready=tmp_path / "p")

    assert (status, output) == (-signal.SIGINT, "")
