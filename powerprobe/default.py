# SPDX-License-Identifier: MIT
"""The probe that everyone in a process shares: made at the first `measure()`, stopped when the interpreter exits.

Nothing runs before. The child of a fork shares its parent's; when the parent has ended it makes one of its own, or raises, as
POWERPROBE_ORPHANS says. Where a channel has ended, because a GPU was lost or its driver
reloaded, the machine is searched again, and what begins from then on is measured by a new probe if the channel is back.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterable, Iterator, Sequence
from time import monotonic

from . import _core
from .channels import select
from .discovery import Discovery, discover, is_strict
from .errors import BadArgument, PowerprobeError, Unavailable
from .probe import Probe

_HISTORY = 10.0  # seconds; a measurement may be longer, because its ends are settled while they are new
_PATIENCE = 10.0  # seconds between two searches for what has ended: each takes 0.1 s, more if a driver hangs

_Names = tuple[str, ...]
_Key = tuple[_Names | None, bool]

_lock = threading.Lock()
_found: dict[_Key, Discovery] = {}  # guarded by _lock
_searched: dict[_Key, float] = {}  # when it was last searched again; guarded by _lock
_probes: dict[tuple[_Key, _Names], Probe] = {}  # by the names of their channels; guarded by _lock


def shared_probe(
    channels: str | Iterable[str] | None,
    sources: str | Iterable[str] | None,
    strict: bool | None,
    all_gpus: bool = False,
) -> tuple[Probe, _Names]:
    """A running probe that has these channels, and their names. All who ask for the same sources get the same one.

    There are three at most unless CUDA_VISIBLE_DEVICES changes: one without hidden GPUs and without single cores, one with
    the former, one with all.
    """
    names = None if sources is None else (sources,) if isinstance(sources, (str, _core.Source)) else tuple(sources)
    if names is not None and any(isinstance(name, _core.Source) for name in names):
        raise BadArgument("sources: an opened source belongs to one probe; use Probe(sources=...).measure()")
    key = (names, is_strict(strict))
    with _lock:
        found = _found.get(key)
        if found is None:
            found = _found[key] = discover(names, strict)
        chosen = select(found.channels, channels, all_gpus)
        probe = _probe_with(key, found, chosen)
        if probe._is_orphan():
            probe = _of_orphan(key, found, chosen)
        elif probe._has_ended(chosen):
            probe = _searched_again(key, chosen) or probe
        probe._inherit()
    return probe, tuple(chosen)


def shared_native() -> tuple[_core.Probe, _Names]:
    """For C code in this process that opens the shared probe: that of a plain `measure()`, and the names of its channels."""
    probe, names = shared_probe(None, None, None)
    return probe._native, names


def _probe_with(key: _Key, found: Discovery, chosen: Sequence[str]) -> Probe:
    probe = _probes.get((key, tuple(chosen)))
    if probe is not None:
        return probe
    names = _names_of(found, chosen)
    probe = _probes.get((key, names))
    if probe is None:
        probe = _probes[key, names] = _started(found, names)
    return probe


def _of_orphan(key: _Key, found: Discovery, chosen: Sequence[str]) -> Probe:
    """What the child of a fork measures with when its parent, which read the counters for both, has ended."""
    wish = os.environ.get("POWERPROBE_ORPHANS", "open")
    if wish not in ("open", "raise"):
        raise BadArgument(f"POWERPROBE_ORPHANS must be 'open' or 'raise', not {wish!r}")
    if wish == "raise":
        raise Unavailable(
            "the process that forked this one has ended, and it read the counters for both",
            remedy="keep it running, or set POWERPROBE_ORPHANS=open so that this process reads them itself",
        )
    for outdated in [each for each, probe in _probes.items() if probe._is_orphan()]:
        del _probes[outdated]
    return _probe_with(key, found, chosen)


def _started(found: Discovery, names: _Names) -> Probe:
    probe = Probe(names, history=_HISTORY, discovery=found)
    probe._start()
    return probe


def _names_of(found: Discovery, chosen: Sequence[str]) -> _Names:
    return next(names for names in _sets(found) if set(chosen) <= set(names))


def _sets(found: Discovery) -> Iterator[_Names]:
    """The channels that a probe may have, from few to all."""
    for all_gpus in (False, True):
        with contextlib.suppress(Unavailable):  # all hidden
            yield tuple(select(found.channels, None, all_gpus))
    yield tuple(channel.name for channel in found.channels)


def _searched_again(key: _Key, chosen: Sequence[str]) -> Probe | None:
    """A new probe if all of these channels are there again. Measurements that run keep the old one, which ends with them.

    Not before: the total would silently lack what is still gone, where now it says that it is not known.
    """
    now = monotonic()
    if now < _searched.get(key, -_PATIENCE) + _PATIENCE:
        return None
    _searched[key] = now
    with contextlib.suppress(PowerprobeError):
        found = discover(key[0], key[1], again=True)
        there = {channel.name for channel in found.channels}
        if there.issuperset(chosen):
            names = _names_of(found, chosen)
            probe = _started(found, names)
            for outdated in [each for each in _probes if each[0] == key]:
                del _probes[outdated]
            _found[key], _probes[key, names] = found, probe
            return probe
    return None


def _forget_lock() -> None:
    # In the child of a fork a thread that held the lock does not exist. The probes go on, see Probe.
    global _lock
    _lock = threading.Lock()


os.register_at_fork(after_in_child=_forget_lock)
