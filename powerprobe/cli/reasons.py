# SPDX-License-Identifier: MIT
"""Refusals in people's words: the one sentence why there is no counter, and which command would change that."""

from __future__ import annotations

import errno
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .._core import ChannelInfo, Refusal


_GPUS = "nvml"


def is_denied(refusal: Refusal) -> bool:
    """Whether all that is missing is a permission."""
    return refusal.error in (errno.EACCES, errno.EPERM)


def most_telling(refusals: Sequence[Refusal]) -> Refusal | None:
    """The refusal that is nearest to a counter: one that only lacks permission, else one that something would help."""
    denied = [r for r in refusals if is_denied(r)]
    helped = [r for r in refusals if r.remedy]
    return next(iter(denied or helped or refusals), None)


def why_no_counter(refusals: Sequence[Refusal], of: str = "") -> str:
    """The sentence; `of` says of what there is none (" of the processor") where others are read."""
    refusal = most_telling(refusals)
    if refusal is None:
        return f"No energy counter{of} was found on this machine."
    return f"No energy counter{of} can be read here: {refusal.reason}."


def why_estimated(channels: Iterable[ChannelInfo], refusals: Sequence[Refusal]) -> str:
    """Why some of these are estimated, used only where some are."""
    is_all = all(channel.provenance == "estimated" for channel in channels)
    # What is estimated is the processor, and a GPU that cannot be read is no reason for that.
    of_processors = [refusal for refusal in refusals if refusal.source != _GPUS]
    return why_no_counter(of_processors, "" if is_all else " of the processor")


def missing_boards(refusals: Iterable[Refusal]) -> list[str]:
    """Sentences: GPUs that should be in what was measured and are not, because they do not answer.

    Those that this process may not use are left out: on a shared machine they are the GPUs of others.
    """
    boards = [r for r in refusals if r.source == _GPUS and r.path.startswith("GPU ") and not is_denied(r)]
    return [f"{board.path} is missing here: {board.reason}" for board in boards]


def without_repeats(refusals: Sequence[Refusal]) -> list[tuple[Refusal, int]]:
    """Refusals that differ in more than the path, each with how many were alike: a machine has many CPUs and zones."""
    counts: dict[tuple[str, str, str], tuple[Refusal, int]] = {}
    for refusal in refusals:
        key = (refusal.source, refusal.reason, refusal.remedy)
        first, count = counts.get(key, (refusal, 0))
        counts[key] = (first, count + 1)
    return list(counts.values())
