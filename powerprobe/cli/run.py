# SPDX-License-Identifier: MIT
"""Starts a command and waits for it, with as little as possible between the two marks and the command itself.

Signals as with perf stat: what the terminal sends (ctrl-C, ctrl-\\) goes to the command too, so it is only noted here
and the wait goes on; what somebody sends to this process alone (SIGTERM, SIGHUP) is passed on to the command.
"""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import select
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import FrameType, TracebackType
from typing import Any, TypeVar, final

Begun = TypeVar("Begun")

NOTED = (signal.SIGINT, signal.SIGQUIT)
PASSED_ON = (signal.SIGTERM, signal.SIGHUP)
# Python ignores these for itself; the command shall find them as the shell left them.
RESTORED = (signal.SIGPIPE, signal.SIGXFSZ)


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    status: int  # as a shell tells it: 128 + n after signal n
    signal: int  # the signal that ended it; 0: none
    user_seconds: float
    system_seconds: float

    @property
    def cpu_seconds(self) -> float:
        """CPU time of the command and of all its children that it waited for."""
        return self.user_seconds + self.system_seconds


class StartError(Exception):
    """The command cannot be started; `status` is what a shell would exit with."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


@final
class Signals:
    """Context: notes the signals that would end this process, and passes on those that the command has not had yet.

    Main thread only.
    """

    def __init__(self) -> None:
        self._first = 0
        self._pid = 0  # of the command while it runs
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Signals:
        # Each signal writes a byte here, whatever thread it came to: numpy's threads take signals, too, and one that
        # comes to them does not interrupt a wait of this thread.
        self._wakeup, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._writer_before = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        self._writer = writer
        self._before[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, lambda *_: None)
        for number in NOTED + PASSED_ON:
            # Who started us with a signal ignored (nohup, a shell's `&`) wants the command to have it ignored, too.
            if signal.getsignal(number) != signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._writer_before)
        os.close(self._wakeup)
        os.close(self._writer)

    def first(self) -> int:
        """The first signal that came; 0: none yet."""
        return self._first

    def wait_for(self, pid: int) -> None:
        """Returns as soon as this child has ended. It is not reaped, so that no other process can get its number."""
        self._pid = pid
        if self._first in PASSED_ON:  # it came while the command was being started
            self._pass_on(self._first)
        while os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is None:
            select.select([self._wakeup], [], [])
            with contextlib.suppress(BlockingIOError):
                os.read(self._wakeup, 4096)

    def reap(self, pid: int) -> tuple[int, resource.struct_rusage]:
        """Status and resource usage of a child that has ended."""
        self._pid = 0
        _, status, usage = os.wait4(pid, 0)
        return status, usage

    def _note(self, number: int, _: FrameType | None) -> None:
        self._first = self._first or number
        if number in PASSED_ON and self._pid:
            self._pass_on(number)

    def _pass_on(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):  # it has ended, or changed its user
            os.kill(self._pid, number)


def run(
    command: Sequence[str],
    signals: Signals,
    begin: Callable[[], Begun],
    end: Callable[[Begun], object],
    silent: bool = False,
) -> tuple[Begun, Ended]:
    """Begins, runs the command to its end, and ends what was begun; returns it. Raises StartError without an end().

    A silent command has /dev/null for its input and output.
    """
    environment = dict(os.environ)
    files = [(os.POSIX_SPAWN_OPEN, number, os.devnull, os.O_RDWR, 0) for number in range(3)] if silent else []
    begun = begin()
    try:
        pid = os.posix_spawnp(command[0], list(command), environment, file_actions=files, setsigdef=RESTORED)
    except OSError as error:
        raise cannot_start(command[0], error) from None
    signals.wait_for(pid)
    end(begun)
    status, usage = signals.reap(pid)
    killed_by = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
    return begun, Ended(
        status=128 + killed_by if killed_by else os.WEXITSTATUS(status),
        signal=killed_by,
        user_seconds=usage.ru_utime,
        system_seconds=usage.ru_stime,
    )


def die_of(number: int) -> int:
    """Ends this process by the signal, so that a shell that waits for us ends its script, too; or returns the status.

    Not of SIGQUIT, which would write a core file.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    if number != signal.SIGQUIT:
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
    return 128 + number


def cannot_start(name: str, error: OSError) -> StartError:
    if error.errno == errno.ENOENT:
        if os.path.exists(name) and "/" in name:
            return StartError(f"cannot start '{name}': the interpreter that its first line names does not exist", 127)
        return StartError(f"cannot start '{name}': command not found", 127)
    if error.errno == errno.ENOEXEC:
        return StartError(f"cannot start '{name}': not a program; a script needs a first line such as #!/bin/sh", 126)
    if os.path.isdir(name):
        return StartError(f"cannot start '{name}': it is a folder", 126)
    return StartError(f"cannot start '{name}': {os.strerror(error.errno or 0)}", 126)
