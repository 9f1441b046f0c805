# SPDX-License-Identifier: MIT
"""The result of `bench` as plain data: what `--export-json` writes (docs/json.md) and what tables are made from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..gpus import remarks
from ..interval import Interval, finite
from ..percall import TOTAL, verdict
from ..statistics import mean, outliers, paired, paired_net, trend
from .bench_runs import Benched, Series
from .gpus import merged
from .reasons import missing_boards
from .result import SCHEMA, refusals_as_data

if TYPE_CHECKING:
    from ..baseline import Baseline
    from ..probe import Probe

Record = dict[str, Any]

_COARSE = 0.1
_TREND = 0.02
_DRIFT = 0.1


def bench_result(series: Series, probe: Probe, margin: float | None, seed: int | None) -> Record:
    """Everything about these runs; settles what is not settled yet.

    Args:
        margin: with it the commands were run in rounds and are compared with the first; None: they were not.
    """
    records = [_command(each, series.baseline) for each in series.commands if each.runs]
    if margin is not None:
        for number, record in enumerate(records[1:], 2):
            record["against_first"] = _against(record, records[0], str(number), margin, series.baseline)
    return {
        "schema": SCHEMA,
        "interrupted": bool(series.interrupted),
        "compared": margin is not None,
        "seed": seed,
        "baseline": series.baseline.to_dict() if series.baseline else None,
        "commands": records,
        "warnings": [
            *series.doubts,
            *_drift(series.baseline),
            *missing_boards(probe.refusals),
            *(f"{i}: {each}" for i, record in enumerate(records, 1) for each in _doubts(record)),
        ],
        "refusals": refusals_as_data(probe.refusals),
    }


def _command(command: Benched, baseline: Baseline | None) -> Record:
    measured = [run.measurement.to_dict() for run in command.runs]
    seconds = [each["seconds"] for each in measured]
    names = list(measured[0]["channels"])
    channels = {name: _energy(name, [each["channels"][name] for each in measured], seconds, baseline) for name in names}
    total = _energy(TOTAL, [each["total"] for each in measured], seconds, baseline)
    ended = [run.ended for run in command.runs]
    return {
        "command": command.text,
        "argv": command.argv,
        "exit_statuses": [each.status for each in ended],
        "seconds": _spread(seconds),
        "user_seconds": float(np.mean([each.user_seconds for each in ended])),
        "system_seconds": float(np.mean([each.system_seconds for each in ended])),
        "watts": _spread([_known(each["total"]["watts"]) for each in measured]),
        "channels": channels,
        "total": total,
        "gpus": merged([each["gpus"] for each in measured]),
        "runs": [
            {
                "exit_status": end.status,
                "user_seconds": end.user_seconds,
                "system_seconds": end.system_seconds,
                **{key: each[key] for key in ("seconds", "start_ns", "end_ns", "channels", "total")},
            }
            for each, end in zip(measured, ended, strict=True)
        ],
        "against_first": None,
    }


def _energy(name: str, records: Sequence[Record], seconds: Sequence[float], baseline: Baseline | None) -> Record:
    """Of a channel or the total, over all runs."""
    joules, lower = ([_known(each[key]) for each in records] for key in ("joules", "lower"))
    upper = [_known(each["upper"]) for each in records]
    gross = mean(joules)
    return {
        "joules": _spread(joules),
        "lower": finite(min(mean(lower).low, gross.low)),
        "upper": finite(max(mean(upper).high, gross.high)),
        "net_joules": _net(name, joules, seconds, baseline) if baseline else None,
        "provenance": records[0]["provenance"],
        "source": records[0]["source"],
    }


def _net(name: str, joules: Sequence[float], seconds: Sequence[float], baseline: Baseline) -> Record:
    values = [energy - baseline.watts[name].value * time for energy, time in zip(joules, seconds, strict=True)]
    return _spread(values, mean(values).widened(baseline.watts[name], float(np.mean(seconds))))


def _against(record: Record, first: Record, name: str, margin: float, baseline: Baseline | None) -> Record:
    """What the pairs of runs say; the energies are totals."""
    joules, other_joules = _totals(record), _totals(first)
    seconds, other_seconds = ([run["seconds"] for run in each["runs"]] for each in (record, first))
    gross = paired(joules, other_joules, margin)
    net = None
    if baseline is not None:
        net = paired_net(joules, seconds, other_joules, other_seconds, baseline.watts[TOTAL], margin)
    return {
        "joules": gross.to_dict(),
        "net_joules": net.to_dict() if net else None,
        "seconds": paired(seconds, other_seconds, margin).to_dict(),
        "verdict": verdict(gross, name, "1", record["total"]["provenance"]),
    }


def _doubts(record: Record) -> list[str]:
    """Why the figures of a command may not be trustworthy."""
    found = []
    joules, total, count = _totals(record), record["total"], len(record["runs"])
    seconds = [run["seconds"] for run in record["runs"]]
    measured = total["provenance"] != "estimated"
    wide = [(_known(run["total"]["upper"]) - _known(run["total"]["lower"])) / 2 for run in record["runs"]]
    share = float(np.mean(wide) / joules.mean()) if joules.mean() > 0.0 else math.nan
    if measured and share > _COARSE:
        found.append(f"too few edges: a run is so short that its energy is known to {100 * share:.0f} % only")
    if abs(rise := trend(joules)) > _TREND:
        found.append(f"trend: energy changed by {100 * rise:+.1f} % from the first run to the last")
    if number := outliers(seconds):
        found.append(f"outliers: {number} of {count} runs took far longer than the rest")
    if failed := sum(status != 0 for status in record["exit_statuses"]):
        found.append(f"failures: {failed} of {count} runs ended with a status that is not 0")
    found += remarks(record["gpus"])
    against = record["against_first"]
    if against is not None and measured and math.isfinite(share):
        difference = abs(_known(against["joules"]["ratio"]["value"]) - 1.0)
        if not against["joules"]["equivalent"] and difference < share:
            found.append(
                f"bounds: a single run is known to {100 * share:.1f} %, which is more than the difference; "
                "that the mean is better rests on steps that fall by chance"
            )
    return found


def _drift(baseline: Baseline | None) -> list[str]:
    if baseline is None or not abs(baseline.drift[TOTAL]) > _DRIFT * baseline.watts[TOTAL].value:
        return []
    return [f"baseline drift: idling took {baseline.drift[TOTAL]:+.3f} W more after the runs than before"]


def _totals(record: Record) -> npt.NDArray[np.float64]:
    return np.array([_known(run["total"]["joules"]) for run in record["runs"]])


def _known(value: float | None) -> float:
    return math.nan if value is None else value


def _spread(values: Sequence[float], interval: Interval | None = None) -> Record:
    """Mean with its interval (95 %), and how the runs scatter; None for what is not known."""
    interval = interval or mean(values)
    figures = {
        "mean": interval.value,
        "low": interval.low,
        "high": interval.high,
        "stddev": float(np.std(values, ddof=1)) if len(values) > 1 else math.nan,
        "min": float(np.min(values)),
        "max": float(np.max(values)),
    }
    return {name: finite(value) for name, value in figures.items()}
