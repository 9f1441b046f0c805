# SPDX-License-Identifier: MIT
"""The progress bar of repeated runs, on the last line of the terminal.

The command writes to the same terminal, so the bar may be neither where its output goes nor drawn while it runs (a
thread that draws would cost the energy that is being measured). So the last line is taken out of the part that scrolls,
as apt does, and drawn between runs.
"""

from __future__ import annotations

import os
import sys
from types import TracebackType
from typing import TextIO, final

from rich.console import Console, Group
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

_SAVE, _RESTORE = "\x1b7", "\x1b8"
_SMALLEST_SCREEN = 4  # lines; below that every line is needed


@final
class Progress:
    """Context: shows `done` of `total` runs on this stream if it is a terminal that can; else does nothing."""

    def __init__(self, total: int, stream: TextIO | None = None) -> None:
        self._stream = stream if stream is not None else sys.stderr
        self._console = Console(file=self._stream, highlight=False)
        self._total = total
        self._lines = 0  # of the terminal when the bar was placed; 0: no bar

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._lines:
            self._write(f"{_SAVE}\x1b[r\x1b[{self._lines};1H\x1b[2K{_RESTORE}")
            self._lines = 0

    def show(self, done: int, seconds_left: float | None, what: str) -> None:
        """Draws the bar; call it between runs only."""
        if self._total < 2 or not self._console.is_terminal or self._console.is_dumb_terminal:
            return
        columns, lines = os.get_terminal_size(self._stream.fileno())
        if lines < _SMALLEST_SCREEN:
            return
        begin = ""
        if lines != self._lines:  # the first time, or the window was resized
            # A new line first: if the cursor is on the last line, the text there moves up.
            begin = f"\n{_SAVE}\x1b[1;{lines - 1}r{_RESTORE}\x1b[1A"
            self._lines = lines
        self._write(f"{begin}{_SAVE}\x1b[{lines};1H\x1b[2K{self._drawn(done, seconds_left, what, columns)}{_RESTORE}")

    def _drawn(self, done: int, seconds_left: float | None, what: str, columns: int) -> str:
        left = "" if seconds_left is None else f"  about {_clock(seconds_left)} left"
        row = Table.grid(padding=(0, 1))
        row.add_row(Text(what), ProgressBar(self._total, done, width=30), Text(left))
        with self._console.capture() as capture:
            self._console.print(Group(row), width=columns - 1, no_wrap=True, crop=True)
        return capture.get().rstrip("\n").partition("\n")[0]

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()


def _clock(seconds: float) -> str:
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, whole = divmod(whole, 60)
    return f"{minutes}:{whole:02d} min" if minutes < 60 else f"{minutes // 60}:{minutes % 60:02d} h"
