# SPDX-License-Identifier: MIT
"""The runs of `bench` as a strip plot. The only file that imports matplotlib."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

_LONGEST = 40  # characters of a command


def strip_plot(commands: Sequence[Mapping[str, Any]], kind: str) -> bytes:
    """A row for each command: each run a dot, in the order of time from top to bottom; the mean with its interval below."""
    figure = Figure(figsize=(8.0, 1.2 + 0.9 * len(commands)), layout="constrained")
    axes = figure.subplots()
    for row, record in enumerate(commands):
        joules = [run["total"]["joules"] for run in record["runs"]]
        count = len(joules)
        known = [(value, row - 0.25 + 0.4 * i / count) for i, value in enumerate(joules) if value is not None]
        if known:
            x, y = zip(*known, strict=True)
            axes.scatter(x, y, s=14, alpha=0.7, color=f"C{row % 10}", linewidths=0)
        mean = record["total"]["joules"]
        if mean["low"] is not None:
            ends = [[mean["mean"] - mean["low"]], [mean["high"] - mean["mean"]]]
            axes.errorbar([mean["mean"]], [row + 0.3], xerr=ends, fmt="|", color="black", capsize=3)
    axes.set_yticks(range(len(commands)), [f"{i}: {_short(record['command'])}" for i, record in enumerate(commands, 1)])
    axes.set_ylim(len(commands) - 0.5, -0.5)
    estimated = any(record["total"]["provenance"] == "estimated" for record in commands)
    axes.set_xlabel("J per run, estimated from CPU time" if estimated else "J per run; below: mean, 95 %")
    axes.grid(axis="x", alpha=0.3)
    out = io.BytesIO()
    figure.savefig(out, format=kind, dpi=150)
    return out.getvalue()


def _short(command: str) -> str:
    text = command if len(command) <= _LONGEST else command[: _LONGEST - 1] + "…"
    return text.replace("$", r"\$")  # not mathematics
