# SPDX-License-Identifier: MIT
"""Results as tables for people. Everything estimated is marked with a `~`, and bounds are never left out."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from ..gpus import remarks
from .numbers import bounded, decimals_for, rounded, with_unit

if TYPE_CHECKING:
    from .._core import Choice

Record = Mapping[str, Any]

_UNKNOWN = "unknown"
_ESTIMATED_STYLE = "yellow"
_LOSSES = {"resets": "counter resets", "dropped": "dropped edges", "retries": "readings that failed"}


def grid(*columns: str) -> Table:
    """A table without lines; a column whose name starts with ">" is aligned to the right."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("", width=0)  # the margin
    for column in columns:
        right = column.startswith(">")
        table.add_column(column.lstrip(">"), justify="right" if right else "left", no_wrap=True)
    return table


def stat_tables(
    result: Record, depths: Mapping[str, int], warmup: int, why_estimated: str, missing: Sequence[str]
) -> list[Any]:
    """What `stat` prints.

    Args:
        depths: the channels in the order of their tree, with their depth in it.
        why_estimated: the sentence that says why an estimate stands in; used only where one does.
        missing: sentences, what should have been measured and was not.
    """
    repeated = "runs" in result
    title = Text.assemble("\n Energy of '", (shlex.join(result["command"]), "bold"), "'", _runs(result, warmup), "\n")
    table = _repeated(result, depths) if repeated else _single(result, depths)
    notes = [*_notes(result, depths, why_estimated), *(Text(f"  {each}", "red") for each in missing)]
    return [title, table, *_times(result), *_sources(result, depths), *notes, Text()]


def list_table(choices: Sequence[Choice], depths: Mapping[str, int]) -> Table:
    """What `list` prints."""
    by_name = {choice.channel.name: choice for choice in choices}
    has_windows = any(choice.channel.window_ns for choice in choices)
    windows = (">mean over",) if has_windows else ()
    table = grid("channel", "source", "provenance", ">step", ">moves every", *windows, ">a read", "also read by")
    for name, depth in depths.items():
        choice = by_name[name]
        info = choice.channel
        style = _ESTIMATED_STYLE if info.provenance == "estimated" else ""
        table.add_row(
            "",
            Text("  " * depth + name, style or "bold"),
            info.source,
            Text(info.provenance, style),
            with_unit(info.quantum_joules, "J"),
            _moves_every(choice),
            *((with_unit(info.window_ns * 1e-9, "s") if info.window_ns else "-",) if has_windows else ()),
            with_unit(choice.read_ns * 1e-9, "s"),
            ", ".join(choice.others) or "-",
        )
    return table


def _moves_every(choice: Choice) -> str:
    if choice.channel.provenance == "estimated":
        return "-"  # time itself moves it
    return with_unit(choice.seen_period_ns * 1e-9, "s") if choice.seen_period_ns else "not seen"


def _runs(result: Record, warmup: int) -> str:
    if "runs" not in result:
        return ""
    count = len(result["runs"])
    text = f"{count} run{'s' if count != 1 else ''}"
    return f" ({text}, {warmup} before to warm up)" if warmup else f" ({text})"


def _rows(result: Record, depths: Mapping[str, int]) -> list[tuple[str, Record, Record]]:
    """Label, record and spread of each row; the total only where it is more than its single channel."""
    spread = result.get("spread", {"channels": {}, "total": {}})
    rows = [
        ("  " * depth + name, result["channels"][name], spread["channels"].get(name, {}))
        for name, depth in depths.items()
    ]
    if len(rows) > 1:
        rows.append(("total", result["total"], spread["total"]))
    if result["command_cpu"]["joules"] is not None:
        rows.append(("command", result["command_cpu"], {}))
    return rows


def _source_text(label: str, record: Record, roots: Mapping[str, Record]) -> str:
    """`roots`: the channels that the total is the sum of."""
    if label == "total":
        return f"{record['provenance']}, {' + '.join(roots)}"
    if label == "command":
        models = [name for name, root in roots.items() if root["provenance"] == "estimated"]
        return f"{record['provenance']}, {record['seconds']:.6f} s of CPU time, part of {' + '.join(models)}"
    return f"{record['provenance']}, {record['source']}"


def _single(result: Record, depths: Mapping[str, int]) -> Table:
    table = grid("", ">joules", "bounds", ">watts", "source")
    roots = {name: result["channels"][name] for name, depth in depths.items() if depth == 0}
    for label, record, _ in _rows(result, depths):
        style, mark = _marks(record)
        joules, bounds = _joules(record)
        table.add_row(
            "",
            Text(label, "bold" if label == "total" else ""),
            Text(mark + joules, style or "bold"),
            bounds,
            Text(mark + _watts(record), style),
            _source_text(label, record, roots),
        )
    return table


def _repeated(result: Record, depths: Mapping[str, int]) -> Table:
    table = grid("", ">joules ± stddev", ">min … max", "bounds of the mean", ">watts")
    for label, record, spread in _rows(result, depths):
        style, mark = _marks(record)
        joules, bounds = _joules(record)
        joules, extremes = _spread(record, spread, joules)
        table.add_row(
            "",
            Text(label, "bold" if label == "total" else ""),
            Text(mark + joules, style or "bold"),
            extremes,
            bounds,
            Text(mark + _watts(record), style),
        )
    return table


def _sources(result: Record, depths: Mapping[str, int]) -> list[Text]:
    """What stands in the last column of a single run: the table of repeats is wide enough without it."""
    if "runs" not in result:
        return []
    roots = {name: result["channels"][name] for name, depth in depths.items() if depth == 0}
    labels: dict[str, list[str]] = {}
    for label, record, _ in _rows(result, depths):
        if label != "total":
            labels.setdefault(_source_text(label, record, roots), []).append(label.strip())
    lines = [Text(f"  {', '.join(names)}: {text}") for text, names in labels.items()]
    return [*lines, Text(f"  total: {' + '.join(roots)}")] if len(depths) > 1 else lines


def _marks(record: Record) -> tuple[str, str]:
    return (_ESTIMATED_STYLE, "~") if record["provenance"] == "estimated" else ("", "")


def _joules(record: Record) -> tuple[str, str]:
    if record["joules"] is None:
        return _UNKNOWN, ""
    return bounded(record["joules"], record["lower"], record["upper"])


def _watts(record: Record) -> str:
    """As many digits as the joules have: the seconds are known far better."""
    joules, watts = record["joules"], record["watts"]
    if watts is None:
        return _UNKNOWN if joules is None else ""
    scale = watts / joules if joules else 0.0
    upper = record["upper"] if record["upper"] is not None else joules
    return rounded(watts, decimals_for((upper - record["lower"]) / 2 * scale, watts))


def _spread(record: Record, spread: Record, joules: str) -> tuple[str, str]:
    """Mean with standard deviation, and range. Digits as the larger of deviation and bounds justifies."""
    if spread.get("stddev") is None:
        return joules, ""
    upper = record["upper"] if record["upper"] is not None else record["joules"]
    decimals = decimals_for(max(spread["stddev"], (upper - record["lower"]) / 2), record["joules"])
    mean, deviation, low, high = (
        rounded(value, decimals) for value in (record["joules"], spread["stddev"], spread["min"], spread["max"])
    )
    return f"{mean} ± {deviation}", f"{low} … {high}"


def _times(result: Record) -> list[Text]:
    cpu = result["command_cpu"]
    own = f"{cpu['user_seconds']:.6f} s user, {cpu['system_seconds']:.6f} s sys"
    elapsed = f"{result['seconds']:.6f}"
    if "spread" in result:
        spread = result["spread"]["seconds"]
        if spread["stddev"] is not None:
            elapsed += f" ± {spread['stddev']:.6f} s elapsed ({spread['min']:.6f} … {spread['max']:.6f})"
        else:
            elapsed += " s elapsed"
        own = f"mean of {own}"
    else:
        elapsed += " s elapsed"
    return [Text(f"\n  {elapsed}, {own}")]


def _notes(result: Record, depths: Mapping[str, int], why_estimated: str) -> list[Text]:
    notes = []
    if any(record["provenance"] == "estimated" for record in result["channels"].values()):
        notes.append(Text(f"\n  ~ estimated from CPU time, not measured. {why_estimated}", _ESTIMATED_STYLE))
        notes.append(Text("    `powerprobe doctor` says what would help.", _ESTIMATED_STYLE))
    notes += [Text(f"  {remark}", "red") for remark in remarks(result["gpus"])] if result["gpus"] else []
    notes += [Text(f"  {name} is unknown: {why}", "red") for name, why in result["unknown"].items() if name in depths]
    # A missed tick or a wrap is nothing to worry about; docs/json.md has them all.
    lost = [f"{result['losses'][name]} {what}" for name, what in _LOSSES.items() if result["losses"][name]]
    if lost:
        notes.append(Text(f"  while measuring: {', '.join(lost)}", "red"))
    failed = [run["exit_status"] for run in result.get("runs", []) if run["exit_status"]]
    if failed:
        notes.append(
            Text(f"  {len(failed)} of {len(result['runs'])} runs failed, the first with status {failed[0]}", "red")
        )
    if result["interrupted"]:
        notes.append(Text("  interrupted: this is what was measured until then", "red"))
    return notes
