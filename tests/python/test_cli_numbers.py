# SPDX-License-Identifier: MIT
"""Numbers as the tables show them."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from powerprobe.cli.numbers import bounded, parse_seconds, rounded, with_unit

joules = st.floats(min_value=0.0, max_value=1e9, allow_nan=False)


@given(joules, joules, joules)
def test_bounds_that_are_shown_contain_the_bounds(a: float, b: float, c: float) -> None:
    lower, value, upper = sorted((a, b, c))
    _, text = bounded(value, lower, upper)
    low, high = (Decimal(part) for part in text[1:-1].split(", "))

    assert low <= Decimal(repr(lower)) <= Decimal(repr(upper)) <= high


@given(joules, joules, joules)
def test_what_is_shown_is_not_wider_than_a_fifth_more(a: float, b: float, c: float) -> None:
    lower, value, upper = sorted((a, b, c))
    _, text = bounded(value, lower, upper)
    low, high = (Decimal(part) for part in text[1:-1].split(", "))

    width = Decimal(repr(upper)) - Decimal(repr(lower))
    assert high - low <= width * Decimal("1.2") + Decimal("3e-9") or high - low <= 2


@pytest.mark.parametrize(
    ("value", "lower", "upper", "expected"),
    [
        (12.3456, 12.29612, 12.39637, ("12.346", "[12.296, 12.397]")),
        (4.123, 1.2, 8.4, ("4.1", "[1.2, 8.4]")),
        (40123.4, 39000.0, 41000.0, ("40123", "[39000, 41000]")),
        (0.00123, 0.00121, 0.00126, ("0.001230", "[0.001210, 0.001260]")),
        (2.5, 2.5, 2.5, ("2.50000", "[2.50000, 2.50000]")),
        (2.5, 2.4, None, ("2.500", "[2.400, inf]")),
        (0.0, 0.0, 0.0, ("0.0", "[0.0, 0.0]")),
    ],
)
def test_digits_follow_the_bounds(value: float, lower: float, upper: float | None, expected: tuple[str, str]) -> None:
    assert bounded(value, lower, upper) == expected


def test_decimal_fractions_are_not_rounded_up_by_their_binary_tail() -> None:
    assert bounded(12.3, 12.2, 12.4)[1] == "[12.20, 12.40]"
    assert rounded(0.5, 1) == "0.5"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (61.03515625e-6, "61.0 uJ"),
        (1e-3, "1.00 mJ"),
        (0.9996e-3, "1.00 mJ"),
        (15.3, "15.3 J"),
        (2.3e-9, "2.30 nJ"),
        (0.0, "0 J"),
    ],
)
def test_small_numbers_get_a_prefix(value: float, text: str) -> None:
    assert with_unit(value, "J") == text


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("1ms", 1e-3), ("500 us", 5e-4), ("0.001", 1e-3), ("2s", 2.0), ("1e-3", 1e-3), ("10µs", 1e-5), ("1e3us", 1e-3)],
)
def test_times_may_have_a_unit(text: str, seconds: float) -> None:
    assert parse_seconds(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "ms", "1 fortnight", "-1ms", "0", "nan", "inf", "1 2ms"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="time"):
        parse_seconds(text)
