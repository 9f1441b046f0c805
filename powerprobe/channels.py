# SPDX-License-Identifier: MIT
"""Choosing channels by name, and the tree of domains that they form. Any thread; only `select` looks at the environment."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, NoReturn

from .errors import BadArgument, Unavailable
from .visible import VARIABLE, visible_gpus

if TYPE_CHECKING:
    from ._core import ChannelInfo


def select(channels: Sequence[ChannelInfo], wanted: str | Iterable[str] | None, all_gpus: bool = False) -> list[str]:
    """Names of the channels that `wanted` means, in the order of `channels`.

    `wanted` is a name or a pattern as a shell knows it ("package-*", "*" for all), or several. None means all but

    - the counters of single cores, of which there can be hundreds,
    - the power readings of a GPU beside its counter, which tell the same energy less well,
    - what belongs to boards that CUDA_VISIBLE_DEVICES hides, unless `all_gpus`.

    Raises:
        BadArgument: a name or pattern that no channel answers to.
        Unavailable: CUDA_VISIBLE_DEVICES hides all that there is.
        TypeError: something else than names.
    """
    if wanted is None:
        names = {c.name for c in channels}
        usual = [c for c in channels if c.core < 0 and not _is_beside(c, names)]
        shown = usual if all_gpus or all(c.gpu < 0 for c in usual) else _shown(usual)
        return [c.name for c in shown] or [c.name for c in channels if c.gpu < 0 or all_gpus] or _all_hidden()
    patterns = [wanted] if isinstance(wanted, str) else list(wanted)
    chosen: set[str] = set()
    for pattern in patterns:
        if not isinstance(pattern, str):
            raise TypeError(f"channels: names are str, not {type(pattern).__name__}")
        matching = [c.name for c in channels if c.name == pattern or fnmatchcase(c.name, pattern)]
        if not matching:
            raise BadArgument(f"channels: none matches {pattern!r}; there are {', '.join(c.name for c in channels)}")
        chosen.update(matching)
    if not chosen:
        raise BadArgument("channels: an empty list measures nothing")
    return [c.name for c in channels if c.name in chosen]


def board_name(gpu: int) -> str:
    """The channel that has all of a board."""
    return f"gpu-{gpu}"


def _is_beside(channel: ChannelInfo, names: set[str]) -> bool:
    whole = f"{channel.domain}-{channel.gpu}"
    return bool(channel.reading) and channel.name != whole and whole in names


def _shown(channels: Sequence[ChannelInfo]) -> list[ChannelInfo]:
    visible = visible_gpus(channels, os.environ)
    return [c for c in channels if c.gpu < 0 or c.gpu in visible]


def _all_hidden() -> NoReturn:
    raise Unavailable(
        f"{VARIABLE}={os.environ.get(VARIABLE, '')!r} hides every GPU, and nothing else can be measured here",
        remedy="name the boards there, give all_gpus=True (--all-gpus), or name the channels",
    )


class Tree:
    """Which of the chosen channels contains which; what is contained is never added to a total again.

    Attributes:
        roots: names of those that are inside no other.
        depths: every name in the order of a tree, parents before what they contain, with its depth.
    """

    __slots__ = ("depths", "roots")

    def __init__(self, channels: Iterable[ChannelInfo], chosen: Sequence[str]) -> None:
        parents = {c.name: c.parent for c in channels}
        inside: dict[str, list[str]] = {}
        for name in chosen:
            above = parents[name]
            while above and above not in chosen:  # a parent that was not chosen may itself be inside one that was
                above = parents.get(above, "")
            inside.setdefault(above, []).append(name)
        self.roots = tuple(inside.get("", ()))
        self.depths: dict[str, int] = {}
        self._walk(inside, "", 0)

    def _walk(self, inside: dict[str, list[str]], parent: str, depth: int) -> None:
        for name in inside.get(parent, ()):
            self.depths[name] = depth
            self._walk(inside, name, depth + 1)
