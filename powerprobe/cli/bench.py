# SPDX-License-Identifier: MIT
"""`powerprobe bench`: runs commands again and again and says what each takes, and how they differ."""

from __future__ import annotations

import random
import sys
from collections.abc import Sequence
from typing import Any

import click

from ..channels import Tree
from ..extras import need
from ..probe import Probe
from .bench_runs import Benched, FailedError, Manner, Series, parsed, schedule
from .machine import open_probe
from .numbers import parse_seconds
from .options import (
    all_gpus_option,
    channels_option,
    period_option,
    replay_option,
    root_option,
    sources_option,
    strict_option,
)
from .output import Output
from .reasons import why_estimated
from .run import StartError, die_of

OVER_BUDGET = 1
CANNOT_TELL = 3
COMMAND_FAILED = 4

_PLOTS = ("png", "svg", "pdf")


def _idle_seconds(_: click.Context, __: click.Parameter, value: str) -> float:
    """A callback: a time, or 0 for none."""
    try:
        return 0.0 if value.strip() == "0" else parse_seconds(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


def _plot_path(_: click.Context, __: click.Parameter, value: str | None) -> str | None:
    if value is not None and _suffix(value) not in _PLOTS:
        raise click.BadParameter(f"the name must end in {', '.join('.' + each for each in _PLOTS)}")
    return value


def _suffix(path: str) -> str:
    return path.rpartition(".")[2].lower()


@click.command(name="bench", no_args_is_help=True)
@click.option(
    "-r",
    "--repeat",
    type=click.IntRange(min=1),
    default=10,
    show_default=True,
    metavar="N",
    help="Measured runs of each command.",
)
@click.option(
    "-w",
    "--warmup",
    type=click.IntRange(min=0),
    default=1,
    show_default=True,
    metavar="N",
    help="Runs of each command before, not measured.",
)
@click.option(
    "--compare",
    "is_paired",
    is_flag=True,
    help="Run the commands in rounds, in random order, and compare the others with the first.",
)
@click.option(
    "--margin",
    type=click.FloatRange(0.0, 100.0, min_open=True),
    default=1.0,
    show_default=True,
    metavar="PERCENT",
    help="With --compare: means that differ by less count as equivalent.",
)
@click.option("--seed", type=int, metavar="N", help="With --compare: of the random order.")
@click.option("-p", "--prepare", metavar="COMMAND", help="Run COMMAND before each run, not measured.")
@click.option(
    "-S/-N",
    "--shell/--no-shell",
    "shell",
    default=False,
    help="Run the commands by `sh -c`, whose own energy is then counted, too; or (default) directly.",
)
@click.option("-i", "--ignore-failure", is_flag=True, help="Go on when a command ends with a status that is not 0.")
@click.option("--show-output", is_flag=True, help="Show what the commands print, instead of discarding it.")
@click.option(
    "--baseline",
    "idle_seconds",
    callback=_idle_seconds,
    default="0.3",
    show_default=True,
    metavar="TIME",
    help="How long to idle before and after, for net energy; 0: not at all.",
)
@click.option(
    "--max-joules",
    type=click.FloatRange(0.0, min_open=True),
    metavar="J",
    help="Exit with status 1 unless the mean energy of a run is below this beyond doubt (the upper end of its 95 % interval).",
)
@click.option(
    "--export-json",
    type=click.Path(),
    metavar="FILE",
    help="Write everything as docs/json.md describes it ('-': stdout).",
)
@click.option("--export-csv", type=click.Path(), metavar="FILE", help="Write a line for each command ('-': stdout).")
@click.option("--export-markdown", type=click.Path(), metavar="FILE", help="Write a table for a README ('-': stdout).")
@click.option(
    "--plot",
    callback=_plot_path,
    type=click.Path(),
    metavar="FILE",
    help="Draw the energy of each run to FILE (.png, .svg, .pdf); needs matplotlib.",
)
@click.option("--histogram", is_flag=True, help="Draw how the runs are spread, below the tables.")
@channels_option
@all_gpus_option
@sources_option
@strict_option
@period_option
@root_option
@replay_option
@click.argument("commands", nargs=-1, required=True, metavar="COMMAND...")
def bench_command(
    repeat: int,
    warmup: int,
    is_paired: bool,
    margin: float,
    seed: int | None,
    prepare: str | None,
    shell: bool,
    ignore_failure: bool,
    show_output: bool,
    idle_seconds: float,
    max_joules: float | None,
    export_json: str | None,
    export_csv: str | None,
    export_markdown: str | None,
    plot: str | None,
    histogram: bool,
    channels: list[str] | None,
    all_gpus: bool,
    sources: list[str] | None,
    strict: bool,
    period: float | None,
    root: str | None,
    replay_file: str | None,
    commands: tuple[str, ...],
) -> int:
    """Run each COMMAND many times and show the energy, time and power of a run.

    A COMMAND is one argument: powerprobe bench --compare "sort a.txt" "sort -u a.txt". Energies are those of the whole
    machine; net is without what it takes when idle. Ctrl-C ends it and shows what was measured until then.

    \b
    Exit status:
      0        all went well
      1        over the budget of --max-joules, or not below it beyond doubt
      2        wrong usage, nothing was started
      3        nothing could be measured (for instance no counter, and --strict)
      4        a command failed (see --ignore-failure)
      126, 127 a command cannot be executed, was not found
    """
    if is_paired and len(commands) < 2:
        raise click.UsageError("--compare takes two commands or more")
    if max_joules is not None and repeat < 2:
        raise click.UsageError("--max-joules needs -r 2 or more: one run has no interval")
    if is_paired and seed is None:
        seed = random.randrange(1 << 32)  # shown, so that the same order can be had again
    benched = [_parsed(text, shell) for text in commands]
    prepared = _parsed(prepare, shell).argv if prepare is not None else None
    need("scipy", "powerprobe bench")
    if plot is not None:
        need("matplotlib", "--plot")
    # Opened before anything is run, so that what cannot be written is said at once.
    files = [Output(path, sys.stdout) if path else None for path in (export_json, export_csv, export_markdown, plot)]
    people = Output(None, sys.stderr if "-" in (export_json, export_csv, export_markdown) else sys.stdout)
    manner = Manner(warmup, prepared, not show_output, ignore_failure, idle_seconds)
    history = 2.0 * idle_seconds + 1.0
    with open_probe(channels, sources, strict, period, root, replay_file, history, all_gpus) as probe:
        series = Series(probe, benched, manner)
        try:
            series.measure(schedule(len(benched), repeat, is_paired, random.Random(seed)), is_paired)
        except StartError as error:
            print(f"powerprobe: {error}", file=sys.stderr)
            return error.status
        except FailedError as error:
            print(f"powerprobe: {error}", file=sys.stderr)
            return COMMAND_FAILED
        from .bench_result import bench_result  # not before it is known that there is scipy

        result = bench_result(series, probe, margin / 100 if is_paired else None, seed)
        if result["commands"]:
            _show(result, probe, warmup, histogram, people)
            _export(result, files, plot)
    if series.interrupted:
        return die_of(series.interrupted)
    return _within_budget(result, max_joules) if max_joules is not None else 0


def _parsed(text: str, shell: bool) -> Benched:
    try:
        return parsed(text, shell)
    except ValueError as error:
        raise click.UsageError(f"'{text}' is no command: {error}") from None


def _show(result: dict[str, Any], probe: Probe, warmup: int, histogram: bool, people: Output) -> None:
    from .bench_tables import bench_tables

    infos = [probe.info(name) for name in probe.channels]
    depths = Tree(infos, probe.channels).depths
    people.text(*bench_tables(result, depths, warmup, why_estimated(infos, probe.refusals), histogram))


def _export(result: dict[str, Any], files: Sequence[Output | None], plot: str | None) -> None:
    from .bench_tables import csv_text, markdown_text

    as_json, as_csv, as_markdown, as_plot = files
    if as_json:
        as_json.json(result)
    if as_csv:
        as_csv.plain(csv_text(result))
    if as_markdown:
        as_markdown.plain(markdown_text(result))
    if as_plot and plot:
        from .bench_plot import strip_plot

        as_plot.binary(strip_plot(result["commands"], _suffix(plot)))


def _within_budget(result: dict[str, Any], max_joules: float) -> int:
    """The exit status; says which command is over."""
    status = 0
    for record in result["commands"]:
        joules = record["total"]["joules"]
        if joules["high"] is None:
            print(f"powerprobe: the energy of '{record['command']}' is not known", file=sys.stderr)
            return CANNOT_TELL
        if joules["high"] > max_joules:
            interval = f"{joules['mean']:.6g} J [{joules['low']:.6g}, {joules['high']:.6g}]"
            print(
                f"powerprobe: over the budget of {max_joules:g} J: '{record['command']}' takes {interval}",
                file=sys.stderr,
            )
            status = OVER_BUDGET
    return status
