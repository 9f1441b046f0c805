# SPDX-License-Identifier: MIT
"""What `benchmark()` and `compare()` return: energy and time of one call, and what two functions differ by."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .baseline import Baseline
from .interval import Interval, finite
from .table import numbers, scale_of, seconds, table

if TYPE_CHECKING:
    from .statistics import Paired

TOTAL = "total"


@dataclass(frozen=True)
class CallEnergy:
    """Energy of one call, on one channel or all.

    Attributes:
        gross: joules of a call with all that the machine took meanwhile, and the interval (95 %) that the scatter of the
            runs gives.
        net: gross less the idle baseline for as long as a call takes; None without a baseline.
        lower, upper: the same interval if the counter's steps hid from each run as much as they can, for any load.
        watts: gross by time.
        edges: the fewest steps of the counter in a run.
        depth: 0: a part of the total; else it is inside a channel above it.
        provenance, source: as of a `Measurement`.
    """

    gross: Interval
    net: Interval | None
    lower: float
    upper: float
    watts: float
    edges: int
    depth: int
    provenance: str
    source: str

    def to_dict(self) -> dict[str, Any]:
        """As `json` takes it."""
        return {
            "gross": self.gross.to_dict(),
            "net": self.net.to_dict() if self.net else None,
            "lower": finite(self.lower),
            "upper": finite(self.upper),
            "watts": finite(self.watts),
            "edges": self.edges,
            "depth": self.depth,
            "provenance": self.provenance,
            "source": self.source,
        }


@dataclass(frozen=True)
class Run:
    """One run: calls back to back."""

    calls: int
    seconds: float  # of a call
    joules: float  # of a call, gross, all channels

    def to_dict(self) -> dict[str, Any]:
        """As `json` takes it."""
        return {"calls": self.calls, "seconds": self.seconds, "joules": finite(self.joules)}


@dataclass(frozen=True)
class Overhead:
    """What the loop around the calls takes for each of them; it is subtracted everywhere."""

    seconds: Interval
    joules: Interval  # of the total

    def to_dict(self) -> dict[str, Any]:
        """As `json` takes it."""
        return {"seconds": self.seconds.to_dict(), "joules": self.joules.to_dict()}


@dataclass(frozen=True)
class Benchmark:
    """Joules, seconds and watts per call.

    Attributes:
        label: name of the function.
        seconds: of a call.
        channels: by name.
        total: of all channels that are inside no other.
        runs: each with its `calls`, and `seconds` and `joules` per call.
        batch: calls between two readings of the clock.
        overhead: None where it is below 0.1 % of a call and was left in.
        baseline: None where none was asked for.
        warnings: why the figures may not be trustworthy, sentences with figures; empty when nothing speaks against them.
    """

    label: str
    seconds: Interval
    channels: dict[str, CallEnergy]
    total: CallEnergy
    runs: tuple[Run, ...]
    batch: int
    overhead: Overhead | None
    baseline: Baseline | None
    warnings: tuple[str, ...]

    @property
    def calls(self) -> int:
        """Of all runs."""
        return sum(run.calls for run in self.runs)

    def to_dict(self) -> dict[str, Any]:
        """All of it as `json` takes it, None for what is not known."""
        return {
            "label": self.label,
            "calls": self.calls,
            "batch": self.batch,
            "seconds": self.seconds.to_dict(),
            "channels": {name: each.to_dict() for name, each in self.channels.items()},
            "total": self.total.to_dict(),
            "runs": [run.to_dict() for run in self.runs],
            "overhead": self.overhead.to_dict() if self.overhead else None,
            "baseline": self.baseline.to_dict() if self.baseline else None,
            "warnings": list(self.warnings),
        }

    def __str__(self) -> str:
        """A table; what stands in brackets are 95 % intervals and bounds."""
        return "\n".join([_head(self), _table([self]), *_below(self, self.warnings)])


@dataclass(frozen=True)
class Comparison:
    """Two functions, called in pairs of runs.

    Attributes:
        first, second: what `benchmark()` would have said of each.
        joules: total gross energy per call, first against second: difference, ratio, equivalence, smallest effect.
        net: the same for net energy; None without a baseline. The baseline's own uncertainty is not in it, and where it
            leaves open whether one of the two is above 0, the ratio is NaN.
        seconds: the same for time.
        verdict: what follows for the gross energy, in words.
        warnings: why that may not be trustworthy.
    """

    first: Benchmark
    second: Benchmark
    joules: Paired
    net: Paired | None
    seconds: Paired
    verdict: str
    warnings: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """All of it as `json` takes it."""
        return {
            "first": self.first.to_dict(),
            "second": self.second.to_dict(),
            "joules": self.joules.to_dict(),
            "net": self.net.to_dict() if self.net else None,
            "seconds": self.seconds.to_dict(),
            "verdict": self.verdict,
            "warnings": list(self.warnings),
        }

    def __str__(self) -> str:
        """Both in one table, and what follows."""
        lines = [_head(self.first), _head(self.second), _table([self.first, self.second])]
        lines.append(f"energy: {self.verdict}")
        names = self.first.label, self.second.label
        if self.net is not None:
            lines.append(f"net energy: {change(self.net.ratio, *names)}")
        lines.append(f"time: {change(self.seconds.ratio, *names)}")
        return "\n".join([*lines, *_below(self.first, self.warnings)])


def verdict(paired: Paired, first: str, second: str, provenance: str) -> str:
    """Which takes less, or that they are equivalent, or what could not have been seen. In words, with figures."""
    if provenance == "estimated":
        return "cannot tell: this is an estimate from CPU time, no counter was read"
    if paired.is_equivalent:
        return f"equivalent within {_percent(paired.margin)}: {change(paired.ratio, first, second)}"
    if paired.is_different:
        return change(paired.ratio, first, second)
    if not math.isfinite(paired.smallest_effect):
        return f"cannot tell {first} from {second}: too few runs"
    seen = f"the smallest difference that would have been seen (4 times of 5) is {_percent(paired.smallest_effect)}"
    return f"cannot tell: {change(paired.ratio, first, second)}; {seen}"


def change(ratio: Interval, first: str, second: str) -> str:
    """ "f takes 33.1 % [32.8, 33.4] less than g"."""
    low, value, high = (100.0 * (each - 1.0) for each in (ratio.low, ratio.value, ratio.high))
    kind = "more"
    if value < 0.0:
        low, value, high, kind = -high, -value, -low, "less"
    if not math.isfinite(high - low):
        return f"{first} and {second} have no ratio: they are not both above 0 beyond doubt"
    decimals = _decimals((high - low) / 2)
    return f"{first} takes {value:.{decimals}f} % [{low:.{decimals}f}, {high:.{decimals}f}] {kind} than {second}"


def _percent(share: float) -> str:
    return f"{100.0 * share:.2g} %"


def _decimals(half_width: float) -> int:
    """Two digits of the uncertainty."""
    return min(4, max(0, 1 - math.floor(math.log10(half_width)))) if half_width > 0.0 else 2


def _head(each: Benchmark) -> str:
    factor, prefix = scale_of([each.seconds.value])
    value, low, high = numbers([each.seconds.value, each.seconds.low, each.seconds.high], factor)
    runs = f"{each.calls} calls in {len(each.runs)} runs, {each.batch} between two readings of the clock"
    return f"{each.label}: {value} {prefix}s [{low}, {high}] per call; {runs}"


def _table(benchmarks: Iterable[Benchmark]) -> str:
    """A row for each channel and benchmark; all energies in one unit."""
    rows = [
        ("  " * energy.depth + name, each.label, energy)
        for each in benchmarks
        for name, energy in {**each.channels, TOTAL: each.total}.items()
    ]
    energies = [energy for _, _, energy in rows]
    factor, prefix = scale_of([each.gross.value for each in energies])
    gross = numbers([v for e in energies for v in (e.gross.value, e.gross.low, e.gross.high, e.lower, e.upper)], factor)
    net = numbers([v for e in energies if e.net for v in (e.net.value, e.net.low, e.net.high)], factor)
    has_net = any(each.net for each in energies)
    is_single = len({label for _, label, _ in rows}) == 1
    watts = numbers([each.watts for each in energies])
    lines = []
    for i, (name, label, energy) in enumerate(rows):
        value, low, high, lower, upper = gross[5 * i : 5 * i + 5]
        cells = [] if is_single else [label]
        cells += [name, value, f"[{low}, {high}]", f"[{lower}, {upper}]"]
        if has_net:
            net_value, net_low, net_high = net[3 * i : 3 * i + 3]
            cells += [net_value, f"[{net_low}, {net_high}]"]
        lines.append([*cells, watts[i], str(energy.edges), energy.provenance])
    header = [] if is_single else [""]
    header += ["channel", f"{prefix}J per call", "95 %", "with bounds"]
    header += [f"net {prefix}J", "95 %"] if has_net else []
    header += ["W", "steps", "provenance"]
    align = ("" if is_single else "<") + "<><<" + ("><" if has_net else "") + ">><"
    return table(header, lines, align)


def _below(each: Benchmark, warnings: Iterable[str]) -> list[str]:
    lines = []
    if each.baseline is not None:
        before, after = each.baseline.before[TOTAL], each.baseline.after[TOTAL]
        lines.append(
            f"idle baseline: {before:.3f} W before, {after:.3f} W after, drift {round(after - before, 3) + 0.0:+.3f} W"
        )
    if each.overhead is not None:
        factor, prefix = scale_of([each.overhead.joules.value])
        joules = numbers([each.overhead.joules.value], factor)[0]
        lines.append(f"subtracted for the loop: {seconds(each.overhead.seconds.value)}, {joules} {prefix}J per call")
    return [*lines, *(f"warning: {warning}" for warning in warnings)]
