# SPDX-License-Identifier: MIT
"""python -m bench [NAME ...] [--quick] [--json FILE] [--markdown FILE] [--plot FILE]"""

from __future__ import annotations

import argparse
import dataclasses
import importlib.util
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from . import accuracy, capi, fake_gpu, intervals, machine, python_layer, region_table, sampler
from .measure import NotHere, Row

BENCHMARKS: dict[str, Callable[[bool], Iterator[Row | NotHere]]] = {
    function.__name__: function
    for function in (
        sampler.poll_overhead_ratio,
        sampler.publish_ns,
        python_layer.view_us,
        python_layer.region_python_ns,
        capi.mark_c_ratio,
        capi.energy_c_ns,
        intervals.intervals_sorted_vs_interp,
        intervals.intervals_random_vs_interp,
        sampler.poll_1khz_cpu_ratio,
        python_layer.import_ms_over_numpy,
        accuracy.edge_location,
        accuracy.region_error,
        accuracy.measure_10s_cpu_share,
        accuracy.track_watts,
        fake_gpu.gpu_region,
        fake_gpu.gpu8_cpu_share_over_calls,
    )
}
SCHEMA = 2


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description="What powerprobe costs, next to the limit.")
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"which figures (default: all): {', '.join(BENCHMARKS)}"
    )
    parser.add_argument("--quick", action="store_true", help="fewer repetitions: under a minute, wider spread")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures and the machine's facts")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the table")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw region_error (.svg, .png; needs matplotlib)")
    arguments = parser.parse_args()
    unknown = [name for name in arguments.names if name not in BENCHMARKS]
    if unknown:
        parser.error(f"no figure is called {', '.join(unknown)}; there are {', '.join(BENCHMARKS)}")
    if arguments.plot and arguments.names and "region_error" not in arguments.names:
        parser.error("--plot draws region_error, which is not among the figures asked for")
    if arguments.plot and importlib.util.find_spec("matplotlib") is None:
        parser.error("--plot needs matplotlib: pip install '.[plot]'")

    facts = machine.facts()
    rows: list[Row] = []
    missing: list[NotHere] = []
    failed = False
    for name in arguments.names or BENCHMARKS:
        print(f"{name} ...", file=sys.stderr, flush=True)
        try:
            for result in BENCHMARKS[name](arguments.quick):
                if isinstance(result, Row):
                    rows.append(result)
                else:
                    missing.append(result)
        except (RuntimeError, AssertionError) as error:  # the others can still be measured
            print(f"{name}: {error}", file=sys.stderr)
            failed = True
    facts["load_after"] = machine.load()
    table = markdown(facts, rows, missing)
    print(table)
    everything = {
        "schema": SCHEMA,
        "quick": arguments.quick,
        "machine": facts,
        "rows": [dataclasses.asdict(row) for row in rows],
        "not_here": [dataclasses.asdict(each) for each in missing],
    }
    write(everything, table, arguments.json, arguments.markdown)
    if arguments.plot:
        from . import plot  # matplotlib is needed for nothing else

        plot.draw(rows, facts, arguments.plot)
    return 1 if failed else 0


def write(everything: dict[str, object], table: str, as_json: Path | None, as_markdown: Path | None) -> None:
    """Into the files that were asked for."""
    for file, text in ((as_json, json.dumps(everything, indent=1, allow_nan=False)), (as_markdown, table)):
        if file:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text + "\n")


def markdown(facts: dict[str, object], rows: list[Row], missing: list[NotHere]) -> str:
    """Tables that read well as plain text too; the machine above them, notes below."""
    regions, others = region_table.split(rows)
    head = ["what", "case", "ours", "quartiles", "limit", "ratio", "quartiles", "goal", "met"]
    body = [
        [
            r.name,
            r.case,
            f"{r.value:.3g} {r.unit}",
            f"{r.low:.3g}-{r.high:.3g}",
            *_limit(r),
            r.goal or "-",
            r.met_text,
        ]
        for r in others
    ]
    lines = [
        f"powerprobe {facts['powerprobe']} ({facts['commit']}), {facts['date']}",
        f"{facts['cpu']}, CPUs {facts['affinity']}, governor {facts['governor']}, hypervisor {facts['hypervisor']}",
        f"kernel {facts['kernel']}, clocksource {facts['clocksource']}, load {_load(facts['load'])} before and "
        + f"{_load(facts['load_after'])} after",
        f"Python {facts['python']}, numpy {facts['numpy']}, {facts['compiler']}",
        "",
        *_table(head, body),
        *_table(region_table.HEAD, list(region_table.body(regions))),
        *_notes(others, missing),
        *([f"- {region_table.NOTE}"] if regions else []),
    ]
    return "\n".join(lines)


def _table(head: list[str], body: list[list[str]]) -> list[str]:
    if not body:
        return []
    widths = [max(len(line[i]) for line in [head, *body]) for i in range(len(head))]
    return [
        *(
            "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |"
            for line in [head, ["-" * width for width in widths], *body]
        ),
        "",
    ]


def _limit(row: Row) -> list[str]:
    """Limit, ratio, and its quartiles."""
    if row.limit is None:
        return ["-"] * 3
    return [f"{row.limit:.3g}", f"{row.ratio:.3g}x", f"{row.ratio_low:.3g}-{row.ratio_high:.3g}"]


def _notes(rows: list[Row], missing: list[NotHere]) -> Iterator[str]:
    """What the limit is and what else has to be said, once for the cases that share it."""
    cases: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        limit = f"the limit is {row.limit_is}" if row.limit_is else ""
        says = "; ".join(part for part in (limit, row.note) if part)
        if says:
            cases.setdefault((row.name, says), []).append(row.case)
    for (name, says), names in cases.items():
        which = f" ({', '.join(names)})" if any(names) else ""
        yield f"- {name}{which}: {says}"
    for each in missing:
        which = f" ({each.case})" if each.case else ""
        yield f"- {each.name}{which}: not measured here: {each.why}"


def _load(load: object) -> str:
    return "/".join(f"{value:.1f}" for value in load) if isinstance(load, (list, tuple)) else "?"


if __name__ == "__main__":
    sys.exit(main())
