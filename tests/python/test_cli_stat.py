# SPDX-License-Identifier: MIT
"""`powerprobe stat` as a subprocess: figures against an exact truth, what goes where, exit statuses."""

from __future__ import annotations

import itertools
import json
import os
import re
import shlex
import statistics
import subprocess
import sys
from pathlib import Path

import pytest
from cli_machine import COMMAND, Load, Machine, as_nobody, environment, powerprobe, recording, shell

RECORD = {"joules", "lower", "upper", "watts", "provenance", "source"}
SINGLE = {
    "schema",
    "command",
    "exit_status",
    "interrupted",
    "seconds",
    "start_ns",
    "end_ns",
    "channels",
    "total",
    "command_cpu",
    "overhead",
    "gpus",
    "losses",
    "unknown",
    "refusals",
}
SKYLAKE_BUSY_WATTS = 4.1042  # per CPU, see csrc/sources/cpu_model_data.cpp
RUN = {"exit_status", "seconds", "start_ns", "end_ns", "channels", "total", "gpus", "command_cpu"}
COMMAND_CPU = {"seconds", "user_seconds", "system_seconds"} | RECORD


@pytest.fixture
def played(tmp_path: Path) -> list[str]:
    """stat of a machine whose package takes 40 W, 10 of them in its cores, and whose memory takes 2."""
    return ["stat", "--replay", str(recording(tmp_path, {"package-0": 40.0, "core-0": 10.0, "dram-0": 2.0}))]


def assert_contains(record: dict[str, float], truth: float) -> None:
    assert record["lower"] <= truth <= record["upper"]
    assert record["lower"] <= record["joules"] <= record["upper"]


def test_the_truth_lies_within_the_bounds(played: list[str]) -> None:
    result = json.loads(powerprobe(*played, "--json", "--", "sleep", "0.3").stderr)

    seconds = result["seconds"]
    assert 0.3 < seconds < 2
    for name, watts in {"package-0": 40.0, "core-0": 10.0, "dram-0": 2.0}.items():
        assert_contains(result["channels"][name], watts * seconds)
        assert result["channels"][name]["upper"] - result["channels"][name]["lower"] < 0.3 * watts


def test_the_total_adds_only_what_is_inside_nothing_else(played: list[str]) -> None:
    result = json.loads(powerprobe(*played, "--json", "--", "sleep", "0.1").stderr)

    channels = result["channels"]
    for key in ("joules", "lower", "upper", "watts"):
        assert result["total"][key] == pytest.approx(channels["package-0"][key] + channels["dram-0"][key])


def test_powercap_files_that_move_are_measured_within_bounds(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    package = machine.zone("intel-rapl:0", "package-0")
    core = machine.zone("intel-rapl:0:0", "core")

    with Load({package: 30.0, core: 12.0}):
        done = powerprobe("stat", "--root", tmp_path, "--json", "--", "sleep", "0.3")

    result = json.loads(done.stderr)
    assert list(result["channels"]) == ["package-0", "core-0"]
    assert_contains(result["channels"]["package-0"], 30.0 * result["seconds"])
    assert_contains(result["channels"]["core-0"], 12.0 * result["seconds"])
    assert result["total"]["source"] == "rapl_powercap"
    assert result["total"]["provenance"] == "measured"


def test_json_has_the_documented_keys(played: list[str]) -> None:
    result = json.loads(powerprobe(*played, "--json", "--", "true").stderr)

    assert set(result) == SINGLE
    assert result["schema"] == 1
    assert result["command"] == ["true"]
    assert set(result["channels"]) == {"package-0", "core-0", "dram-0"}
    for record in (*result["channels"].values(), result["total"]):
        assert set(record) == RECORD
    assert set(result["command_cpu"]) == COMMAND_CPU
    assert set(result["overhead"]) == {"cpu_seconds", "cpu_share"}
    assert set(result["losses"]) == {"dropped", "late", "missed_ticks", "retries", "resets", "wraps"}
    assert result["unknown"] == {}
    assert result["seconds"] == pytest.approx((result["end_ns"] - result["start_ns"]) * 1e-9)


def test_json_of_repeats_has_the_documented_keys_and_right_statistics(played: list[str]) -> None:
    result = json.loads(powerprobe(*played, "-r", "4", "--json", "--", "sleep", "0.02").stderr)

    assert set(result) == SINGLE | {"runs", "spread"}
    runs = result["runs"]
    assert len(runs) == 4
    assert all(set(run) == RUN for run in runs)
    assert all(a["end_ns"] <= b["start_ns"] for a, b in itertools.pairwise(runs))
    seconds = [run["seconds"] for run in runs]
    assert result["seconds"] == pytest.approx(statistics.mean(seconds))
    assert result["spread"]["seconds"] == pytest.approx(
        {"stddev": statistics.stdev(seconds), "min": min(seconds), "max": max(seconds)}
    )
    joules = [run["channels"]["dram-0"]["joules"] for run in runs]
    assert result["channels"]["dram-0"]["joules"] == pytest.approx(statistics.mean(joules))
    assert result["spread"]["channels"]["dram-0"] == pytest.approx(
        {"stddev": statistics.stdev(joules), "min": min(joules), "max": max(joules)}
    )
    assert_contains(result["total"], 42.0 * statistics.mean(seconds))
    totals = [run["total"]["joules"] for run in runs]
    assert result["spread"]["total"]["max"] == pytest.approx(max(totals))
    assert (result["start_ns"], result["end_ns"]) == (runs[0]["start_ns"], runs[-1]["end_ns"])


def test_one_repeat_has_no_standard_deviation(played: list[str]) -> None:
    result = json.loads(powerprobe(*played, "-r", "1", "--json", "--", "true").stderr)

    assert len(result["runs"]) == 1
    assert result["spread"]["seconds"]["stddev"] is None
    assert powerprobe(*played, "-r", "1", "--", "true").returncode == 0


def test_warm_up_runs_are_run_and_not_measured(played: list[str], tmp_path: Path) -> None:
    log = tmp_path / "log"
    result = json.loads(
        powerprobe(*played, "--warmup", "2", "-r", "3", "--json", "--", *shell(f"echo x >> {log}")).stderr
    )

    assert log.read_text() == "x\n" * 5
    assert len(result["runs"]) == 3


def test_the_documented_example_has_the_keys_of_a_real_result(played: list[str]) -> None:
    text = (Path(__file__).parents[2] / "docs/json.md").read_text()
    example = json.loads(re.search(r'\{"schema".*?\}\]\}', text, re.DOTALL)[0])  # type: ignore[index]
    result = json.loads(powerprobe(*played, "--json", "--", "true").stderr)

    assert set(example) == set(result)
    for key in ("total", "command_cpu", "overhead", "losses"):
        assert set(example[key]) == set(result[key])
    assert set(example["channels"]["package-0"]) == set(result["channels"]["package-0"])


def test_the_result_goes_to_standard_error_and_the_commands_output_stays_whole(played: list[str]) -> None:
    done = powerprobe(*played, "--", *shell("echo out; echo err >&2"))

    assert done.stdout == "out\n"
    assert done.stderr.startswith("err\n")
    assert "Energy of" in done.stderr
    assert "package-0" in done.stderr


def test_the_command_gets_standard_input(played: list[str]) -> None:
    assert powerprobe(*played, "--", "cat", input="through").stdout == "through"


def test_the_table_shows_tree_bounds_total_and_time(played: list[str]) -> None:
    lines = powerprobe(*played, "--", "sleep", "0.1").stderr.splitlines()

    number = r"\d+\.\d+"
    bounds = rf"\[{number}, {number}\]"
    assert any(re.match(rf"\s+package-0\s+{number}\s+{bounds}\s+{number}\s+measured, replay", line) for line in lines)
    parent = next(line for line in lines if "package-0" in line)
    child = next(line for line in lines if "core-0" in line)
    assert child.index("core-0") == parent.index("package-0") + 2
    assert any(
        re.match(rf"\s+total\s+{number}\s+{bounds}\s+{number}\s+measured, package-0 \+ dram-0", line) for line in lines
    )
    assert any(re.search(rf"{number} s elapsed, {number} s user, {number} s sys", line) for line in lines)
    assert "~" not in "".join(lines)


def test_no_line_ends_in_blanks(played: list[str]) -> None:
    for options in ([], ["-r", "2"]):
        lines = powerprobe(*played, *options, "--", "true").stderr.splitlines()
        assert len(lines) > 5
        assert all(line == line.rstrip() for line in lines)


def test_a_stream_that_knows_only_ascii_ends_nothing(played: list[str]) -> None:
    done = powerprobe(*played, "-r", "2", "-o", "-", "--", "true", env=environment(PYTHONIOENCODING="ascii"))

    assert (done.returncode, done.stderr) == (0, "")
    assert "\\xb1" in done.stdout


def test_repeats_show_mean_deviation_and_range(played: list[str]) -> None:
    text = powerprobe(*played, "-r", "3", "--", "sleep", "0.05").stderr

    assert "(3 runs)" in text
    number = r"\d+(\.\d+)?"
    assert re.search(rf"package-0\s+{number} ± {number}\s+{number} … {number}\s+\[{number}, {number}\]", text)
    assert re.search(rf"{number} ± {number} s elapsed \({number} … {number}\)", text)


def test_nothing_but_text_goes_to_a_pipe(played: list[str]) -> None:
    done = powerprobe(*played, "-r", "3", "--", "true")

    assert "\x1b" not in done.stderr + done.stdout


@pytest.mark.parametrize(
    ("script", "status"), [("exit 0", 0), ("exit 7", 7), ("kill -KILL $$", 137), ("kill -SEGV $$", 139)]
)
def test_exits_with_the_status_of_the_command(played: list[str], script: str, status: int) -> None:
    done = powerprobe(*played, "--", *shell(script))

    assert done.returncode == status
    assert "package-0" in done.stderr
    assert json.loads(powerprobe(*played, "--json", "--", *shell(script)).stderr)["exit_status"] == status


def test_with_repeats_the_first_failure_is_the_status(played: list[str], tmp_path: Path) -> None:
    # Succeeds, then fails with 3, then with 4.
    script = f"n=$(cat {tmp_path}/n 2>/dev/null || echo 1); echo $((n+1)) > {tmp_path}/n; [ $n = 1 ] || exit $((n+1))"
    done = powerprobe(*played, "-r", "3", "--", *shell(script))

    assert done.returncode == 3
    assert "2 of 3 runs failed, the first with status 3" in done.stderr


def test_a_command_that_does_not_exist_is_127_and_named(played: list[str], tmp_path: Path) -> None:
    for name in ("no-such-command", str(tmp_path / "nor-this")):
        done = powerprobe(*played, "--", name)
        assert (done.returncode, done.stderr) == (127, f"powerprobe: cannot start '{name}': command not found\n")


def test_a_command_that_cannot_be_executed_is_126(played: list[str], tmp_path: Path) -> None:
    text = tmp_path / "text"
    text.write_text("echo no first line\n")
    for path in (text, tmp_path):
        done = powerprobe(*played, "--", path)
        assert done.returncode == 126
        assert done.stderr.startswith(f"powerprobe: cannot start '{path}': ")
        assert len(done.stderr.splitlines()) == 1
    text.chmod(0o755)
    assert "#!/bin/sh" in powerprobe(*played, "--", text).stderr
    script = tmp_path / "script"
    script.write_text("#!/no/such/interpreter\n")
    script.chmod(0o755)
    done = powerprobe(*played, "--", script)
    assert done.returncode == 127
    assert "interpreter" in done.stderr


def test_options_end_at_the_command(played: list[str]) -> None:
    assert powerprobe(*played, "sh", "-c", "echo $0 $1", "-r", "--json").stdout == "-r --json\n"


def test_an_output_file_gets_the_result_and_standard_error_nothing(played: list[str], tmp_path: Path) -> None:
    path = tmp_path / "result"
    done = powerprobe(*played, "-o", path, "--", "true")
    assert (done.stdout, done.stderr) == ("", "")
    assert "Energy of 'true'" in path.read_text()

    assert powerprobe(*played, "--json", "-o", path, "--", "true").stderr == ""
    assert json.loads(path.read_text())["command"] == ["true"]
    assert json.loads(powerprobe(*played, "--json", "-o", "-", "--", "true").stdout)["command"] == ["true"]


def test_an_output_file_that_cannot_be_written_is_said_before_the_command_runs(
    played: list[str], tmp_path: Path
) -> None:
    ran = tmp_path / "ran"
    done = powerprobe(*played, "-o", tmp_path / "no" / "folder", "--", "touch", ran)

    assert done.returncode == 2
    assert "No such file or directory" in done.stderr
    assert "Traceback" not in done.stderr
    assert not ran.exists()


def test_an_older_result_stays_when_the_command_cannot_be_started(played: list[str], tmp_path: Path) -> None:
    path = tmp_path / "result"
    path.write_text("older, and longer than the newer one" * 100)
    assert powerprobe(*played, "-o", path, "--", "no-such-command").returncode == 127
    assert path.read_text().startswith("older")

    assert powerprobe(*played, "-o", path, "--", "true").returncode == 0
    assert "older" not in path.read_text()


def test_channels_are_chosen_by_name_and_pattern(played: list[str]) -> None:
    def names(*options: str) -> list[str]:
        return list(json.loads(powerprobe(*played, *options, "--json", "--", "true").stderr)["channels"])

    assert names("--channels", "package-0,dram-0") == ["package-0", "dram-0"]
    assert names("--channels", "package-*", "--channels", "core-0") == ["package-0", "core-0"]


def test_an_unknown_channel_names_those_that_exist(played: list[str], tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    done = powerprobe(*played, "--channels", "gpu-*", "--", "touch", ran)

    assert done.returncode == 2
    assert "gpu-*" in done.stderr
    assert "package-0, core-0, dram-0" in done.stderr
    assert not ran.exists()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["-r", "0", "--", "true"], "-r"),
        (["-r", "many", "--", "true"], "many"),
        (["--warmup", "-1", "--", "true"], "--warmup"),
        (["--period", "1 fortnight", "--", "true"], "fortnight"),
        (["--period", "0", "--", "true"], "above 0"),
        (["--period", "5s", "--", "true"], "period"),
        (["--channels", "", "--", "true"], "--channels"),
        (["--no-such-option", "--", "true"], "--no-such-option"),
        (["-r", "2"], "COMMAND"),
        (["--sources", "rapl_magic", "--", "true"], "rapl_magic"),
        (["--root", "/no/such/folder", "--", "true"], "/no/such/folder"),
    ],
)
def test_wrong_usage_is_status_2_with_a_sentence(options: list[str], says: str) -> None:
    done = powerprobe("stat", *options)

    assert done.returncode == 2
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_a_recording_takes_the_place_of_the_machine(played: list[str], tmp_path: Path) -> None:
    for options in (["--sources", "rapl_msr"], ["--root", str(tmp_path)]):
        done = powerprobe(*played, *options, "--", "true")
        assert done.returncode == 2
        assert "--replay" in done.stderr


def test_a_recording_that_is_none_is_wrong_usage(tmp_path: Path) -> None:
    path = tmp_path / "recording"
    path.write_text("no JSON")
    done = powerprobe("stat", "--replay", path, "--", "true")

    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert str(path) in done.stderr


def test_a_period_may_have_a_unit(played: list[str]) -> None:
    for period in ("500us", "2 ms", "0.001"):
        assert powerprobe(*played, "--period", period, "--", "true").returncode == 0


def test_strict_without_a_counter_is_status_3_with_reason_and_nothing_started(tmp_path: Path) -> None:
    Machine(tmp_path)
    ran = tmp_path / "ran"
    for options, more in ((["--strict"], {}), ([], {"POWERPROBE_STRICT": "1"})):
        done = powerprobe("stat", "--root", tmp_path, *options, "--", "touch", ran, env=environment(**more))
        assert done.returncode == 3
        assert "the kernel module msr is not loaded" in done.stderr
        assert "remedy: sudo modprobe" in done.stderr
        assert "Traceback" not in done.stderr
        assert not ran.exists()


def test_a_counter_that_may_not_be_read_is_said_with_a_remedy(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can run something as another user")
    machine = Machine(tmp_path)
    machine.zone("intel-rapl:0", "package-0").chmod(0o400)
    done = as_nobody("stat", "--root", tmp_path, "--strict", "--", "true")

    assert done.returncode == 3
    assert "may not read the counter" in done.stderr
    assert "remedy: " in done.stderr
    assert "Traceback" not in done.stderr


def test_an_estimate_is_marked_and_has_its_reason(tmp_path: Path) -> None:
    Machine(tmp_path)
    busy = [sys.executable, "-c", "import time\nwhile time.process_time() < 0.2: pass"]
    text = powerprobe("stat", "--root", tmp_path, "--", *busy).stderr

    number = r"\d+(\.\d+)?"
    assert re.search(rf"cpu\s+~{number}\s+\[{number}, {number}\]\s+~{number}\s+estimated, cpu_model", text)
    assert re.search(rf"command\s+~{number}\s+\[{number}, {number}\]\s+~{number}\s+estimated, 0\.\d+ s of CPU", text)
    assert "~ estimated from CPU time, not measured. No energy counter can be read here: " in text

    result = json.loads(powerprobe("stat", "--root", tmp_path, "--json", "--", *busy).stderr)
    command = result["command_cpu"]
    assert result["total"]["provenance"] == command["provenance"] == "estimated"
    assert 0.2 <= command["seconds"] == pytest.approx(command["user_seconds"] + command["system_seconds"])
    assert command["lower"] <= command["joules"] <= command["upper"]
    assert command["joules"] == pytest.approx(SKYLAKE_BUSY_WATTS * command["seconds"], rel=1e-3)
    assert result["total"]["joules"] == result["channels"]["cpu"]["joules"]


def test_the_means_of_the_command_are_over_all_runs(tmp_path: Path) -> None:
    Machine(tmp_path)
    result = json.loads(powerprobe("stat", "--root", tmp_path, "-r", "3", "--json", "--", "true").stderr)

    for key in ("seconds", "joules", "upper"):
        assert result["command_cpu"][key] == pytest.approx(
            statistics.mean(run["command_cpu"][key] for run in result["runs"])
        )
    assert result["command_cpu"]["source"] == "cpu_model"


def test_where_counters_are_read_the_command_has_cpu_time_and_no_energy(played: list[str]) -> None:
    command = json.loads(powerprobe(*played, "--json", "--", "true").stderr)["command_cpu"]

    assert command["seconds"] > 0
    assert command["joules"] is command["provenance"] is None


def test_names_that_are_no_text_pass_through(played: list[str]) -> None:
    done = subprocess.run(
        [*COMMAND, *played, "--", "echo", b"\xff"], capture_output=True, timeout=60, env=environment()
    )

    assert done.returncode == 0
    assert done.stdout == b"\xff\n"


def test_the_command_is_shown_as_a_shell_would_take_it(played: list[str]) -> None:
    command = ["echo", "two words", "$HOME"]
    assert f"Energy of '{shlex.join(command)}'" in powerprobe(*played, "--", *command).stderr


def test_a_counter_that_is_lost_is_unknown_and_not_zero(tmp_path: Path) -> None:
    path = recording(tmp_path, {"package-0": 10.0, "dram-0": 1.0})
    script = json.loads(path.read_text())
    script["faults"] = [{"begin_ns": 0, "channel": "dram-0", "status": "gone"}]
    script["faults"][0]["begin_ns"] = 300_000_000
    path.write_text(json.dumps(script))

    done = powerprobe("stat", "--replay", path, "--", "sleep", "1")
    assert re.search(r"dram-0\s+unknown", done.stderr)
    assert re.search(r"total\s+unknown", done.stderr)
    assert "dram-0 is unknown: " in done.stderr

    result = json.loads(powerprobe("stat", "--replay", path, "--json", "--", "sleep", "1").stderr)
    assert result["channels"]["dram-0"]["joules"] is None
    assert result["total"]["joules"] is None
    assert set(result["unknown"]) == {"dram-0"}


def test_hidden_boards_are_measured_when_asked_for(tmp_path: Path) -> None:
    path = recording(tmp_path, {"package-0": 3.0, "gpu-0": 40.0, "gpu-1": 50.0})
    env = environment(CUDA_VISIBLE_DEVICES="1")
    shown = powerprobe("stat", "--json", "--replay", path, "--", "true", env=env)
    every = powerprobe("stat", "--json", "--all-gpus", "--replay", path, "--", "true", env=env)

    assert set(json.loads(shown.stderr)["channels"]) == {"package-0", "gpu-1"}
    assert set(json.loads(every.stderr)["channels"]) == {"package-0", "gpu-0", "gpu-1"}


def test_where_all_boards_are_hidden_it_says_by_what(tmp_path: Path) -> None:
    path = recording(tmp_path, {"gpu-0": 40.0})
    done = powerprobe("stat", "--replay", path, "--", "true", env=environment(CUDA_VISIBLE_DEVICES="-1"))

    assert done.returncode == 3
    assert "CUDA_VISIBLE_DEVICES" in done.stderr
    assert "--all-gpus" in done.stderr
