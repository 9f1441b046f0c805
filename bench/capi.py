# SPDX-License-Identifier: MIT
"""What the C interface costs those who measure short intervals with it."""

from __future__ import annotations

from collections.abc import Iterator

from . import native
from .measure import Goal, Row, row


def mark_c_ratio(quick: bool) -> Iterator[Row]:
    for case in ("asked", "unasked"):
        what, pairs = native.run(f"mark-c-{case}", 10 if quick else 100)
        yield row(
            "mark_c_ratio",
            "ns",
            pairs,
            case=case,
            limit_is="clock_gettime(CLOCK_MONOTONIC), twice",
            goal=Goal(most_ratio=1.5),
            note=f"two pp_mark(); {what}",
        )


def energy_c_ns(quick: bool) -> Iterator[Row]:
    what, pairs = native.run("energy-c", 10 if quick else 100)
    yield row(
        "energy_c_ns",
        "ns",
        pairs,
        limit_is="two binary searches in a copy of the edges and two straight lines: no bounds, no flags, nobody writing",
        goal=Goal(most=200.0),
        note=f"pp_energy() of {what}, joules, both bounds and flags",
    )
