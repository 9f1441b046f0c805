# SPDX-License-Identifier: MIT
"""How near the truth tracking comes, and what it costs. The counters are simulated, or a clock: their truth is known."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterator

from . import native
from .measure import Goal, NotHere, Row, beyond, figure, row

STEPS = {
    "metronome": "metronome",
    "shaken": "20 us of jitter",
    "ice-lake": "Ice Lake-SP steps",
    "stamped": "Ice Lake-SP steps, stamped",
}
LOADS = ("const", "square", "burst")
LENGTHS = {50: "50us", 200: "200us", 1_000: "1ms", 5_000: "5ms", 20_000: "20ms", 100_000: "100ms"}


def edge_location(quick: bool) -> Iterator[Row | NotHere]:
    rounds = 4 if quick else 20
    for name, case in (
        *((f"track-{steps}", case) for steps, case in STEPS.items()),
        ("track-one-watt", "one-watt reference"),
        *((f"realtime-{steps}", f"{STEPS[steps]}, SCHED_FIFO") for steps in ("shaken", "ice-lake")),
    ):
        try:
            what, figures = native.lines(name, rounds)
        except native.Unavailable as error:
            yield NotHere("edge_location_median_us", case, str(error))
            continue
        yield from _located(case, what, figures)


def _located(case: str, what: str, rounds: list[dict[str, float]]) -> Iterator[Row]:
    def percent(key: str) -> list[float]:
        return [100 * each[key] for each in rounds]

    def median(key: str) -> float:
        return statistics.median(each[key] for each in rounds)

    yield figure(
        "edge_location_median_us",
        "us",
        [each["median_us"] for each in rounds],
        case=case,
        goal=Goal(most=2.0),
        note=f"of all edges stored; of those with a gap of 10 us at most {median('tight_median_us'):.1f} us; {what}",
    )
    yield figure(
        "edge_location_p99_us",
        "us",
        [each["p99_us"] for each in rounds],
        case=case,
        note=f"of all edges stored; of those with a gap of 10 us at most {median('tight_p99_us'):.1f} us",
    )
    yield figure("track_cpu_share", "% of a core", percent("cpu_share"), case=case, goal=Goal(most=7.0))
    yield figure(
        "edges_caught_share",
        "%",
        percent("caught_share"),
        case=case,
        note="of the counter's steps, those with an edge that is 5 us from the truth at most",
    )


def region_error(quick: bool) -> Iterator[Row]:
    """Three rows for each length, load and kind of counter: ours, and what others would have."""
    rounds = 2 if quick else 12
    for steps, case in STEPS.items():
        of_all: list[dict[str, float]] = []
        for load in LOADS:
            _, figures = native.lines(f"{load}-{steps}", rounds)
            of_all += figures
            yield from _regions(case, load, figures)
        outside = sum(each["outside"] for each in of_all)
        regions = sum(each["regions"] for each in of_all)
        caught = statistics.median(each["caught_share"] for each in of_all)
        yield figure(
            "bounds_coverage",
            "%",
            [100 * (1 - outside / regions)],
            case=case,
            goal=Goal(least=100.0),
            note=f"{outside:.0f} of {regions:.0f} regions outside their bounds; {caught:.0%} of the steps caught meanwhile",
        )


def _regions(case: str, load: str, figures: list[dict[str, float]]) -> Iterator[Row]:
    by_length = defaultdict(list)
    for each in figures:
        by_length[round(each["length_us"])].append(each)
    for length_us, rounds in by_length.items():
        name = f"region_{LENGTHS[length_us]}_{load}"

        def note(key: str, rounds: list[dict[str, float]] = rounds) -> str:
            return f"nine of ten within {statistics.median(each[key] for each in rounds):.2g} %"

        width = statistics.median(each["width"] for each in rounds)
        caught = statistics.median(each["caught_share"] for each in rounds)
        yield row(
            f"{name}_error_median_pct",
            "%",
            [(each["ours"], each["ends"]) for each in rounds],
            case=case,
            limit_is="what two perfect readings at the ends give",
            goal=Goal(most=2.0) if name == "region_1ms_const" else None,
            speedup=True,
            note=f"{note('ours_p90')}; bounds {width:.2g} % wide; {caught:.0%} of the steps caught meanwhile",
        )
        for twin in ("ends", "lerp10ms"):
            values = [each[twin] for each in rounds]
            yield figure(f"{name}_{twin}_error_median_pct", "%", values, case=case, note=note(f"{twin}_p90"))


def measure_10s_cpu_share(quick: bool) -> Iterator[Row]:
    for steps in ("ice-lake",) if quick else ("ice-lake", "shaken"):
        _, figures = native.lines(f"measure-{steps}", 4 if quick else 16)
        outside = sum(each["outside"] for each in figures)
        error = max(each["error_percent"] for each in figures)
        width = statistics.median(each["width_percent"] for each in figures)
        yield figure(
            "measure_10s_cpu_share",
            "% of a core",
            [100 * each["cpu_share"] for each in figures],
            case=STEPS[steps],
            goal=Goal(most=0.1),
            note=f"largest error {error:.2g} %, bounds {width:.2g} % wide, {outside:.0f} outside",
        )


def track_watts(quick: bool) -> Iterator[Row | NotHere]:
    try:
        what, pairs = native.run("watts", 3 if quick else 15)
    except native.Unavailable as error:
        yield NotHere("track_watts", "", str(error))
        return
    yield row(
        "track_watts",
        "W",
        pairs,
        limit_is="the same while nobody asks",
        note=f"{what} as it has it itself; tracking takes {beyond(pairs, 'W')}",
    )
