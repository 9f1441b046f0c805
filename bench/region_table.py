# SPDX-License-Identifier: MIT
"""The errors of regions side by side: three rows of `accuracy.region_error` make one line."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Sequence

from .measure import Row

_NAME = re.compile(r"region_(\w+?)_(const|square|burst)_(?:(ends|lerp10ms)_)?error_median_pct")
_SECONDS = {"us": 1e-6, "ms": 1e-3}


@dataclasses.dataclass(frozen=True)
class Line:
    length: str  # "200us"
    load: str
    case: str
    ours: Row
    ends: Row
    lerp10ms: Row

    @property
    def seconds(self) -> float:
        return int(self.length[:-2]) * _SECONDS[self.length[-2:]]


def split(rows: Sequence[Row]) -> tuple[list[Line], list[Row]]:
    """The lines, and the rows that have nothing to do with them."""
    lines: dict[tuple[str, str, str], dict[str, Row]] = {}
    others: list[Row] = []
    for row in rows:
        if name := _NAME.fullmatch(row.name):
            length, load, twin = name.groups()
            lines.setdefault((length, load, row.case), {})[twin or "ours"] = row
        else:
            others.append(row)
    return [Line(*where, s["ours"], s["ends"], s["lerp10ms"]) for where, s in lines.items()], others


HEAD = ["region", "load", "counter", "powerprobe", "quartiles", "two readings", "10 ms samples", "ratio", "goal", "met"]
NOTE = (
    "region: median error in percent of the true energy. Two readings: at its two ends, without delay. 10 ms samples: "
    "interpolated between them, without jitter. Ratio: two readings to powerprobe"
)


def _short(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f}" if value >= 10 else f"{value:.2g}"


def body(lines: Sequence[Line]) -> Iterator[list[str]]:
    for line in lines:
        ours = line.ours
        yield [
            line.length,
            line.load,
            line.case,
            f"{_short(ours.value)} %",
            f"{_short(ours.low)}-{_short(ours.high)}",
            f"{_short(line.ends.value)} %",
            f"{_short(line.lerp10ms.value)} %",
            f"{_short(ours.ratio)}x",
            ours.goal or "-",
            ours.met_text,
        ]
