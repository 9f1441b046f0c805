# SPDX-License-Identifier: MIT
"""GPUs in what the commands show: a table of boards, what was seen of their channels, and remarks. Pure, but for NVML."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.table import Table

from ..channels import board_name
from ..gpus import facts
from ..visible import VARIABLE, visible_gpus
from ..windows import Window
from .numbers import with_unit
from .tables import grid

if TYPE_CHECKING:
    from .._core import ChannelInfo
    from .seen import Seen

Record = dict[str, Any]

_SHORT = 12  # of a UUID: "GPU-" and eight digits, which CUDA_VISIBLE_DEVICES takes, too
_MOST = 3  # processes that are named


def boards_of(channels: Iterable[ChannelInfo]) -> list[Record]:
    """What is known of each board, with what NVML tells of it now (waits for that 1 s at most)."""
    infos: dict[int, ChannelInfo] = {}
    for channel in channels:
        if channel.gpu >= 0:
            infos.setdefault(channel.gpu, channel)
    told = facts([info.uuid for info in infos.values()]) if infos else []
    visible = visible_gpus(infos.values(), os.environ)
    return [
        {
            **about,
            "name": board_name(gpu),
            "model": info.model or about["model"],
            "pci": info.pci or None,
            "uuid": info.uuid or None,
            "instances": list(info.instances),
            "visible": gpu in visible,
        }
        for (gpu, info), about in zip(infos.items(), told, strict=True)
    ]


def boards_table(boards: Sequence[Record]) -> Table:
    is_told = any(not board["unknown"] for board in boards)
    more = (">limit", ">clock", "slowed or held by", "processes", "driver") if is_told else ()
    table = grid("board", "model", "PCI", "UUID", *more)
    for board in boards:
        row = [board["name"], board["model"] or "-", board["pci"] or "-", (board["uuid"] or "-")[:_SHORT]]
        if is_told:
            row += [_limit(board), _clock(board), _list(board["reasons"]), _processes(board), board["driver"] or "-"]
        table.add_row("", *row)
    return table


def seen_table(seen: Sequence[Seen]) -> Table:
    table = grid("channel", ">moves every", "eight in ten between", ">step", "mean over")
    for each in seen:
        if each.period is None or each.step is None:
            table.add_row("", each.name, "not seen", "", "", "")
            continue
        low, median, high = (with_unit(value, "s") for value in each.period)
        table.add_row("", each.name, median, f"{low} … {high}", with_unit(each.step, "J"), _window(each.window))
    return table


def disagreements(seen: Sequence[Seen]) -> list[str]:
    return [
        f"{each.name}: the counter says {abs(each.mismatch):.1%} {'less' if each.mismatch < 0 else 'more'} than the power readings"
        for each in seen
        if each.mismatch is not None
    ]


def gpu_remarks(channels: Sequence[ChannelInfo]) -> list[str]:
    """What is to be known before boards are measured."""
    numbers = {channel.gpu for channel in channels if channel.gpu >= 0}
    hidden = sorted(numbers - visible_gpus(channels, os.environ))
    remarks = []
    if hidden:
        remarks.append(
            f"{VARIABLE}={os.environ.get(VARIABLE, '')} hides {_and(map(board_name, hidden))}: measured only when named, "
            "or with --all-gpus"
        )
    blind = sorted({channel.gpu for channel in channels if channel.gpu >= 0 and channel.blind_joules > 0.0})
    if blind:
        remarks.append(
            f"The sensor of {_and(map(board_name, blind))} looks at the power only part of the time; bounds have room for what "
            "it can miss"
        )
    return remarks


def merged(runs: Sequence[Mapping[str, Record]]) -> dict[str, Record]:
    """`Measurement.gpus` of several runs as one: the limit at the first begin, and whatever happened in any."""
    result: dict[str, Record] = {}
    for name in runs[0]:
        boards = [run[name] for run in runs]
        throttled = [board["throttled"] for board in boards]
        mismatches = [board["mismatch"] for board in boards if board["mismatch"] is not None]
        result[name] = {
            **boards[-1],
            "power_limit": boards[0]["power_limit"],
            "throttled": True if any(throttled) else None if None in throttled else False,
            "throttle_reasons": sorted({reason for board in boards for reason in board["throttle_reasons"]}),
            "mismatch": max(mismatches, key=abs, default=None),
            "unknown": next((board["unknown"] for board in boards if board["unknown"]), ""),
        }
    return result


def _window(window: Window | str | None) -> str:
    if window is None:
        return "-"
    if isinstance(window, str):
        return f"not told: {window}"
    seconds, low, high = (with_unit(value, "s") for value in window)
    return f"{seconds} [{low}, {high}]"


def _limit(board: Record) -> str:
    limit, usual = board["power_limit"], board["power_limit_default"]
    if limit is None:
        return "-"
    return f"{limit:g} W" if usual in (None, limit) else f"{limit:g} of {usual:g} W"


def _clock(board: Record) -> str:
    now, most = ((board[key] or {}).get("sm") for key in ("clocks", "clocks_max"))
    if now is None:
        return "-"
    return f"{now} MHz" if most is None else f"{now} of {most} MHz"


def _list(words: Sequence[str] | None) -> str:
    return "-" if words is None else ", ".join(words) or "nothing"


def _processes(board: Record) -> str:
    processes = board["processes"]
    if not processes:
        return "-" if processes is None else "none"
    named = [f"{process['pid']} {os.path.basename(process['name'] or '')}".strip() for process in processes[:_MOST]]
    return ", ".join(named) + (f" and {len(processes) - _MOST} more" if len(processes) > _MOST else "")


def _and(names: Iterable[str]) -> str:
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last
