# SPDX-License-Identifier: MIT
"""The errors of regions as a picture. Needs matplotlib."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from . import region_table
from .measure import Row

# Readable on white and on black.
GREY = "#7d8590"
COLOURS = {"ours": "#2f81f7", "ends": "#db6d28", "lerp10ms": "#8957e5"}
LABELS = {"ours": "powerprobe", "ends": "two readings, at the ends", "lerp10ms": "samples every 10 ms, interpolated"}
LOADS = {"const": "constant load", "square": "square wave, periods of 0.3 to 30 ms", "burst": "bursts of a millisecond"}
LENGTHS = {50e-6: "50 us", 200e-6: "200", 1e-3: "1 ms", 5e-3: "5", 20e-3: "20", 100e-3: "100"}
ERRORS = {100.0: "100 %", 10.0: "10 %", 1.0: "1 %", 0.1: "0.1 %", 0.01: "0.01 %", 0.001: "0.001 %"}


def draw(rows: Sequence[Row], facts: dict[str, object], file: Path) -> None:
    lines, _ = region_table.split(rows)
    cases = list(dict.fromkeys(line.case for line in lines))
    style: Any = {
        "font.size": 9,
        "svg.fonttype": "none",  # small, and can be searched
        "svg.hashsalt": "powerprobe",
        **dict.fromkeys(("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"), GREY),
    }
    with mpl.rc_context(style):
        figure = Figure(figsize=(9, 1.1 + 1.9 * len(cases)), layout="constrained")
        grid = figure.subplots(len(cases), len(LOADS), sharex=True, sharey=True, squeeze=False)
        for row, case in enumerate(cases):
            for column, load in enumerate(LOADS):
                of_panel = [line for line in lines if line.case == case and line.load == load]
                _panel(grid[row][column], of_panel, LOADS[load] if row == 0 else "")
            grid[row][0].set_ylabel(case)
        handles, labels = grid[0][0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=3, frameon=False)
        figure.supxlabel(_caption(facts), fontsize=7, linespacing=1.5)
        file.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(file, transparent=True, metadata={"Date": None} if file.suffix == ".svg" else None)


def _panel(axes: Axes, lines: Sequence[region_table.Line], title: str) -> None:
    seconds = [line.seconds for line in lines]
    for side, label in LABELS.items():
        values = [getattr(line, side).value for line in lines]
        axes.loglog(seconds, values, "o-", color=COLOURS[side], label=label, markersize=3, linewidth=1.5)
    low, high = [line.ours.low for line in lines], [line.ours.high for line in lines]
    axes.fill_between(seconds, low, high, color=COLOURS["ours"], alpha=0.2, linewidth=0)
    axes.set_title(title, fontsize=9)
    axes.set_xticks(list(LENGTHS), list(LENGTHS.values()), fontsize=8)
    axes.set_yticks(list(ERRORS), list(ERRORS.values()))
    axes.minorticks_off()
    axes.tick_params(bottom=False, left=False)
    axes.grid(color=GREY, alpha=0.25, linewidth=0.5)
    axes.spines[["top", "right"]].set_visible(False)


def _caption(facts: dict[str, object]) -> str:
    return (
        "median error of the energy of a region (shaded: quartiles between rounds) against its length; counters of known energy, "
        "each reading a real system call\n"
        f"{facts['cpu']}, {facts['cpus']} CPUs, hypervisor {facts['hypervisor']}, kernel {facts['kernel']}, "
        f"load {_one(facts['load'])} before and {_one(facts['load_after'])} after, {str(facts['date'])[:10]}"
    )


def _one(load: object) -> str:
    return f"{load[0]:.1f}" if isinstance(load, list) else "?"
