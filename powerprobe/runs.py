# SPDX-License-Identifier: MIT
"""Runs of calls on a probe, between two windows of idling: what `benchmark()` and `compare()` have in common."""

from __future__ import annotations

import contextlib
import gc
import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from . import _core
from .baseline import Baseline, Window, baseline, idle_window
from .batches import Batch, Estimate, Steps, batches, calibrated, clock_ns, empty_batch, steps, watts_on_edges
from .conditions import Conditions, megahertz, worries
from .percall import TOTAL

if TYPE_CHECKING:
    from .measurement import Measurement
    from .probe import Probe

FEWEST_RUNS = 5
FEW_STEPS = 10
"""Of the counter, in a run: fewer are too few."""

_RUNS = 20  # wanted of each function
_STEPS = 20  # wanted in each run
_READINGS = 1000  # a batch takes so many readings of the clock: they are 0.1 % of it
_NEGLIGIBLE = 1e-3
_LOOK = 0.02  # seconds in which a counter shows how often it steps; GPUs take longer
_LONGEST_LOOK = 0.3
_USUAL_STEP_NS = 1e6
_LONGEST_RUN_NS = 150e6  # unless so many steps take longer
_NEWEST = 1 << 16  # edges that are looked through after each run

Floats = npt.NDArray[np.float64]


class Series:
    """One function and its runs: per run the calls, and per call the seconds, the energy by column and the steps by channel."""

    def __init__(self, label: str, batch: Batch) -> None:
        self.label = label
        self.batch = batch
        self.batch_calls = 1
        self.call_ns = 0.0  # about; from calibrating
        self.calls: list[int] = []
        self.seconds: list[float] = []
        self.energies: list[list[Estimate]] = []
        self.steps: list[list[Steps]] = []

    def columns(self, kind: str) -> Floats:
        """ "value", "lower" or "upper" of the joules, of shape (runs, columns)."""
        return np.array([[getattr(each, kind) for each in row] for row in self.energies])


class Column(NamedTuple):
    """A channel, or the total of all that are inside no other."""

    name: str
    depth: int
    provenance: str
    source: str


class Session:
    """A probe, the windows of idling before and after, and the state of the machine.

    Args:
        names: channels of the probe, which is running.
        idle_seconds: length of each window; 0: none.

    Attributes, complete after `measure()`:
        columns: the channels in the order of their tree, then the total.
        loop: the empty loop's runs; none where it is negligible.
        baseline: None without windows.
        doubts: what happened to the machine or the counters meanwhile, as sentences.
        goal_ns: how long a batch should be.
    """

    def __init__(self, probe: Probe, names: Sequence[str], idle_seconds: float) -> None:
        self.columns: list[Column] = []
        self.loop = Series("loop", empty_batch)
        self.baseline: Baseline | None = None
        self.doubts: list[str] = []
        self.goal_ns = 0.0
        self._step_ns = 0.0
        self._probe = probe
        self._measuring = probe.measure(names)
        self._tree = probe._tree_of(tuple(names))
        self._names = list(self._tree.depths)
        self._idle_seconds = idle_seconds

    def measure(
        self,
        series: Sequence[Series],
        seconds: float,
        chance: random.Random,
        is_enough: Callable[[], bool] = lambda: False,
    ) -> None:
        """Makes runs of all, in rounds, until the time is up or `is_enough` after a round, but five rounds at least."""
        conditions, frequencies = Conditions.now(), []
        losses_before = losses(self._probe, self._names)
        step_ns = self._step_ns = longest_step_ns(self._probe, self._names)
        before = self._idle(step_ns)
        self._calibrate([*series, self.loop])
        has_loop = any(self.loop.call_ns > _NEGLIGIBLE * each.call_ns for each in series)
        run_ns = run_duration_ns(seconds, step_ns, len(series))
        end_ns = _core.now_ns() + seconds * 1e9
        rounds = 0
        while rounds < FEWEST_RUNS or (_core.now_ns() < end_ns and not is_enough()):
            for each in chance.sample(series, len(series)):
                self._run(each, run_ns)
                frequencies.append(megahertz())
            if has_loop and (rounds < FEWEST_RUNS or rounds % FEWEST_RUNS == 0):
                self._run(self.loop, run_ns)
            rounds += 1
        after = self._idle(step_ns)
        if before is not None and after is not None:
            self.baseline = baseline(before, after, [each.name for each in self.columns], self._idle_seconds)
        self.doubts = worries(conditions, Conditions.now(), frequencies)
        self.doubts += lost(losses_before, losses(self._probe, self._names))

    def _run(self, series: Series, run_ns: float) -> None:
        with _collector_off(), self._measuring as measurement:
            made, start_ns, end_ns = batches(series.batch, series.batch_calls, int(run_ns), _core.now_ns)
        calls = made * series.batch_calls
        seconds = (end_ns - start_ns) * 1e-9 / calls
        if not self.columns:
            self.columns = self._described(measurement)
        views = {name: self._probe.view(name, _NEWEST) for name in self._names}
        counted = {name: steps(edges, start_ns, end_ns) for name, edges in views.items()}
        is_short = (end_ns - start_ns) / made < self._step_ns
        energies = {}
        for name, edges in views.items():
            info = self._probe.info(name)
            # Calls that are long against a step need not be alike within it, and the bounds of an estimate are not in its edges.
            watts = None
            if is_short and info.provenance == "measured":
                watts = watts_on_edges(edges, start_ns, end_ns, info.quantum_joules)
            whole = Estimate(measurement.joules[name], measurement.lower[name], measurement.upper[name])
            energies[name] = watts.times(seconds) if watts else whole.times(1 / calls)
        roots = self._tree.roots
        total = Estimate(*(sum(kind) for kind in zip(*(energies[name] for name in roots), strict=True)))
        series.calls.append(calls)
        series.seconds.append(seconds)
        series.energies.append([*energies.values(), total])
        series.steps.append([*counted.values(), min(counted[name] for name in roots)])

    def _calibrate(self, series: Sequence[Series]) -> None:
        self.goal_ns = _READINGS * clock_ns(_core.now_ns)
        with _collector_off():
            for each in series:
                each.batch_calls, each.call_ns = calibrated(each.batch, self.goal_ns, _core.now_ns)

    def _idle(self, step_ns: float) -> Window | None:
        if not self._idle_seconds:
            return None
        return idle_window(self._probe, self._names, self._tree.roots, self._idle_seconds, step_ns)

    def _described(self, measurement: Measurement) -> list[Column]:
        provenance, source = measurement.provenance, measurement.source
        columns = [Column(name, depth, provenance[name], source[name]) for name, depth in self._tree.depths.items()]
        sources = dict.fromkeys(source[name] for name in self._tree.roots)
        return [*columns, Column(TOTAL, 0, measurement.total_provenance, ", ".join(sources))]


def longest_step_ns(probe: Probe, names: Iterable[str]) -> float:
    """How often the slowest of these counters steps that does not rest: as its makers say, else as is seen."""
    periods = {name: float(probe.info(name).update_period_ns) for name in names}
    unknown = [name for name, period in periods.items() if not period]
    deadline_ns = _core.now_ns() + _LONGEST_LOOK * 1e9
    while unknown and _core.now_ns() < deadline_ns:
        time.sleep(_LOOK)
        for name in unknown:
            times = probe.view(name, _RUNS)["t_ns"]
            periods[name] = float(np.median(np.diff(times))) if times.size > 2 else 0.0
        unknown = [name for name in unknown if not periods[name]]
    return max(periods.values()) or _USUAL_STEP_NS


def losses(probe: Probe, names: Iterable[str]) -> dict[str, float]:
    """What was lost so far, by its name in words."""
    usage = probe._usage(tuple(names))
    return {"dropped edges": usage["dropped"], "counter resets": usage["resets"]}


def lost(before: Mapping[str, float], after: Mapping[str, float]) -> list[str]:
    """The same as warnings about what happened in between."""
    return [f"{what}: {after[what] - count:.0f} meanwhile" for what, count in before.items() if after[what] > count]


def run_duration_ns(seconds: float, step_ns: float, functions: int) -> float:
    """Twenty runs of each function or more, but over twenty steps at least; if there is no time for that, five."""
    share_ns = seconds * 1e9 / functions
    return min(max(min(share_ns / _RUNS, _LONGEST_RUN_NS), _STEPS * step_ns), share_ns / FEWEST_RUNS)


@contextlib.contextmanager
def _collector_off() -> Iterator[None]:
    """As timeit does it; between runs it collects what has gathered."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
