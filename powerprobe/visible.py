# SPDX-License-Identifier: MIT
"""Which boards CUDA_VISIBLE_DEVICES leaves to the programs of this process. A pure function, any thread."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ._core import ChannelInfo

VARIABLE = "CUDA_VISIBLE_DEVICES"
_ORDER = "CUDA_DEVICE_ORDER"


def visible_gpus(channels: Iterable[ChannelInfo], environment: Mapping[str, str]) -> frozenset[int]:
    """Numbers (`ChannelInfo.gpu`) of the boards that CUDA would show to a program with this environment.

    The rules are CUDA's. Without the variable all boards are visible. Otherwise it is a list of indices, UUIDs ("GPU-...",
    or as much of one as is unambiguous) and MIG instances ("MIG-<uuid>", or "MIG-<uuid of the board>/<gi>/<ci>" as drivers
    before R470 name them), and ends before the first entry that names nothing: so "" and "-1" hide all. An entry that is
    there twice hides all, too: CUDA then finds no device (so do PyTorch's rules, which copy CUDA's). Of an index only
    the leading digits count.

    Indices count as CUDA_DEVICE_ORDER says: PCI_BUS_ID is the order of NVML and so of `gpu`. By default CUDA puts the fastest
    first by a heuristic that it does not publish; here that is by `speed`, equals in the order of the bus, and where the speed of
    any board is not known all are in the order of the bus. Boards that differ can so be mistaken for each other; who has such
    and names indices sets CUDA_DEVICE_ORDER=PCI_BUS_ID, or names UUIDs.

    What else cannot be known: whether a program changed the variable after CUDA had read it, and which one of several
    MIG instances CUDA takes. Most drivers show only the first; here the boards of all of them are visible.
    """
    boards: dict[int, ChannelInfo] = {}
    for channel in channels:
        if channel.gpu >= 0 and (channel.gpu not in boards or channel.uuid):
            boards[channel.gpu] = channel
    if VARIABLE not in environment:
        return frozenset(boards)
    order = _cuda_order(boards, environment)
    names = {board.uuid: gpu for gpu, board in boards.items() if board.uuid}
    instances = {instance: gpu for gpu, board in boards.items() for instance in board.instances}
    seen: dict[str, int] = {}
    for entry in environment[VARIABLE].split(","):
        found = _find(entry.strip(), order, names, instances)
        if found is None:
            break
        name, gpu = found
        if name in seen:
            return frozenset()
        seen[name] = gpu
    return frozenset(seen.values()) & frozenset(boards)


def _cuda_order(boards: Mapping[int, ChannelInfo], environment: Mapping[str, str]) -> list[int]:
    # A board that nothing can be read of has a number all the same.
    order = list(range(max(boards, default=-1) + 1))
    is_known = len(boards) == len(order) and all(board.speed > 0 for board in boards.values())
    if environment.get(_ORDER, "").strip() != "PCI_BUS_ID" and is_known:
        order.sort(key=lambda gpu: -boards[gpu].speed)
    return order


def _find(
    entry: str, order: list[int], names: Mapping[str, int], instances: Mapping[str, int]
) -> tuple[str, int] | None:
    """What an entry names, in a form that is the same for all its spellings, and on which board; None: nothing."""
    if entry.startswith("MIG-GPU-"):
        board, _, place = entry.removeprefix("MIG-").partition("/")
        found = _by_prefix(board, names)
        return (f"MIG-{found[0]}/{place}", found[1]) if found else None
    if entry.startswith("MIG-"):
        return _by_prefix(entry, instances)
    if entry.startswith("GPU-"):
        found = _by_prefix(entry, names)
        return (str(found[1]), found[1]) if found else None
    digits = re.match(r"\+?([0-9]+)", entry)
    if digits is None or int(digits[1]) >= len(order):
        return None
    gpu = order[int(digits[1])]
    return str(gpu), gpu


def _by_prefix(prefix: str, names: Mapping[str, int]) -> tuple[str, int] | None:
    matching = [(name, gpu) for name, gpu in names.items() if name.startswith(prefix)]
    return matching[0] if len(matching) == 1 else None
