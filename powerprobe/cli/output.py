# SPDX-License-Identifier: MIT
"""Where results go: a stream of this process or a file, as text for people or as one line of JSON."""

from __future__ import annotations

import json
import os
import stat
import sys
from typing import Any, TextIO

import click
from rich.console import Console
from rich.text import Text

WIDEST = 1000  # no table is wider than this


class Output:
    """A destination. Opening says at once what cannot be written; nothing is lost before something is written.

    Args:
        path: a file to write, "-" for standard output; None for `stream`.
    """

    def __init__(self, path: str | None, stream: TextIO) -> None:
        self._stream = sys.stdout if path == "-" else stream
        self._own = False
        if path is None or path == "-":
            return
        try:
            # Without O_TRUNC: an older result stays whole until there is a new one.
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except OSError as error:
            raise click.FileError(path, hint=os.strerror(error.errno or 0)) from None
        self._stream = os.fdopen(descriptor, "w", encoding="utf-8", errors="backslashreplace")
        self._own = True

    def json(self, value: dict[str, Any]) -> None:
        self._start()
        self._stream.write(json.dumps(value, allow_nan=False) + "\n")
        self._finish()

    def plain(self, text: str) -> None:
        self._start()
        self._stream.write(text)
        self._finish()

    def binary(self, data: bytes) -> None:
        self._start()
        self._stream.buffer.write(data)
        self._finish()

    def text(self, *parts: Any) -> None:
        """Tables and lines, as they are: a terminal that is too narrow folds them, but no figure or command is cut."""
        self._start()
        console = console_on(self._stream)
        with console.capture() as capture:
            for part in parts:
                console.print(part, soft_wrap=isinstance(part, Text))
        for line in capture.get().splitlines():
            self._stream.write(line.rstrip() + "\n")
        self._finish()

    def _start(self) -> None:
        if self._own and stat.S_ISREG(os.fstat(self._stream.fileno()).st_mode):
            self._stream.truncate(0)

    def _finish(self) -> None:
        self._stream.flush()


def console_on(stream: TextIO) -> Console:
    """A console that adds no colours or links of its own to numbers and paths, and none at all outside a terminal."""
    return Console(file=stream, width=WIDEST, highlight=False, markup=False, emoji=False)
