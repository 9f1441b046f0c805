# SPDX-License-Identifier: MIT
"""`powerprobe stat` on a terminal: progress, colours, and that nothing of the command's output is lost."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import termios
from pathlib import Path

import pytest
from cli_machine import COMMAND, environment, recording, shell

ROWS, COLUMNS = 24, 100


def on_a_terminal(*args: str, rows: int = ROWS, **more: str) -> tuple[int, str]:
    """Runs the command line with all streams on a terminal; returns its status and all that it wrote there."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, COLUMNS, 0, 0))
    process = subprocess.Popen(
        [*COMMAND, *args],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=environment(**{"TERM": "xterm-256color", **more}),
        start_new_session=True,
    )
    os.close(theirs)
    written = b""
    while True:
        try:
            piece = os.read(ours, 4096)
        except OSError:  # EIO: the other side was closed
            break
        if not piece:
            break
        written += piece
    os.close(ours)
    return process.wait(timeout=30), written.decode()


@pytest.fixture
def played(tmp_path: Path) -> list[str]:
    return ["stat", "--replay", str(recording(tmp_path, {"package-0": 40.0}))]


def test_repeats_show_progress_on_the_last_line(played: list[str]) -> None:
    status, text = on_a_terminal(*played, "-r", "3", "--warmup", "1", "--", "echo", "hello")

    assert status == 0
    assert text.count("hello\r\n") == 4
    for what in ("warm-up run 1 of 1", "run 1 of 3", "run 2 of 3", "run 3 of 3"):
        assert what in text
    assert f"\x1b[1;{ROWS - 1}r" in text  # the last line does not scroll
    assert "left" in text


def test_the_terminal_is_given_back_before_the_result(played: list[str]) -> None:
    for script in ("true", "kill -INT 0"):
        _, text = on_a_terminal(*played, "-r", "3", "--", *shell(script))
        assert text.rindex("\x1b[1;") < text.rindex("\x1b[r") < text.rindex("Energy of")


def test_a_single_run_has_no_progress(played: list[str]) -> None:
    for options in ([], ["-r", "1"]):
        _, text = on_a_terminal(*played, *options, "--", "true")
        assert " of 1" not in text
        assert "\x1b[1;" + str(ROWS - 1) + "r" not in text
        assert "package-0" in text


@pytest.mark.parametrize(("rows", "term"), [(2, "xterm"), (ROWS, "dumb")])
def test_a_terminal_that_cannot_has_no_progress(played: list[str], rows: int, term: str) -> None:
    status, text = on_a_terminal(*played, "-r", "3", "--", "true", rows=rows, TERM=term)

    assert status == 0
    assert "run 2 of 3" not in text
    assert "package-0" in text


def test_colours_can_be_switched_off(played: list[str]) -> None:
    _, coloured = on_a_terminal(*played, "--", "true")
    _, plain = on_a_terminal(*played, "--", "true", NO_COLOR="1")

    assert "\x1b[" in coloured
    assert "\x1b[3" not in plain
