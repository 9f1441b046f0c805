# SPDX-License-Identifier: MIT
"""Numbers as text: as many digits as the bounds justify, bounds rounded outwards, and time as people write it."""

from __future__ import annotations

import math
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Decimal

MOST_DECIMALS = 9  # a nanojoule is far below any counter's step
DIGITS_WITHOUT_BOUNDS = 6
_SECONDS_OF = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9, "min": 60.0}


def decimals_for(uncertainty: float, value: float) -> int:
    """Decimals that show two digits of the uncertainty; of an exact value, six digits."""
    if uncertainty > 0 and math.isfinite(uncertainty):
        wanted = 1 - math.floor(math.log10(uncertainty))
    elif value != 0 and math.isfinite(value):
        wanted = DIGITS_WITHOUT_BOUNDS - 1 - math.floor(math.log10(abs(value)))
    else:
        wanted = 1
    return min(max(wanted, 0), MOST_DECIMALS)


def rounded(value: float, decimals: int, rounding: str = ROUND_HALF_EVEN) -> str:
    # From the shortest text of the float, so that 12.3 is not 12.300000000000001 to whoever rounds up.
    digits = Decimal(repr(float(value))).quantize(Decimal(1).scaleb(-decimals), rounding=rounding)
    return f"{digits or abs(digits):f}"  # 0.0, never -0.0


def bounded(value: float, lower: float, upper: float | None) -> tuple[str, str]:
    """A value and its bounds, all with the same decimals; None for `upper`: no bound is known.

    The bounds are rounded outwards: what is shown still contains the truth.
    """
    half_width = ((upper if upper is not None else value) - lower) / 2
    decimals = decimals_for(half_width, value)
    low = rounded(lower, decimals, ROUND_FLOOR)
    high = rounded(upper, decimals, ROUND_CEILING) if upper is not None else "inf"
    return rounded(value, decimals), f"[{low}, {high}]"


def with_unit(value: float, unit: str) -> str:
    """Three digits and a prefix: 61.0 uJ, 1.00 ms."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g} {unit}"
    three_digits = float(f"{value:.3g}")
    power, prefix = next((p for p in _PREFIXES if abs(three_digits) >= 10.0 ** p[0]), _PREFIXES[-1])
    scaled = three_digits / 10.0**power
    decimals = max(0, 2 - math.floor(math.log10(abs(scaled)) + 1e-9))
    return f"{scaled:.{min(decimals, 2)}f} {prefix}{unit}"


_PREFIXES = [(3, "k"), (0, ""), (-3, "m"), (-6, "u"), (-9, "n")]


def parse_seconds(text: str) -> float:
    """ "1ms", "500 us", "0.001" (seconds). Raises ValueError."""
    stripped = text.strip()
    digits = stripped.rstrip("abcdefghijklmnopqrstuvwxyzµ")
    unit = stripped[len(digits) :] or "s"
    if unit not in _SECONDS_OF:
        raise ValueError(f"'{unit}' is no unit of time; use s, ms, us or ns")
    try:
        seconds = float(digits) * _SECONDS_OF[unit]
    except ValueError:
        raise ValueError(f"'{text}' is not a time such as 1ms or 0.001") from None
    if not (math.isfinite(seconds) and seconds > 0):
        raise ValueError(f"'{text}' is not a time above 0")
    return seconds
