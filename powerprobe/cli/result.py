# SPDX-License-Identifier: MIT
"""The result of `stat` as plain data: what `--json` prints (docs/json.md) and what the tables are made from."""

from __future__ import annotations

import os
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .._core import command_energy
from ..discovery import ESTIMATE
from .gpus import merged
from .run import Ended

if TYPE_CHECKING:
    from .. import Measurement
    from .._core import ChannelInfo, Refusal

SCHEMA = 1

Record = dict[str, Any]


@dataclass(frozen=True)
class Run:
    """One measured run of the command."""

    measurement: Measurement
    ended: Ended


def refusals_as_data(refusals: Iterable[Refusal]) -> list[Record]:
    return [{"source": r.source, "path": r.path, "reason": r.reason, "remedy": r.remedy} for r in refusals]


def result_of(
    command: Sequence[str],
    runs: Sequence[Run],
    models: Sequence[ChannelInfo],
    refusals: Iterable[Refusal],
    interrupted: bool,
    repeated: bool,
) -> Record:
    """Everything about these runs; settles what is not settled yet.

    Args:
        models: the estimated channels that are roots; empty where counters are read.
        interrupted: whether a signal kept the rest from running.
        repeated: whether more than one run was asked for.
    """
    records = [_run_record(run, models) for run in runs]
    first, last = records[0], records[-1]
    seconds = statistics.fmean(record["seconds"] for record in records)
    cpu_seconds = sum(run.measurement.overhead for run in runs)
    result: Record = {
        "schema": SCHEMA,
        "command": list(command),
        "exit_status": first_failure([run.ended for run in runs]),
        "interrupted": interrupted,
        "seconds": seconds,
        "start_ns": first["start_ns"],
        "end_ns": last["end_ns"],
        "channels": {
            name: _mean([record["channels"][name] for record in records], seconds) for name in first["channels"]
        },
        "total": _mean([record["total"] for record in records], seconds),
        "command_cpu": _mean_command([record["command_cpu"] for record in records]),
        "overhead": {
            "cpu_seconds": cpu_seconds / len(records),
            "cpu_share": cpu_seconds / (seconds * len(records)) if seconds > 0 else None,
        },
        "gpus": merged([record["gpus"] for record in records]),
        "losses": _sums([run.measurement.losses for run in runs]),
        "unknown": {name: why for run in runs for name, why in run.measurement.unknown.items()},
        "refusals": refusals_as_data(refusals),
    }
    if repeated:
        result["runs"] = records
        result["spread"] = {
            "seconds": _spread([record["seconds"] for record in records]),
            "channels": {
                name: _spread([record["channels"][name]["joules"] for record in records]) for name in first["channels"]
            },
            "total": _spread([record["total"]["joules"] for record in records]),
        }
    return result


def first_failure(ended: Sequence[Ended]) -> int:
    """The exit status of a series: that of the first run that failed, or 0."""
    return next((each.status for each in ended if each.status != 0), 0)


def _command_estimate(models: Sequence[ChannelInfo], cpu_seconds: float) -> Record:
    """What the model gives for so much CPU time of the command alone; joules None where counters are read."""
    model = next((model for model in models if model.source == ESTIMATE), None)
    if model is None:
        return {"joules": None, "lower": None, "upper": None, "watts": None, "provenance": None, "source": None}
    joules, lower, upper = command_energy(cpu_seconds, os.path.dirname(model.path))
    return {
        "joules": joules,
        "lower": lower,
        "upper": upper,
        "watts": None,
        "provenance": model.provenance,
        "source": model.source,
    }


def _run_record(run: Run, models: Sequence[ChannelInfo]) -> Record:
    measured = run.measurement.to_dict()
    estimate = _command_estimate(models, run.ended.cpu_seconds)
    return {
        "exit_status": run.ended.status,
        **{key: measured[key] for key in ("seconds", "start_ns", "end_ns", "channels", "total", "gpus")},
        "command_cpu": {
            "seconds": run.ended.cpu_seconds,
            "user_seconds": run.ended.user_seconds,
            "system_seconds": run.ended.system_seconds,
            **_with_watts(estimate, run.measurement.seconds),
        },
    }


def _with_watts(record: Record, seconds: float) -> Record:
    joules = record["joules"]
    return {**record, "watts": joules / seconds if joules is not None and seconds > 0 else None}


def _fmean(values: Sequence[float | None]) -> float | None:
    """None as soon as one is not known: a mean of the rest would be a mean of something else."""
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if len(known) == len(values) else None


def _mean(records: Sequence[Record], seconds: float) -> Record:
    """The mean of a channel; the mean of the bounds bounds the mean of the truth."""
    mean = {key: _fmean([record[key] for record in records]) for key in ("joules", "lower", "upper")}
    rest = {key: records[0][key] for key in ("provenance", "source")}
    return {**_with_watts(mean, seconds), **rest}


def _mean_command(records: Sequence[Record]) -> Record:
    return {
        key: value if isinstance(value, str | None) else _fmean([record[key] for record in records])
        for key, value in records[0].items()
    }


def _spread(values: Sequence[float | None]) -> Record:
    known = [value for value in values if value is not None]
    if len(known) < len(values):
        return {"stddev": None, "min": None, "max": None}
    return {
        "stddev": statistics.stdev(known) if len(known) > 1 else None,
        "min": min(known),
        "max": max(known),
    }


def _sums(losses: Sequence[dict[str, int]]) -> dict[str, int]:
    return {name: sum(each[name] for each in losses) for name in losses[0]}
