# SPDX-License-Identifier: MIT
"""The probe that everyone in a process shares: made at the first `measure()`, stopped when the interpreter exits.

Nothing runs before. The child of a fork starts afresh.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable

from . import _core
from .channels import select
from .discovery import Discovery, discover, is_strict
from .errors import BadArgument
from .probe import Probe

_HISTORY = 10.0  # seconds; a measurement may be longer, because its ends are settled while they are new

_Key = tuple[tuple[str, ...] | None, bool]

_lock = threading.Lock()
_found: dict[_Key, Discovery] = {}  # guarded by _lock
_probes: dict[tuple[_Key, bool], Probe] = {}  # guarded by _lock; the last: with the counters of single cores


def shared_probe(
    channels: str | Iterable[str] | None, sources: str | Iterable[str] | None, strict: bool | None
) -> tuple[Probe, tuple[str, ...]]:
    """A running probe that has these channels, and their names. All who ask for the same sources get the same one."""
    names = None if sources is None else (sources,) if isinstance(sources, (str, _core.Source)) else tuple(sources)
    if names is not None and any(isinstance(name, _core.Source) for name in names):
        raise BadArgument("sources: an opened source belongs to one probe; use Probe(sources=...).measure()")
    key = (names, is_strict(strict))
    with _lock:
        found = _found.get(key)
        if found is None:
            found = _found[key] = discover(names, strict)
        chosen = select(found.channels, channels)
        is_wide = not set(chosen) <= set(select(found.channels, None))
        probe = _probes.get((key, is_wide))
        if probe is None:
            probe = Probe("*" if is_wide else None, history=_HISTORY, discovery=found)
            probe._start()
            _probes[key, is_wide] = probe
    return probe, tuple(chosen)


def _start_afresh() -> None:
    # In the child of a fork the samplers do not exist, and a thread that held the lock does not either.
    global _lock
    _lock = threading.Lock()
    _probes.clear()


os.register_at_fork(after_in_child=_start_afresh)
