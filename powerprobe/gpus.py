# SPDX-License-Identifier: MIT
"""What the boards say of themselves while something is measured: limits, throttling, clocks. Any thread.

Asked of NVML on one daemon thread of this process, because NVML can hang; nothing here waits longer than it is told to.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Any

from .answers import Answer, Answerer
from .boards import FACTS, SLOWED, Facts, Library
from .channels import board_name

if TYPE_CHECKING:
    from ._core import ChannelInfo

_FRESH = 0.1  # seconds: asking drivers more often slows other programs down
_TOLERATED = 0.05  # by so much counter and power readings of a board may differ

_lock = threading.Lock()
_thread = Answerer("NVML")
_library = Library()  # of the thread of _thread
_states: dict[str, Answer[Facts]] = {}  # the newest of each board; guarded by _lock


def facts(uuids: Sequence[str], seconds: float = 1.0) -> list[Facts]:
    """What NVML tells of each of these boards, asked for now; waits so long at most.

    Each has `model`, `driver`, `power_limit`, `power_limit_default` and `power_limit_range` (watts), `clocks` and
    `clocks_max` (megahertz: `graphics`, `sm`, `memory`), `reasons` (why the clocks are as they are, in words), `processes` (a
    list of `pid`, `name` and `memory` in bytes), `temperature` (degrees Celsius), `persistence` and `mig` (bool); None: not
    told; `unknown` says why, "" if all is well.
    """
    answers = [_thread.ask(partial(_facts, _library, uuid)) for uuid in uuids]
    deadline = monotonic() + seconds
    found: list[Facts] = []
    for answer in answers:
        answer.wait(deadline - monotonic())
        found.append({**dict.fromkeys(FACTS), **(answer.value or {}), "unknown": answer.reason})
    return found


class Boards:
    """The boards that a measurement has channels of, at its begin (when this is made) and at its end.

    Args:
        channels: the channels of the measurement; those of no GPU are left out.
    """

    def __init__(self, channels: Iterable[ChannelInfo]) -> None:
        self._infos: dict[str, ChannelInfo] = {}
        for channel in channels:
            if channel.gpu >= 0:
                self._infos.setdefault(board_name(channel.gpu), channel)
        self._begin = self._ask()
        self._end: dict[str, Answer[Facts]] = {}

    def end(self) -> None:
        self._end = self._ask()

    def told(self, seconds: float) -> dict[str, Facts]:
        """By board what `Measurement.gpus` documents, but `mismatch`; waits so long at most."""
        answers = [*self._begin.values(), *self._end.values()]
        deadline = monotonic() + (0.0 if _thread.is_hung() else seconds)
        for answer in answers:
            answer.wait(deadline - monotonic())
        return {name: _told(info, self._begin[name], self._end.get(name)) for name, info in self._infos.items()}

    def _ask(self) -> dict[str, Answer[Facts]]:
        return {name: _state_of(info.uuid) for name, info in self._infos.items()}


def mismatch(counter: Sequence[float], readings: Sequence[float]) -> float | None:
    """How much more the counter says than the power readings, relative to these; None: it is within what is tolerated.

    Args:
        counter, readings: joules, lower and upper of the same interval. Only what lies beyond the bounds of both counts.
    """
    (joules, lower, upper), (other, other_lower, other_upper) = counter, readings
    beyond = max(lower - other_upper, other_lower - upper)
    if not other > 0.0 or not beyond > _TOLERATED * other:  # also NaN
        return None
    return (joules - other) / other


def remarks(boards: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Sentences about what is not as it should be, from `Measurement.gpus`."""
    lines = []
    for name, board in boards.items():
        if board["throttled"]:
            limit = board["power_limit_end"] or board["power_limit"]
            limited = "" if limit is None else f" (limit {limit:.4g} W)"
            lines.append(f"{name} was throttled: {', '.join(board['throttle_reasons'])}{limited}")
        if board["mismatch"] is not None:
            less = "less" if board["mismatch"] < 0 else "more"
            lines.append(f"{name}: its counter says {abs(board['mismatch']):.1%} {less} than its power readings")
    return lines


def _state_of(uuid: str) -> Answer[Facts]:
    """Asks, unless the same was asked a moment ago or is still to be answered. Never waits."""
    with _lock:
        newest = _states.get(uuid)
        if newest is None or (newest.is_done() and monotonic() - newest.asked > _FRESH):
            newest = _states[uuid] = _thread.ask(partial(_state, _library, uuid))
        return newest


def _state(library: Library, uuid: str) -> Facts:
    return library.board(uuid).state()


def _facts(library: Library, uuid: str) -> Facts:
    return library.board(uuid).facts()


def _told(info: ChannelInfo, begin: Answer[Facts], end: Answer[Facts] | None) -> Facts:
    first = begin.value or {}
    last = (end.value if end is not None else None) or {}
    known = last or first
    reasons = _throttling(first, last)
    return {
        "uuid": info.uuid,
        "pci": info.pci,
        "model": info.model,
        "driver": known.get("driver"),
        "power_limit": first.get("power_limit"),
        "power_limit_end": last.get("power_limit"),
        "clocks": known.get("clocks"),
        "throttled": True if reasons else False if reasons is not None else None,
        "throttle_reasons": sorted(reasons or ()),
        "mismatch": None,
        "unknown": begin.reason or (end.reason if end is not None else ""),
    }


def _throttling(first: Facts, last: Facts) -> set[str] | None:
    """In words what slowed the board down. None: nothing that is known, but not all is known.

    The reasons hold at the two ends only; what was in between the times tell that the driver adds up, where it does.
    """
    found = set()
    for state in (first, last):
        bits = state.get("reasons") or 0
        found |= {word for bit, word in SLOWED.items() if bits & bit}
    before, after = first.get("slowed_ns", {}), last.get("slowed_ns", {})
    times = {word: (before[word], after[word]) for word in before.keys() & after.keys()}
    found |= {word for word, (a, b) in times.items() if a is not None and b is not None and b > a}
    is_all_known = bool(times) and all(None not in pair for pair in times.values())
    return found if found or is_all_known else None


def _start_afresh() -> None:
    # In the child of a fork the thread does not exist, and what NVML was initialized to is the parent's.
    global _lock, _thread, _library
    _lock = threading.Lock()
    _thread = Answerer("NVML")
    _library = Library()
    _states.clear()


os.register_at_fork(after_in_child=_start_afresh)
