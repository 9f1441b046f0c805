# SPDX-License-Identifier: MIT
"""What this machine has: the channels that can be read, and every source that cannot be, with reason and remedy."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Iterable

from . import _core
from .errors import BadArgument, PermissionDenied, PowerprobeError, Unavailable
from .table import numbers, seconds, table

ESTIMATE = "cpu_model"
"""The source that estimates where no counter is."""

_lock = threading.Lock()
_found: dict[bool, Discovery] = {}  # by strict; guarded by _lock


class Discovery:
    """What was found when the machine was searched. Immutable; any thread.

    Attributes:
        channels: all channels that can be read (`ChannelInfo`: name, source, domain, parent, provenance, ...); for each
            physical domain the cheapest source that is right.
        choices: the same channels with what was seen of them: cost of a reading, how often it moves, other sources that
            read the same domain, and whether those disagree.
        refusals: every source that cannot be used here, with path, reason, remedy and errno.
    """

    __slots__ = ("_survey", "channels", "choices", "refusals")

    channels: tuple[_core.ChannelInfo, ...]
    choices: tuple[_core.Choice, ...]
    refusals: tuple[_core.Refusal, ...]

    def __init__(self, survey: _core.Survey) -> None:
        self._survey = survey
        self.choices = tuple(survey.choices)
        self.channels = tuple(choice.channel for choice in self.choices)
        self.refusals = tuple(survey.refusals)

    def open(self, names: Iterable[str]) -> list[_core.Source]:
        """Opens the sources of these channels, for a Probe.

        Raises:
            BadArgument: a name that is not among the channels.
            Unavailable, PermissionDenied: the machine has changed since it was searched.
        """
        return _core.open_sources(self._survey, list(names))

    def __repr__(self) -> str:
        return f"<Discovery of {len(self.channels)} channels, {len(self.refusals)} refusals>"

    def __str__(self) -> str:
        rows = [
            (
                c.channel.name,
                c.channel.source,
                c.channel.provenance,
                *numbers([c.channel.quantum_joules], 1e6),
                seconds(c.seen_period_ns * 1e-9) if c.seen_period_ns else "-",
                seconds(c.read_ns * 1e-9),
            )
            for c in self.choices
        ]
        found = table(("channel", "source", "provenance", "step uJ", "moves every", "reading"), rows, "<<<>>>")
        return "\n".join([found, *(_line(refusal) for refusal in self.refusals)])


def discover(
    sources: str | Iterable[str] | None = None,
    strict: bool | None = None,
    *,
    root: str | os.PathLike[str] | None = None,
    again: bool = False,
) -> Discovery:
    """Searches this machine for energy counters; takes about 0.1 s. Any thread.

    With the default `sources` and `root` the answer is kept and given to everyone in this process.

    Args:
        sources: name or names of the sources to consider, in order of standing (`powerprobe.SOURCES`); None for all.
        strict: True refuses the estimate that otherwise stands in where no counter can be read. None does what the
            environment variable POWERPROBE_STRICT says (1: strict).
        root: a folder that holds `sys`, `dev` and `proc`, to be searched instead of this machine, and can hold
            `libnvidia-ml.so.1`. For tests.
        again: True searches although the answer is kept, and keeps the new one: the machine may have changed.

    Raises:
        PermissionDenied: there are counters, but this process may not read any. `.refusals` has all of them.
        Unavailable: there is nothing to read. `.refusals` says why, source by source.
        BadArgument: a source that does not exist, or the estimate where only counters are accepted.
    """
    strict = is_strict(strict)
    names = _names(sources)
    if strict and ESTIMATE in names:
        raise BadArgument(f"sources: {ESTIMATE} is an estimate, and strict refuses those")
    if names or root is not None:
        return _search(names, strict, root)
    with _lock:
        if again or strict not in _found:
            _found[strict] = _search([], strict, None)
        return _found[strict]


def _search(names: list[str], strict: bool, root: str | os.PathLike[str] | None) -> Discovery:
    top = "/" if root is None else os.fspath(root)
    folders = (os.path.join(top, name) for name in ("sys", "dev", "proc"))
    # A folder that stands for the machine stands for its driver, too.
    nvml = {} if root is None else {"nvml": os.path.join(top, "libnvidia-ml.so.1")}
    found = Discovery(_core.survey(names, not strict, *folders, **nvml))
    if not found.channels:
        raise _nothing(found.refusals)
    return found


def is_strict(strict: bool | None) -> bool:
    if strict is None:
        return os.environ.get("POWERPROBE_STRICT", "") not in ("", "0")
    if not isinstance(strict, bool):
        raise TypeError(f"strict must be True, False or None, not {type(strict).__name__}")
    return strict


def _names(sources: str | Iterable[str] | None) -> list[str]:
    names = [] if sources is None else [sources] if isinstance(sources, str) else list(sources)
    for name in names:
        if not isinstance(name, str):
            raise TypeError(f"sources: names are str, not {type(name).__name__}")
        if name not in _core.SOURCES:
            raise BadArgument(f"sources: none is named {name!r}; there are {', '.join(_core.SOURCES)}")
    if sources is not None and not names:
        raise BadArgument("sources: an empty list can find nothing")
    return names


def _nothing(refusals: tuple[_core.Refusal, ...]) -> PowerprobeError:
    denied = next((r for r in refusals if r.error in (errno.EACCES, errno.EPERM)), None)
    cause = denied or next((r for r in refusals if r.remedy), None)
    message = "\n".join(["no energy counter can be read on this machine", *(_line(refusal) for refusal in refusals)])
    kind = PermissionDenied if denied else Unavailable
    error = kind(message, cause.path or None, cause.error, cause.remedy) if cause else kind(message)
    error.refusals = refusals
    return error


def _line(refusal: _core.Refusal) -> str:
    where = f"{refusal.path}: " if refusal.path else ""
    return f"  {refusal.source}: {where}{refusal.reason}"


def _forget() -> None:
    # In the child of a fork another thread may have held the lock, and it does not exist any more.
    global _lock
    _lock = threading.Lock()


os.register_at_fork(after_in_child=_forget)
