# SPDX-License-Identifier: MIT
"""Plain-text tables with aligned columns, for print(). Pure functions."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

_PREFIXES = ((1.0, ""), (1e3, "m"), (1e6, "u"), (1e9, "n"))
_DIGITS = 4  # significant, of the largest number of a column


def scale_of(values: Iterable[float]) -> tuple[float, str]:
    """The factor and the prefix of the unit that bring the largest of these to 1 or more: (1e3, "m") for millijoules."""
    largest = max((abs(value) for value in values if math.isfinite(value)), default=0.0)
    for factor, prefix in _PREFIXES:
        if largest * factor >= 1.0:
            return factor, prefix
    return (1.0, "") if largest == 0.0 else _PREFIXES[-1]


def numbers(values: Sequence[float], factor: float = 1.0) -> list[str]:
    """The values times factor, all with the decimals that give the largest of them four significant digits.

    NaN, which stands for what is not known, reads "unknown".
    """
    largest = max((abs(value * factor) for value in values if math.isfinite(value)), default=0.0)
    decimals = max(0, _DIGITS - len(str(int(largest))))
    return ["unknown" if math.isnan(value) else f"{value * factor:.{decimals}f}" for value in values]


def seconds(value: float) -> str:
    """A duration with its unit: "1.234 s", "12.3 ms", "4.56 us"."""
    factor, prefix = scale_of([value])
    return f"{value * factor:.4g} {prefix}s"


def table(header: Sequence[str], rows: Iterable[Sequence[str]], align: str) -> str:
    """Lines of columns two spaces apart; align has one "<" (left) or ">" (right) for each column."""
    lines = [list(header), *(list(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    return "\n".join(
        "  ".join(f"{cell:{side}{width}}" for cell, side, width in zip(line, align, widths, strict=True)).rstrip()
        for line in lines
    )
