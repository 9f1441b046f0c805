# SPDX-License-Identifier: MIT
"""python -m bench [NAME ...] [--quick] [--json FILE] [--markdown FILE]"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from . import intervals, machine, python_layer, sampler
from .measure import Row

BENCHMARKS: dict[str, Callable[[bool], Iterator[Row]]] = {
    function.__name__: function
    for function in (
        sampler.poll_overhead_ratio,
        sampler.publish_ns,
        python_layer.view_us,
        python_layer.region_python_ns,
        intervals.intervals_sorted_vs_interp,
        intervals.intervals_random_vs_interp,
        sampler.poll_1khz_cpu_ratio,
        python_layer.import_ms_over_numpy,
    )
}
SCHEMA = 1


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description="What powerprobe costs, next to the limit.")
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"which figures (default: all): {', '.join(BENCHMARKS)}"
    )
    parser.add_argument("--quick", action="store_true", help="fewer repetitions: under a minute, wider spread")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures and the machine's facts")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the table")
    arguments = parser.parse_args()
    unknown = [name for name in arguments.names if name not in BENCHMARKS]
    if unknown:
        parser.error(f"no figure is called {', '.join(unknown)}; there are {', '.join(BENCHMARKS)}")

    facts = machine.facts()
    rows: list[Row] = []
    failed = False
    for name in arguments.names or BENCHMARKS:
        print(f"{name} ...", file=sys.stderr, flush=True)
        try:
            rows += BENCHMARKS[name](arguments.quick)
        except (RuntimeError, AssertionError) as error:  # the others can still be measured
            print(f"{name}: {error}", file=sys.stderr)
            failed = True
    facts["load_after"] = machine.load()
    table = markdown(facts, rows)
    print(table)
    rows_json = [dataclasses.asdict(row) for row in rows]
    result = {"schema": SCHEMA, "quick": arguments.quick, "machine": facts, "rows": rows_json}
    for file, text in (
        (arguments.json, json.dumps(result, indent=1, allow_nan=False)),
        (arguments.markdown, table),
    ):
        if file:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text + "\n")
    return 1 if failed else 0


def markdown(facts: dict[str, object], rows: list[Row]) -> str:
    """A table that reads well as plain text too; the machine above it, notes below."""
    head = ["what", "case", "ours", "quartiles", "limit", "ratio", "quartiles", "goal", "met"]
    body = [
        [
            r.name,
            r.case,
            f"{r.value:.3g} {r.unit}",
            f"{r.low:.3g}-{r.high:.3g}",
            f"{r.limit:.3g}",
            f"{r.ratio:.3g}x",
            f"{r.ratio_low:.3g}-{r.ratio_high:.3g}",
            r.goal or "-",
            _met(r),
        ]
        for r in rows
    ]
    widths = [max(len(line[i]) for line in [head, *body]) for i in range(len(head))]
    lines = [
        f"powerprobe {facts['powerprobe']} ({facts['commit']}), {facts['date']}",
        f"{facts['cpu']}, CPUs {facts['affinity']}, governor {facts['governor']}, hypervisor {facts['hypervisor']}",
        f"kernel {facts['kernel']}, clocksource {facts['clocksource']}, load {_load(facts['load'])} before and "
        + f"{_load(facts['load_after'])} after",
        f"Python {facts['python']}, numpy {facts['numpy']}, {facts['compiler']}",
        "",
        *(
            "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |"
            for line in [head, ["-" * width for width in widths], *body]
        ),
        "",
        *_notes(rows),
    ]
    return "\n".join(lines)


def _notes(rows: list[Row]) -> Iterator[str]:
    """What the limit is and what else has to be said, once for the cases that share it."""
    cases: dict[tuple[str, str, str], list[str]] = {}
    for row in rows:
        cases.setdefault((row.name, row.limit_is, row.note), []).append(row.case)
    for (name, limit_is, note), names in cases.items():
        which = f" ({', '.join(names)})" if any(names) else ""
        yield f"- {name}{which}: the limit is {limit_is}" + (f"; {note}" if note else "")


def _met(row: Row) -> str:
    if not row.goal:
        return "-"
    return {True: "yes", False: "no", None: "unclear"}[row.met]


def _load(load: object) -> str:
    return "/".join(f"{value:.1f}" for value in load) if isinstance(load, (list, tuple)) else "?"


if __name__ == "__main__":
    sys.exit(main())
