# SPDX-License-Identifier: MIT
"""`powerprobe stat` and signals, in a process group of its own as a shell would make it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from pathlib import Path

import pytest
from cli_machine import COMMAND, environment, recording, shell

READY = "echo ready; exec sleep 30"
HANDLES_IT = "trap 'exit 5' INT; echo ready; while :; do sleep 0.05; done"


@pytest.fixture
def played(tmp_path: Path) -> list[str]:
    return ["stat", "--replay", str(recording(tmp_path, {"package-0": 40.0}))]


class Started:
    """A command line that runs in a group of its own until the command says that it is ready."""

    def __init__(self, *args: str, **options: object) -> None:
        self.process = subprocess.Popen(
            [*COMMAND, *args],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(),
            start_new_session=True,
            **options,  # type: ignore[call-overload]
        )
        self.wait_until_ready()

    def wait_until_ready(self) -> None:
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "ready\n"

    def send(self, number: int, to_group: bool = True) -> None:
        (os.killpg if to_group else os.kill)(self.process.pid, number)

    def end(self) -> tuple[int, str]:
        try:
            _, errors = self.process.communicate(timeout=30)
        finally:
            if self.process.poll() is None:
                os.killpg(self.process.pid, signal.SIGKILL)
        assert "Traceback" not in errors
        return self.process.returncode, errors


def test_ctrl_c_ends_the_command_and_shows_what_was_measured(played: list[str]) -> None:
    started = Started(*played, "--", *shell(READY))
    started.send(signal.SIGINT)
    status, text = started.end()

    # By the signal itself, as perf stat does, so that a shell stops the script that called us.
    assert status == -signal.SIGINT
    assert re.search(r"package-0\s+\d", text)
    assert "interrupted" in text


def test_a_shell_sees_130_after_ctrl_c(played: list[str]) -> None:
    line = f"{' '.join(COMMAND)} {' '.join(played)} -- sh -c 'kill -INT 0; sleep 30'; echo $?"
    done = subprocess.run(
        ["bash", "-c", f"trap : INT; {line}"],
        capture_output=True,
        text=True,
        timeout=30,
        env=environment(),
        start_new_session=True,
    )
    assert done.stdout == "130\n"


def test_a_command_that_handles_ctrl_c_keeps_its_status(played: list[str]) -> None:
    started = Started(*played, "--json", "--", *shell(HANDLES_IT))
    started.send(signal.SIGINT)
    status, text = started.end()

    assert status == 5
    result = json.loads(text)
    assert (result["exit_status"], result["interrupted"]) == (5, True)


def test_more_ctrl_c_changes_nothing(played: list[str]) -> None:
    started = Started(*played, "--", *shell(READY))
    for _ in range(20):
        try:
            started.send(signal.SIGINT)
        except ProcessLookupError:
            break
    status, text = started.end()

    assert status == -signal.SIGINT
    assert re.search(r"package-0\s+\d", text)


def test_ctrl_c_before_the_command_runs_is_silent(tmp_path: Path) -> None:
    # The recording is a pipe that nobody writes to: the command line waits for it.
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    process = subprocess.Popen(
        [*COMMAND, "stat", "--replay", str(pipe), "--", "true"], stderr=subprocess.PIPE, text=True, env=environment()
    )
    with open(pipe, "w"):  # returns when the other side has opened it
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
    assert process.returncode == -signal.SIGINT
    assert errors.strip() == ""


def test_an_interrupted_series_shows_its_whole_runs(played: list[str], tmp_path: Path) -> None:
    # The first two runs end at once, the third waits.
    script = f"echo x >> {tmp_path}/n; [ $(wc -l < {tmp_path}/n) -lt 3 ] || {{ {READY}; }}"
    started = Started(*played, "-r", "5", "--json", "--", *shell(script))
    started.send(signal.SIGINT)
    status, text = started.end()

    assert status == -signal.SIGINT
    result = json.loads(text)
    assert len(result["runs"]) == 2
    assert result["interrupted"] is True
    assert result["exit_status"] == 0
    assert result["seconds"] < 1


def test_a_series_stops_even_if_the_command_handles_ctrl_c(played: list[str]) -> None:
    started = Started(*played, "-r", "5", "--", *shell(HANDLES_IT))
    started.send(signal.SIGINT)
    status, text = started.end()

    assert status == -signal.SIGINT
    assert "(1 run)" in text


def test_a_termination_is_passed_on_to_the_command(played: list[str], tmp_path: Path) -> None:
    script = f"trap 'touch {tmp_path}/told; exit 9' TERM; echo ready; while :; do sleep 0.05; done"
    started = Started(*played, "--", *shell(script))
    started.send(signal.SIGTERM, to_group=False)
    status, text = started.end()

    assert status == 9
    assert (tmp_path / "told").exists()
    assert re.search(r"package-0\s+\d", text)


def test_a_termination_of_the_command_ends_us_too(played: list[str]) -> None:
    started = Started(*played, "--", *shell(READY))
    started.send(signal.SIGTERM, to_group=False)
    status, text = started.end()

    assert status == -signal.SIGTERM
    assert re.search(r"package-0\s+\d", text)


def test_quit_gives_the_result_and_131(played: list[str]) -> None:
    started = Started(*played, "--", *shell(READY))
    started.send(signal.SIGQUIT)
    status, text = started.end()

    assert status == 128 + signal.SIGQUIT
    assert re.search(r"package-0\s+\d", text)


@pytest.mark.parametrize("before", ["", 'trap "" INT; '])
def test_the_command_finds_signals_as_the_shell_left_them(played: list[str], before: str) -> None:
    # What was ignored stays ignored (nohup, a shell's `&`), and nothing else is.
    show = ["grep", "SigIgn", "/proc/self/status"]

    def ignored(*command: str) -> int:
        line = ["sh", "-c", before + 'exec "$@"', "sh", *command]
        done = subprocess.run(line, capture_output=True, text=True, env=environment())
        # Those above 31 are of no use to anybody: libc keeps two of them to itself.
        return int(done.stdout.split()[1], 16) & 0x7FFFFFFF

    assert ignored(*COMMAND, *played, "--", *show) == ignored(*show)
