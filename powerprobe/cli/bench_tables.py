# SPDX-License-Identifier: MIT
"""What `bench` shows: tables for a terminal, Markdown and CSV. Everything estimated is marked with a `~`."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from rich.table import Table
from rich.text import Text

from ..interval import Interval
from ..percall import change
from .numbers import decimals_for, rounded
from .tables import grid

Record = Mapping[str, Any]

_UNKNOWN = "unknown"
_ESTIMATED = "estimated from CPU time, not measured: this cannot tell one program from another"
_ESTIMATED_STYLE = "yellow"
_BLOCKS = " ▁▂▃▄▅▆▇█"
_BINS = 40

_CSV = ("mean", "low", "high", "stddev", "min", "max")


def bench_tables(
    result: Record, depths: Mapping[str, int], warmup: int, why_estimated: str, histogram: bool
) -> list[Any]:
    """What is printed.

    Args:
        depths: the channels in the order of their tree, with their depth in it.
        why_estimated: the sentence that says why an estimate stands in; used only where one does.
    """
    parts: list[Any] = []
    for number, record in enumerate(result["commands"], 1):
        count = len(record["runs"])
        runs = f"{count} run{'s' if count != 1 else ''}" + (f", {warmup} before to warm up" if warmup else "")
        parts += [
            Text.assemble(f"\n {number}: '", (record["command"], "bold"), f"' ({runs})\n"),
            _table(record, depths),
        ]
    if len(result["commands"]) > 1:
        parts += _comparison(result)
    if histogram:
        parts += [Text(line) for line in _histogram(result["commands"])]
    return [*parts, *_notes(result, why_estimated), Text()]


def _table(record: Record, depths: Mapping[str, int]) -> Table:
    table = grid("", ">mean ± stddev", "", ">min … max", "95 % of the mean", "with bounds")
    names = {**{name: "  " * depth + name for name, depth in depths.items()}, "total": "total"}
    energies = {**record["channels"], "total": record["total"]}
    shown = names if len(depths) > 1 else {"total": names[next(iter(depths))]}
    for name, label in shown.items():
        energy = energies[name]
        _row(table, label, energy["joules"], "J", energy)
    if record["total"]["net_joules"] is not None:
        _row(
            table,
            "net of idling",
            record["total"]["net_joules"],
            "J",
            {**record["total"], "lower": None, "upper": None},
        )
    _row(table, "time", record["seconds"], "s", {})
    _row(table, "power", record["watts"], "W", record["total"])
    return table


def _row(table: Table, label: str, spread: Record, unit: str, energy: Record) -> None:
    style, mark = (_ESTIMATED_STYLE, "~") if energy.get("provenance") == "estimated" else ("bold", "")
    if spread["mean"] is None:
        table.add_row("", label, _UNKNOWN)
        return
    decimals = decimals_for(spread["stddev"] or 0.0, spread["mean"])
    mean, low, high, stddev, least, most = (
        None if spread[key] is None else rounded(spread[key], decimals) for key in _CSV
    )
    bounds = ""
    if unit == "J" and energy.get("lower") is not None:
        upper = "inf" if energy["upper"] is None else rounded(energy["upper"], decimals)
        bounds = f"[{rounded(energy['lower'], decimals)}, {upper}]"
    table.add_row(
        "",
        label,
        Text(mark + (f"{mean} ± {stddev}" if stddev else f"{mean}"), style),
        unit,
        f"{least} … {most}",
        f"[{low}, {high}]" if low and high else "",
        bounds,
    )


def _comparison(result: Record) -> list[Text]:
    lines = [Text(f"\n Against 1{_how(result)}:\n")]
    first = result["commands"][0]
    for number, record in enumerate(result["commands"][1:], 2):
        against = record["against_first"]
        if against is None:
            ratios = [
                f"{record[key]['mean'] / first[key]['mean']:.2f} times the {word}"
                for key, word in (("seconds", "time"), ("watts", "power"))
                if record[key]["mean"] and first[key]["mean"]
            ]
            energy, other = record["total"]["joules"]["mean"], first["total"]["joules"]["mean"]
            ratios[:0] = [f"{energy / other:.2f} times the energy"] if energy and other else []
            lines.append(Text(f"  {number}: {', '.join(ratios)}"))
            continue
        lines.append(Text(f"  energy: {against['verdict']}", "bold"))
        if against["net_joules"] is not None and record["total"]["provenance"] != "estimated":
            lines.append(Text(f"  net energy: {change(_interval(against['net_joules']['ratio']), str(number), '1')}"))
        lines.append(Text(f"  time: {change(_interval(against['seconds']['ratio']), str(number), '1')}"))
    if not result["compared"]:
        lines.append(Text("  (one after the other; --compare runs them in turn and says whether they differ)", "dim"))
    return lines


def _how(result: Record) -> str:
    if not result["compared"]:
        return ", of the means"
    return f", in {len(result['commands'][0]['runs'])} rounds of random order (--seed {result['seed']})"


def _interval(record: Record) -> Interval:
    return Interval(*(float("nan") if record[key] is None else record[key] for key in ("value", "low", "high")))


def _histogram(commands: Sequence[Record]) -> list[str]:
    """One line for each command, on one axis; the height is the number of runs."""
    joules = [[run["total"]["joules"] for run in record["runs"]] for record in commands]
    known = [value for each in joules for value in each if value is not None]
    if not known:
        return []
    low, high = min(known), max(known)
    decimals = decimals_for((high - low) / _BINS, high)
    lines = [f"\n  energy of each run, {rounded(low, decimals)} … {rounded(high, decimals)} J"]
    for number, each in enumerate(joules, 1):
        counts, _ = np.histogram([v for v in each if v is not None], _BINS, (low, high))
        heights = np.ceil(counts / counts.max() * (len(_BLOCKS) - 1)).astype(int)
        lines.append(f"  {number}  |{''.join(_BLOCKS[height] for height in heights)}|")
    return lines


def _notes(result: Record, why_estimated: str) -> list[Text]:
    notes = []
    if baseline := result["baseline"]:
        before, after, drift = (baseline[key]["total"] for key in ("before", "after", "drift"))
        if before is not None and after is not None:
            notes.append(
                Text(
                    f"\n  idling took {before:.3f} W before and {after:.3f} W after, drift {round(drift, 3) + 0.0:+.3f} W"
                )
            )
    if result["commands"][0]["total"]["provenance"] == "estimated":
        notes.append(
            Text(
                "\n  ~ estimated from CPU time, not measured: this cannot tell one program from another.",
                _ESTIMATED_STYLE,
            )
        )
        notes.append(Text(f"    {why_estimated} `powerprobe doctor` says what would help.", _ESTIMATED_STYLE))
    notes += [Text(f"  warning: {warning}", "red") for warning in result["warnings"]]
    if result["interrupted"]:
        notes.append(Text("  interrupted: this is what was measured until then", "red"))
    return notes


def csv_text(result: Record) -> str:
    """One line for each command; what is not known is empty."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    figures = [f"{kind}_{key}" for kind in ("joules", "net_joules", "seconds", "watts") for key in _CSV]
    rest = ("lower", "upper", "user_seconds", "system_seconds", "provenance", "ratio", "ratio_low", "ratio_high")
    writer.writerow(["command", "runs", *figures, *rest])
    for record in result["commands"]:
        total, against = record["total"], record["against_first"]
        spreads = (total["joules"], total["net_joules"] or {}, record["seconds"], record["watts"])
        ratio = against["joules"]["ratio"] if against else {}
        writer.writerow(
            [record["command"], len(record["runs"])]
            + [spread.get(key) for spread in spreads for key in _CSV]
            + [total["lower"], total["upper"], record["user_seconds"], record["system_seconds"], total["provenance"]]
            + [ratio.get(key) for key in ("value", "low", "high")]
        )
    return out.getvalue()


def markdown_text(result: Record) -> str:
    """A table with a row for each command."""
    lines = [
        "| Command | Energy [J] | Min … Max [J] | Net [J] | Time [s] | Power [W] | Energy relative to the first |",
        "|:---|---:|---:|---:|---:|---:|---:|",
    ]
    first = result["commands"][0]["total"]["joules"]["mean"]
    for record in result["commands"]:
        total, against = record["total"], record["against_first"]
        mark = "~" if total["provenance"] == "estimated" else ""
        joules = total["joules"]
        relative = f"{joules['mean'] / first:.2f}" if joules["mean"] and first else ""
        if against and against["joules"]["ratio"]["low"] is not None:
            ratio = against["joules"]["ratio"]
            relative = f"{ratio['value']:.3f} [{ratio['low']:.3f}, {ratio['high']:.3f}]"
        command = record["command"].replace("|", "\\|")
        lines.append(
            f"| `{command}` | {mark}{_plain(joules)} | {_range(joules)} | {mark}{_plain(total['net_joules'])} "
            f"| {_plain(record['seconds'])} | {mark}{_plain(record['watts'])} | {relative} |"
        )
    if any(record["total"]["provenance"] == "estimated" for record in result["commands"]):
        lines.append(f"\n~ {_ESTIMATED}")
    return "\n".join(lines) + "\n"


def _plain(spread: Record | None) -> str:
    if spread is None or spread["mean"] is None:
        return ""
    decimals = decimals_for(spread["stddev"] or 0.0, spread["mean"])
    deviation = f" ± {rounded(spread['stddev'], decimals)}" if spread["stddev"] is not None else ""
    return rounded(spread["mean"], decimals) + deviation


def _range(spread: Record) -> str:
    if spread["min"] is None:
        return ""
    decimals = decimals_for(spread["stddev"] or 0.0, spread["mean"])
    return f"{rounded(spread['min'], decimals)} … {rounded(spread['max'], decimals)}"
