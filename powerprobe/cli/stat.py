# SPDX-License-Identifier: MIT
"""`powerprobe stat`: runs a command and says what energy was used meanwhile."""

from __future__ import annotations

import contextlib
import statistics
import sys
from collections.abc import Sequence

import click

from ..channels import Tree
from ..measurement import Measurement
from ..probe import Probe
from .machine import open_probe
from .options import (
    all_gpus_option,
    channels_option,
    json_option,
    period_option,
    replay_option,
    root_option,
    sources_option,
    strict_option,
)
from .output import Output
from .progress import Progress
from .reasons import missing_boards, why_estimated
from .result import Run, first_failure, result_of
from .run import Ended, Signals, StartError, die_of, run
from .tables import stat_tables


@click.command(
    name="stat", context_settings={"allow_interspersed_args": False}, options_metavar="[OPTIONS]", no_args_is_help=True
)
@click.option(
    "-r", "--repeat", type=click.IntRange(min=1), metavar="N", help="Run N times; show mean, stddev and range."
)
@click.option(
    "--warmup", type=click.IntRange(min=0), default=0, metavar="N", help="Run N times before, without measuring."
)
@channels_option
@all_gpus_option
@sources_option
@strict_option
@period_option
@json_option
@click.option(
    "-o",
    "--output",
    "path",
    type=click.Path(),
    metavar="FILE",
    help="Write the result to FILE instead of standard error.",
)
@root_option
@replay_option
@click.argument("command", nargs=-1, type=click.UNPROCESSED, required=True)
def stat_command(
    repeat: int | None,
    warmup: int,
    channels: list[str] | None,
    all_gpus: bool,
    sources: list[str] | None,
    strict: bool,
    period: float | None,
    as_json: bool,
    path: str | None,
    root: str | None,
    replay_file: str | None,
    command: tuple[str, ...],
) -> int:
    """Run COMMAND and show the energy that the machine used meanwhile.

    The result goes to standard error, as with perf stat, so that the command's own output stays whole; with -o it goes
    to a file. Joules come with bounds between which the truth lies. Ctrl-C ends the command and shows what was measured
    until then.

    \b
    Exit status:
      that of COMMAND; with -r the first that is not 0; 128+N if signal N killed it
      126  COMMAND cannot be executed
      127  COMMAND was not found
      2    wrong usage, nothing was started
      3    nothing could be measured (for instance no counter, and --strict)
    """
    output = Output(path, sys.stderr)
    wanted = repeat or 1
    # The marks of a measurement keep what they need, so however long the command takes, a short history will do.
    probe = open_probe(channels, sources, strict, period, root, replay_file, 1.0, all_gpus)
    with contextlib.closing(probe), Signals() as signals:
        try:
            if period is None:
                probe._start()
            else:
                probe.start()
            runs, last = _runs(command, wanted, warmup, probe, signals)
        except StartError as error:
            print(f"powerprobe: {error}", file=sys.stderr)
            return error.status
        if runs:
            _show(output, as_json, command, runs, warmup, probe, bool(signals.first()), repeated=repeat is not None)
        # An interrupted command that ends in its own way has its own status; one that dies of it, or the runs that were
        # still to come, end us in the same way.
        is_stopped = len(runs) < wanted or (last is not None and last.signal == signals.first())
        if signals.first() and is_stopped:
            return die_of(signals.first())
        return first_failure([each.ended for each in runs])


def _runs(
    command: Sequence[str], wanted: int, warmup: int, probe: Probe, signals: Signals
) -> tuple[list[Run], Ended | None]:
    """Measures the runs. Of an interrupted series only whole runs are kept, of a single run what there is."""
    runs: list[Run] = []
    ended = None
    with Progress(wanted) as progress:
        for done in range(warmup):
            if signals.first():
                break
            progress.show(0, None, f"warm-up run {done + 1} of {warmup}")
            _, ended = run(command, signals, lambda: None, lambda _: None)
        measuring = probe.measure()
        for done in range(wanted):
            if signals.first():
                break
            left = statistics.fmean(each.measurement.seconds for each in runs) * (wanted - done) if runs else None
            progress.show(done, left, f"run {done + 1} of {wanted}")
            measurement, ended = run(command, signals, measuring.begin, Measurement.end)
            if not (signals.first() and runs):
                runs.append(Run(measurement, ended))
    return runs, ended


def _show(
    output: Output,
    as_json: bool,
    command: Sequence[str],
    runs: Sequence[Run],
    warmup: int,
    probe: Probe,
    interrupted: bool,
    repeated: bool,
) -> None:
    tree = Tree([probe.info(name) for name in probe.channels], probe.channels)
    models = [info for info in map(probe.info, tree.roots) if info.provenance == "estimated"]
    result = result_of(command, runs, models, probe.refusals, interrupted, repeated)
    if as_json:
        output.json(result)
    else:
        why = why_estimated(map(probe.info, probe.channels), probe.refusals)
        output.text(*stat_tables(result, tree.depths, warmup, why, missing_boards(probe.refusals)))
