# SPDX-License-Identifier: MIT
"""Joules per call of a function, with intervals, and the comparison of two."""

from __future__ import annotations

import contextlib
import math
import random
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
import numpy.typing as npt

from . import _core
from .batches import batch_of
from .errors import BadArgument
from .extras import need
from .interval import Interval
from .percall import Benchmark, CallEnergy, Comparison, Overhead, Run, verdict
from .probe import Probe
from .runs import FEW_STEPS, Series, Session

_EARLIEST_STOP = 10  # runs: an interval of fewer is itself too uncertain to stop by
_LATE = 0.1
_TREND = 0.01
_DRIFT = 0.1

Floats = npt.NDArray[np.float64]
_NOTHING = Interval(0.0, 0.0, 0.0)


def benchmark(
    fn: Callable[..., object],
    *args: object,
    seconds: float = 3.0,
    precision: float | None = None,
    baseline: float = 0.3,
    channels: str | Iterable[str] | None = None,
    sources: str | _core.Source | Iterable[str | _core.Source] | None = None,
    strict: bool | None = None,
    probe: Probe | None = None,
) -> Benchmark:
    """Measures the energy of one call of `fn(*args)`, be it 100 ns or some seconds long.

        result = pp.benchmark(sorted, numbers)
        print(result)
        result.total.gross.value, result.total.net, result.seconds.value

    Calls are made back to back in batches, so long that reading the clock is 0.1 % of them, and batches in runs over many
    steps of the counter. What the loop itself takes is subtracted; that a call is made is a part of the call. The garbage
    collector is off during runs. Whatever the machine does meanwhile is counted, too: gross energy has all of it, net
    energy is without the idle baseline.

    Args:
        seconds: how long to go on calling, about; at least five runs of one call are made, however long they take.
        precision: stop sooner, when the interval of the gross total is within this share of it (0.01: 1 %).
        baseline: seconds of idling before and after the runs; 0: none, and no net energy.
        channels, sources, strict: as of a `Probe`.
        probe: the running Probe to use instead (then without sources and strict).

    Raises:
        Unavailable: scipy is not installed, or nothing can be read here (also PermissionDenied).
        BadArgument, TypeError: an argument that cannot be.
    """
    _check_functions(fn=fn)
    _check_numbers(seconds=seconds, precision=precision, baseline=baseline or None)
    need("scipy", "benchmark()")
    from .statistics import mean

    with _running(probe, channels, sources, strict) as (running, names):
        session = Session(running, names, baseline)
        series = Series(_name_of(fn), batch_of(fn, args))

        def is_enough() -> bool:
            if precision is None or len(series.calls) < _EARLIEST_STOP:
                return False
            return mean(series.columns("value")[:, -1]).half_width <= precision

        session.measure([series], seconds, random.Random(), is_enough)
        return _Summary(session, series).benchmark()


def compare(
    f: Callable[[], object],
    g: Callable[[], object],
    *,
    seconds: float = 5.0,
    margin: float = 0.01,
    seed: int | None = None,
    baseline: float = 0.3,
    channels: str | Iterable[str] | None = None,
    sources: str | _core.Source | Iterable[str | _core.Source] | None = None,
    strict: bool | None = None,
    probe: Probe | None = None,
) -> Comparison:
    """Measures which of two functions takes less energy per call, or whether they are equivalent.

    Runs of both are made in pairs, in an order that chance decides for each pair, so that what changes slowly
    (temperature, other load) meets both alike.

    Args:
        seconds: how long to go on calling, about; at least five pairs are made.
        margin: means that differ by less than this share of g's count as equivalent.
        seed: of the order; None: another one each time.
        baseline, channels, sources, strict, probe: as of `benchmark()`.

    Raises:
        As `benchmark()`.
    """
    _check_functions(f=f, g=g)
    _check_numbers(seconds=seconds, margin=margin, baseline=baseline or None)
    need("scipy", "compare()")
    from .statistics import paired, paired_net

    with _running(probe, channels, sources, strict) as (running, names):
        session = Session(running, names, baseline)
        labels = [_name_of(f), _name_of(g)]
        if labels[0] == labels[1]:
            labels = [f"{labels[0]} (f)", f"{labels[1]} (g)"]
        series = [Series(label, batch_of(function)) for label, function in zip(labels, (f, g), strict=True)]
        session.measure(series, seconds, random.Random(seed))
    first, second = (_Summary(session, each) for each in series)
    joules = paired(first.joules[:, -1], second.joules[:, -1], margin)
    one, other = first.benchmark(), second.benchmark()
    net = None
    if session.baseline is not None:
        idle = session.baseline.watts["total"]
        net = paired_net(first.joules[:, -1], first.seconds, second.joules[:, -1], second.seconds, idle, margin)
    return Comparison(
        first=one,
        second=other,
        joules=joules,
        net=net,
        seconds=paired(first.seconds, second.seconds, margin),
        verdict=verdict(joules, one.label, other.label, one.total.provenance),
        warnings=tuple(dict.fromkeys([*one.warnings, *other.warnings])),
    )


class _Summary:
    """What the runs of a function say, less what the loop takes.

    Attributes:
        seconds: per call, of shape (runs,).
        joules, net: per call, of shape (runs, columns of the session); net is None without a baseline.
    """

    def __init__(self, session: Session, series: Series) -> None:
        from .statistics import mean

        self._mean = mean
        self._session = session
        self._series = series
        loop = session.loop
        self._loop_seconds = self._mean(loop.seconds) if loop.calls else _NOTHING
        self._loop_joules = [
            self._mean(loop.columns("value")[:, i]) if loop.calls else _NOTHING for i in range(len(session.columns))
        ]
        self.seconds: Floats = np.array(series.seconds) - self._loop_seconds.value
        self.joules = self._less_loop("value")
        self.net: Floats | None = None
        if session.baseline is not None:
            watts = np.array([each.value for each in session.baseline.watts.values()])
            self.net = self.joules - np.outer(self.seconds, watts)

    def benchmark(self) -> Benchmark:
        session, series = self._session, self._series
        seconds = self._mean(self.seconds).widened(self._loop_seconds)
        energies = [self._energy(i, seconds.value) for i in range(len(session.columns))]
        rows = zip(series.calls, self.seconds, self.joules[:, -1], strict=True)
        return Benchmark(
            label=series.label,
            seconds=seconds,
            channels={column.name: each for column, each in zip(session.columns[:-1], energies[:-1], strict=True)},
            total=energies[-1],
            runs=tuple(Run(calls, float(time), float(joules)) for calls, time, joules in rows),
            batch=series.batch_calls,
            overhead=Overhead(self._loop_seconds, self._loop_joules[-1]) if session.loop.calls else None,
            baseline=session.baseline,
            warnings=tuple(self._warnings(energies[-1])),
        )

    def _less_loop(self, kind: str) -> Floats:
        loop: Floats = np.array([each.value for each in self._loop_joules])
        return self._series.columns(kind) - loop

    def _energy(self, i: int, seconds: float) -> CallEnergy:
        column, loop = self._session.columns[i], self._loop_joules[i]
        gross, lower, upper = (
            self._mean(each[:, i]).widened(loop)
            for each in (self.joules, self._less_loop("lower"), self._less_loop("upper"))
        )
        net = None
        if self.net is not None and self._session.baseline is not None:
            idle = self._session.baseline.watts[column.name]
            net = self._mean(self.net[:, i]).widened(loop).widened(idle, seconds)
        return CallEnergy(
            gross=gross,
            net=net,
            lower=min(lower.low, gross.low),
            upper=max(upper.high, gross.high),
            watts=gross.value / seconds if seconds > 0.0 else math.nan,
            edges=min(row[i].edges for row in self._series.steps),
            depth=column.depth,
            provenance=column.provenance,
            source=column.source,
        )

    def _warnings(self, total: CallEnergy) -> list[str]:
        """Of the session, then of this function; sentences with figures."""
        from .statistics import outliers, trend

        session, series = self._session, self._series
        found = []
        edges, late, dropped = (sum(counts) for counts in zip(*(row[-1] for row in series.steps), strict=True))
        if total.edges < FEW_STEPS:
            found.append(f"too few edges: as few as {total.edges} steps of a counter in a run; give it more seconds")
        if late > _LATE * edges:
            found.append(f"late edges: {late} of {edges} steps were seen late, which widens the bounds")
        if dropped:
            found.append(f"dropped edges: before {dropped} of {edges} steps others were not stored")
        if abs(rise := trend(self.joules[:, -1])) > _TREND:
            found.append(f"trend: energy per call changed by {100 * rise:+.1f} % from the first run to the last")
        if number := outliers(self.seconds):
            found.append(f"outliers: {number} of {len(self.seconds)} runs took far longer than the rest")
        batch_ns = float(np.median(series.seconds)) * series.batch_calls * 1e9
        if batch_ns < session.goal_ns / 2:
            found.append(f"short batches: of {batch_ns * 1e-3:.0f} us, so that reading the clock counts")
        return [*session.doubts, *self._about_the_machine(total), *(f"{series.label}: {each}" for each in found)]

    def _about_the_machine(self, total: CallEnergy) -> list[str]:
        found = []
        if total.provenance == "estimated":
            found.append(
                "NOT MEASURED: an estimate from CPU time cannot tell one code from another; no counter was read"
            )
        baseline = self._session.baseline
        if baseline is not None and abs(baseline.drift["total"]) > _DRIFT * baseline.watts["total"].value:
            found.append(
                f"baseline drift: idling took {baseline.drift['total']:+.3f} W more after the runs than before"
            )
        return found


@contextlib.contextmanager
def _running(
    probe: Probe | None,
    channels: str | Iterable[str] | None,
    sources: str | _core.Source | Iterable[str | _core.Source] | None,
    strict: bool | None,
) -> Iterator[tuple[Probe, Sequence[str]]]:
    """A running probe and the channels that are asked for."""
    if probe is None:
        with Probe(channels, sources, strict=strict) as own:
            yield own, own.channels
    elif sources is not None or strict is not None:
        raise BadArgument("sources and strict cannot be given together with probe, which has chosen already")
    elif not isinstance(probe, Probe):
        raise TypeError(f"probe must be a Probe, not {type(probe).__name__}")
    else:
        yield probe, probe._select(channels)


def _name_of(function: Callable[..., object]) -> str:
    return getattr(function, "__qualname__", None) or type(function).__name__


def _check_functions(**functions: object) -> None:
    import inspect

    for name, function in functions.items():
        if not callable(function):
            raise TypeError(f"{name} must be a function, not {type(function).__name__}")
        if inspect.iscoroutinefunction(function) or inspect.isgeneratorfunction(function):
            raise TypeError(f"{name}: calling it does not run it; give a function that does (asyncio.run, list)")


def _check_numbers(**values: object) -> None:
    """All above 0; None is not looked at."""
    for name, value in values.items():
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise TypeError(f"{name} must be a number, not {type(value).__name__}")
        if not 0.0 < value < math.inf:
            raise BadArgument(f"{name} must be above 0, not {value}")
