# SPDX-License-Identifier: MIT
"""Everything that powerprobe raises: one base class, and each class is also the standard one that people already catch.

A wrong type of an argument is a plain `TypeError` that names the argument.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ._core import Refusal


class PowerprobeError(Exception):
    """What went wrong, and what would help.

    `str()` of it is the message, with the remedy on a line of its own where there is one.

    Attributes:
        message: what went wrong, one sentence.
        path: the file or name that refused; None where there is none.
        errno: the system's error number; 0 where there is none.
        remedy: the command or setting that would help; "" where nothing would.
        refusals: when a machine was searched in vain: every source that cannot be used, with reason and remedy.
    """

    message: str
    path: str | None
    errno: int | None  # never None here; OSError declares it so
    remedy: str
    refusals: tuple[Refusal, ...]

    def __init__(self, message: str, path: str | None = None, errno: int = 0, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.path = path
        self.errno = errno
        self.remedy = remedy
        self.refusals = ()
        error: BaseException = self
        if isinstance(error, OSError):  # what code that catches the standard class looks at
            error.strerror = message
            error.filename = path

    def __str__(self) -> str:
        return f"{self.message}\n  remedy: {self.remedy}" if self.remedy else self.message

    def __reduce__(self) -> tuple[object, ...]:
        # The refusals are native objects and stay behind; their reasons are part of the message.
        return type(self), (self.message, self.path, self.errno, self.remedy)


class PermissionDenied(PowerprobeError, PermissionError):
    """The counter is there, but this process may not read it."""


class Unavailable(PowerprobeError, OSError):
    """It is not there, this machine cannot have it, or the probe that would answer does not run (any more)."""


class BadArgument(PowerprobeError, ValueError):
    """The caller's mistake; the message names the argument."""


class Overrun(PowerprobeError, LookupError):
    """A question about a time that the ring no longer holds: ask sooner, or keep a longer history."""


class OutOfRange(PowerprobeError, ValueError):
    """A question about a time before the first reading or in the future."""


class SettleTimeout(PowerprobeError, TimeoutError):
    """The counter's step after the end of an interval did not come in time."""


class ChannelGone(PowerprobeError, RuntimeError):
    """The channel ended (device lost, driver unloaded) before the time asked about."""


BY_KIND: dict[str, type[PowerprobeError]] = {
    "permission": PermissionDenied,
    "unavailable": Unavailable,
    "bad_argument": BadArgument,
    "overrun": Overrun,
    "out_of_range": OutOfRange,
    "timeout": SettleTimeout,
    "gone": ChannelGone,
}
"""How the native half names these classes."""
