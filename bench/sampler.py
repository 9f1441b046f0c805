# SPDX-License-Identifier: MIT
"""Polls, edges, and the thread that makes them."""

from __future__ import annotations

import statistics
from collections.abc import Iterator

from . import native
from .measure import Goal, Row, beyond, row


def poll_overhead_ratio(quick: bool) -> Iterator[Row]:
    for case in ("resting", "moving"):
        what, pairs = native.run(f"poll-{case}", 20 if quick else 100)
        call_ns = statistics.median(limit for _, limit in pairs)
        edges = ", three edges published" if case == "moving" else ""
        added = f"{beyond(pairs, 'ns')} for the loop, two histograms, unwrapping of three counters{edges}"
        yield row(
            "poll_overhead_ratio",
            "ns",
            pairs,
            case=f"counters {case}",
            limit_is="a C loop: clock, the same system call, clock",
            goal=Goal(most_ratio=1.05, most_beyond=50.0),
            note=f"{what}; {added}; 5 % of these calls are {0.05 * call_ns:.0f} ns, about one reading of the clock",
        )


def publish_ns(quick: bool) -> Iterator[Row]:
    _, pairs = native.run("publish", 20 if quick else 200)
    yield row(
        "publish_ns",
        "ns",
        pairs,
        limit_is="a 32-byte store into mirrored memory",
        goal=Goal(most=15.0),
        note="the one ordered store that a lease's safety rests on is most of it",
    )


def poll_1khz_cpu_ratio(quick: bool) -> Iterator[Row]:
    what, pairs = native.run("cadence", 4 if quick else 40)
    yield row(
        "poll_1khz_cpu_ratio",
        "% of a core",
        [(100 * ours, 100 * limit) for ours, limit in pairs],
        limit_is="a C loop: clock_nanosleep, clock, the same system call, clock",
        goal=Goal(most_ratio=1.2),
        note=what,
    )
