# SPDX-License-Identifier: MIT
"""Measuring a block, a function or whatever lies between a begin and an end."""

from __future__ import annotations

import contextlib
import functools
import math
import sys
from collections.abc import Awaitable, Callable, Iterable
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, NamedTuple, ParamSpec, TypeVar, cast

import numpy as np

from . import _core
from .default import shared_probe
from .energies import RESOLVED, Energies, repetitions_to_resolve
from .errors import BadArgument, OutOfRange, PowerprobeError, SettleTimeout
from .peritem import PerItem, as_items
from .probe import Probe
from .sync import Sync, as_callable
from .table import numbers, scale_of, seconds, table

if TYPE_CHECKING:
    from .gpus import Boards

    P = ParamSpec("P")
    R = TypeVar("R")

_SETTLE = 2.0  # seconds: the longest that asking for a value waits
_TOLD = 1.0  # seconds: the longest that asking what NVML said waits
_COMPARABLE = 1.0  # seconds: in less, the power readings of a board say too little to be compared with


def measure(
    *,
    channels: str | Iterable[str] | None = None,
    sources: str | Iterable[str] | None = None,
    strict: bool | None = None,
    probe: Probe | None = None,
    report: Callable[[Measurement], object] | None = None,
    sync: Sync | None = None,
    items: float = 0.0,
    all_gpus: bool = False,
) -> Measure:
    """Measures the energy of a block, of the calls of a function, or from a begin to an end.

        with measure() as m:
            work()
        print(m)

        @measure()  # functions, methods and async functions; prints each call's table to stderr
        def train(): ...

        m = measure().begin()
        work()
        m.end()

    All share one probe of this process, which is made at the first use (about 0.1 s) and stopped at exit. May be nested
    and used in any thread; each use makes a `Measurement` of its own.

    Only the counters' steps around the begin and the end are waited for; in between the probe sleeps. When it is not awake
    already, beginning takes until the counters have stepped once (1 ms with RAPL), so that the begin lies right behind an
    edge. Ending never waits.

    Args:
        channels: what to measure: a name, a pattern ("package-*"; "*" for all) or several. None: all but the counters of
            single cores, the power readings beside a GPU's counter, and the GPUs that CUDA_VISIBLE_DEVICES hides when it
            begins.
        sources: names of the sources to consider; None: all.
        strict: True refuses estimates; None does what POWERPROBE_STRICT says.
        probe: the running Probe to use instead of the shared one (then without sources and strict).
        report: called with the Measurement after each block or call that did not raise. For functions the default prints
            the table to stderr.
        sync: called before the begin and right before the time stamp of the end, in the thread that measures: it returns when
            devices have done what they were given, which libraries of GPUs do not wait for. `torch.cuda.synchronize`,
            `functools.partial(jax.block_until_ready, x)` or any other callable without arguments; None: nothing is called.
            "auto" waits for torch, cupy and jax, for each that is imported and in use at that moment: all devices of torch
            and cupy that have a context, and all arrays of jax that are alive. It imports nothing and initializes no device.

            When it raises before the begin, nothing was begun; before the end, the measurement has ended all the same. When
            the block or the call raised, it is not called, for a device may be broken then.
        items: how many steps, tokens or images the joules are for; may be set or added to later, see `Measurement.items`.
        all_gpus: True measures hidden GPUs, too.

    Raises:
        PermissionDenied, Unavailable: when it begins and nothing can be read here, with all reasons and the remedy.
        BadArgument, TypeError: an argument that cannot be.
    """
    if probe is not None and (sources is not None or strict is not None or all_gpus):
        raise BadArgument("sources, strict and all_gpus cannot be given together with probe, which has chosen already")
    if probe is not None and not isinstance(probe, Probe):
        raise TypeError(f"probe must be a Probe, not {type(probe).__name__}")
    if report is not None and not callable(report):
        raise TypeError(f"report must be callable, not {type(report).__name__}")
    return Measure(channels, sources, strict, probe, report, as_callable(sync), as_items(items), all_gpus)


class Measure:
    """What `measure()` returns: a context manager, a decorator, and `begin()`. Any thread, any number of times."""

    def __init__(
        self,
        channels: str | Iterable[str] | None,
        sources: str | Iterable[str] | None,
        strict: bool | None,
        probe: Probe | None,
        report: Callable[[Measurement], object] | None,
        sync: Callable[[], object] | None,
        items: float,
        all_gpus: bool,
    ) -> None:
        self._channels = channels if channels is None or isinstance(channels, str) else tuple(channels)
        self._sources = sources if sources is None or isinstance(sources, (str, _core.Source)) else tuple(sources)
        self._strict = strict
        self._probe = probe
        self._report = report
        self._sync = sync
        self._items = items
        self._all_gpus = all_gpus
        self._latest: Measurement | None = None

    def begin(self) -> Measurement:
        """Begins a measurement; `end()` of what this returns ends it."""
        if self._probe is not None:
            return Measurement(self._probe, self._probe._select(self._channels), self._sync, self._items)
        shared, names = shared_probe(self._channels, self._sources, self._strict, self._all_gpus)
        return Measurement(shared, names, self._sync, self._items)

    def __enter__(self) -> Measurement:
        measurement = self._latest = self.begin()
        _blocks.set((*_blocks.get(), (self, measurement)))
        return measurement

    def __exit__(self, kind: type[BaseException] | None, *exc: object) -> None:
        blocks = _blocks.get()
        own = next((block for block in reversed(blocks) if block[0] is self), None)
        # Not found: the block was entered in another context, as the halves of async fixtures are.
        measurement = own[1] if own else self._latest
        _blocks.set(tuple(block for block in blocks if block is not own))
        if measurement is None:
            return
        if kind is not None:
            measurement._end_now()
            return
        measurement.end()
        if self._report is not None:
            self._report(measurement)

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        """The function with each call measured, and reported unless it raises."""
        import inspect

        if not callable(function) or isinstance(function, type):
            raise TypeError(f"measure() decorates functions, not {function!r}")
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise TypeError(
                "measure() cannot decorate a generator, whose body runs in pieces; use a with block inside it"
            )
        label = getattr(function, "__qualname__", repr(function))

        def done(measurement: Measurement) -> None:
            measurement.label = label
            (self._report or _print)(measurement)

        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def measured_async(*args: P.args, **kwargs: P.kwargs) -> object:
                measurement = self.begin()
                try:
                    result = await cast("Awaitable[object]", function(*args, **kwargs))
                except BaseException:
                    measurement._end_now()
                    raise
                measurement.end()
                done(measurement)
                return result

            return cast("Callable[P, R]", measured_async)

        @functools.wraps(function)
        def measured(*args: P.args, **kwargs: P.kwargs) -> R:
            measurement = self.begin()
            try:
                result = function(*args, **kwargs)
            except BaseException:
                measurement._end_now()
                raise
            measurement.end()
            done(measurement)
            return result

        return measured


class Measurement(PerItem):
    """The energy of one interval, on all channels of a probe or some of them. Any thread.

    Ending it takes a time stamp and never waits, except in `sync`. The first access to a value waits for the counters' next
    steps, 2 s at most: then it raises `SettleTimeout`. Asking for a value before the end raises `OutOfRange`.

    A channel that could not be read has joules of NaN, never 0, and a reason in `unknown`; a total that lacks a channel
    is NaN too. For an interval in which the counter did not step, `joules` is the share of the step around it.

    Attributes:
        label: name of the function that was measured; "" for blocks. Heads the table.
        channels: names of the channels, a tuple.
        start_ns: when it began, on the clock of `now_ns()`.
    """

    def __init__(
        self,
        probe: Probe,
        channels: tuple[str, ...],
        sync: Callable[[], object] | None = None,
        items: float = 0.0,
    ) -> None:
        self.label = ""
        self.channels = channels
        self._items = items
        self._sync = sync
        self._probe = probe
        self._tree = probe._tree_of(channels)
        # Before the steps of the counters are asked for: they are asked for a while, and this may take longer.
        if sync is not None:
            sync()
        self._usage = probe._begin(channels)
        self._boards = _boards_of(probe, channels)
        self._start = probe._mark()
        self.start_ns = self._start.t_ns
        probe._watch(self.start_ns)
        self._is_watched = True
        self._forks = probe._forks
        self._end_ns: int | None = None
        self._end: _core.Mark | None = None
        self._failure = ""
        self._values: _Values | None = None

    def end(self) -> Measurement:
        """Ends the interval; waits for nothing but `sync`. What has ended already stays as it is. Returns the measurement itself.

        Raises:
            What sync raises; the measurement has ended all the same.
        """
        if self._sync is not None:
            try:
                self._sync()
            finally:
                self._end_now()
        else:
            self._end_now()
        return self

    def _end_now(self) -> None:
        """Without sync."""
        if self._end_ns is None:
            try:
                self._end = self._probe._mark()
                self._end_ns = self._end.t_ns
                self._start = self._probe._kept(self._start, self.channels)
                self._usage = self._probe._end(self.channels, self._usage, self._forks)
                if self._boards is not None:
                    self._boards.end()
            except PowerprobeError as error:  # the probe was closed or left behind by a fork: an answer, like any other
                self._end_ns = self._end_ns or _core.now_ns()
                self._failure = error.message
                self._usage = {}
            self._sync = None  # an end is only once, and what it waited for may go
            self._stop_watching()

    def _stop_watching(self) -> None:
        if self._is_watched:
            self._is_watched = False
            if self._forks == self._probe._forks:  # else it is the parent that watches
                self._probe._unwatch()

    def __del__(self) -> None:
        if getattr(self, "_is_watched", False):  # begun and never ended: the samplers need not go on
            self._stop_watching()

    # ---- The answer

    @property
    def joules(self) -> dict[str, float]:
        """Joules by channel: the estimate between `lower` and `upper`."""
        return self._settled().joules

    @property
    def lower(self) -> dict[str, float]:
        """By channel, the least that it can have been, in joules."""
        return self._settled().lower

    @property
    def upper(self) -> dict[str, float]:
        """By channel, the most that it can have been, in joules; infinite where the counter was reset."""
        return self._settled().upper

    @property
    def watts(self) -> dict[str, float]:
        """By channel, the mean power."""
        return {name: self._watts(joules) for name, joules in self.joules.items()}

    @property
    def unknown(self) -> dict[str, str]:
        """Channel -> why its energy is not known. Empty when all is well."""
        return self._settled().unknown

    @property
    def flags(self) -> dict[str, tuple[str, ...]]:
        """By channel, what is to be known of the answer: names of `EDGE_FLAGS`, as in `Energies.flags`."""
        flags = self._settled().flags
        return {name: tuple(flag for flag, bit in _core.EDGE_FLAGS.items() if flags[name] & bit) for name in flags}

    @property
    def repetitions(self) -> dict[str, float]:
        """By channel, how many times as long, doing the same, it must last for narrow bounds; see `Energies`."""
        values = self._settled()
        return {
            name: float(
                repetitions_to_resolve(values.joules[name], values.lower[name], values.upper[name], values.flags[name])
            )
            for name in values.joules
        }

    @property
    def resolved(self) -> bool:
        """Whether the bounds of `total` are narrow against it: no further apart than a tenth."""
        return self.total_upper - self.total_lower <= RESOLVED * self.total

    def energies(self, settle: bool = True) -> Energies:
        """All channels at once: `Energies` of shape (channels,), with flags, `resolved` and `repetitions`.

        Args:
            settle: False does not wait: also before the end, and before the counters' next steps are in. The bounds are then
                as wide as what is not known yet, see `Probe.energy(settle=False)`.

        Raises:
            OutOfRange: it has not ended yet (without settle: a channel was not read at its begin).
            SettleTimeout: the counters did not step.
        """
        if settle or self._values is not None or (self._end_ns is not None and self._is_settled()):
            values = self._settled()
            columns = [list(each.values()) for each in (values.joules, values.lower, values.upper, values.flags)]
        else:
            end_ns = self._end_ns or _core.now_ns()
            answers = [self._probe._until(name, self._start, end_ns) for name in self.channels]
            columns = [list(each) for each in zip(*answers, strict=True)]
        *energies, flags = columns
        joules, lower, upper = (np.array(each) for each in energies)
        return Energies(joules, lower, upper, np.array(flags, np.uint32), self.channels)

    @property
    def total(self) -> float:
        """Joules of all channels that are inside no other, so that nothing is counted twice."""
        return self._sum(self.joules)

    @property
    def total_lower(self) -> float:
        """The least that `total` can have been."""
        return self._sum(self.lower)

    @property
    def total_upper(self) -> float:
        """The most that `total` can have been."""
        return self._sum(self.upper)

    @property
    def total_watts(self) -> float:
        """The mean power of `total`."""
        return self._watts(self.total)

    # ---- What is known without waiting

    @property
    def items(self) -> float:
        """How many steps, tokens or images the joules are for: each energy has a `..._per_item`. 0: nobody said.

        May be set or added to at any time, also after the end: `m.items = 4096`, `m.items += batch.tokens`.
        """
        return self._items

    @items.setter
    def items(self, items: float) -> None:
        self._items = as_items(items)

    @property
    def total_provenance(self) -> str:
        """Says "estimated" if any part of the total is; else "measured", "integrated", or "mixed" of these two."""
        kinds = {self._probe.info(name).provenance for name in self._tree.roots}
        return "estimated" if "estimated" in kinds else kinds.pop() if len(kinds) == 1 else "mixed"

    @property
    def provenance(self) -> dict[str, str]:
        """By channel: "measured" (a counter), "integrated" (from power readings) or "estimated" (a model)."""
        return {name: self._probe.info(name).provenance for name in self.channels}

    @property
    def source(self) -> dict[str, str]:
        """By channel, the source that it was read from."""
        return {name: self._probe.info(name).source for name in self.channels}

    @property
    def end_ns(self) -> int:
        """When it ended, on the clock of `now_ns()`."""
        if self._end_ns is None:
            raise OutOfRange("this measurement has not ended yet", remedy="ask after its with block, or after end()")
        return self._end_ns

    @property
    def seconds(self) -> float:
        """How long it took."""
        return (self.end_ns - self.start_ns) * 1e-9

    @property
    def losses(self) -> dict[str, int]:
        """What happened meanwhile: `dropped` and `late` edges, `missed_ticks` of the samplers, `retries`, `resets` and `wraps`.

        Only a reset loses energy; the others cost sharpness of the bounds at most. Empty when the probe was closed
        before the end, or when it ended in a child of the process that it began in.
        """
        _ = self.end_ns
        return {name: int(count) for name, count in self._usage.items() if name != "cpu_seconds"}

    @property
    def overhead(self) -> float:
        """Seconds of CPU time that the samplers used meanwhile; NaN where `losses` is empty."""
        _ = self.end_ns
        return self._usage.get("cpu_seconds", math.nan)

    @property
    def gpus(self) -> dict[str, dict[str, Any]]:
        """What the measured boards said of themselves, by the name of their channel ("gpu-0"). Empty where none was measured.

        Each has `uuid`, `pci`, `model`, and from NVML, where the package nvidia-ml-py is installed: `driver`; `power_limit` and
        `power_limit_end`, in watts, in force at the begin and at the end; `clocks` at the end, in megahertz; `throttled`;
        `throttle_reasons`, in words, what slowed the board down at the ends or, as far as the driver counts it, in between
        (`throttled` is None where nothing is known to have, but the driver does not count). They are up to 0.1 s off. None: not
        told; `unknown` says why, "" if all is well.

        `mismatch`: by how much its counter says more than its power readings, relative to those (negative: less), where the
        measurement lasted a second and they differ by more than 5 % and their bounds; None otherwise.

        Waits like a value, and for NVML 1 s more at most.
        """
        _ = self.end_ns
        if self._boards is None:
            return {}
        told = self._boards.told(_TOLD)
        with contextlib.suppress(SettleTimeout):
            for name, difference in self._settled().mismatches.items():
                told[name]["mismatch"] = difference
        return told

    @property
    def refusals(self) -> tuple[_core.Refusal, ...]:
        """The sources that cannot be used here, with path, reason and remedy."""
        return self._probe.refusals

    # ---- Showing it

    def to_dict(self) -> dict[str, Any]:
        """All of it as `json` takes it, NaN and infinity as None. Waits like a value.

        With items, "items" too, and "joules_per_item", "lower_per_item" and "upper_per_item" of each channel and the total.
        """
        provenance, source, items = self.provenance, self.source, self.items

        def entry(joules: float, lower: float, upper: float, provenance: str, source: str) -> dict[str, Any]:
            figures = {"joules": joules, "lower": lower, "upper": upper, "watts": self._watts(joules)}
            if items:
                figures |= {f"{kind}_per_item": figures[kind] / items for kind in ("joules", "lower", "upper")}
            return {**{k: _finite(v) for k, v in figures.items()}, "provenance": provenance, "source": source}

        return {
            "seconds": self.seconds,
            "start_ns": self.start_ns,
            "end_ns": self.end_ns,
            **({"items": items} if items else {}),
            "channels": {
                name: entry(joules, self.lower[name], self.upper[name], provenance[name], source[name])
                for name, joules in self.joules.items()
            },
            "total": entry(
                self.total,
                self.total_lower,
                self.total_upper,
                self.total_provenance,
                ", ".join(dict.fromkeys(source[name] for name in self._tree.roots)),
            ),
            "unknown": dict(self.unknown),
            "losses": self.losses,
            "overhead": {"cpu_seconds": _finite(self.overhead)},
            "gpus": self.gpus,
            "refusals": [
                {"source": r.source, "path": r.path, "reason": r.reason, "remedy": r.remedy} for r in self.refusals
            ],
        }

    def __repr__(self) -> str:
        if self._end_ns is None:
            return f"<Measurement of {', '.join(self.channels)}, not ended yet>"
        if self._values is None and not self._is_settled():
            return f"<Measurement of {seconds(self.seconds)}, not settled yet>"
        return f"<Measurement of {seconds(self.seconds)}: {self.total:.4g} J, {self.total_provenance}>"

    def __str__(self) -> str:
        """A table: channels inside others are indented, the total is of those that are not. Waits like a value."""
        if self._end_ns is None:
            return repr(self)
        names = list(self._tree.depths)
        joules = [*(self.joules[name] for name in names), self.total]
        lower = [*(self.lower[name] for name in names), self.total_lower]
        upper = [*(self.upper[name] for name in names), self.total_upper]
        watts = [*(self.watts[name] for name in names), self.total_watts]
        factor, unit = scale_of([*joules, *lower])
        watt_factor, watt_unit = scale_of(watts)
        columns = [
            [*("  " * self._tree.depths[name] + name for name in names), "total"],
            numbers(joules, factor),
            numbers(lower, factor),
            numbers(upper, factor),
            numbers(watts, watt_factor),
            [*(self.provenance[name] for name in names), self.total_provenance],
            [*(self.source[name] for name in names), ""],
        ]
        header = ("channel", f"{unit}J", "lower", "upper", f"{watt_unit}W", "provenance", "source")
        remarks = [seconds(self.seconds)]
        if self.overhead > 0.0:
            remarks.append(f"{seconds(self.overhead)} of CPU time for reading the counters")
        remarks += [f"{count} {name.replace('_', ' ')}" for name, count in self.losses.items() if count]
        lines = [table(header, zip(*columns, strict=True), "<>>>><<"), ", ".join(remarks)]
        if self.items:
            lines.append(self._per_item_line())
        lines += [f"{name} is not known: {reason}" for name, reason in self.unknown.items()]
        if self._boards is not None:
            from .gpus import remarks as of_boards

            lines += of_boards(self.gpus)
        return "\n".join([self.label, *lines] if self.label else lines)

    # ---- Inside

    def _per_item_line(self) -> str:
        figures = (self.total_per_item, self.total_lower_per_item, self.total_upper_per_item)
        factor, prefix = scale_of(figures[:2])
        joules, lower, upper = numbers(figures, factor)
        return f"{joules} {prefix}J per item [{lower}, {upper}], {self.items:.15g} items"

    def _watts(self, joules: float) -> float:
        return joules / self.seconds if self.seconds > 0.0 else math.nan

    def _sum(self, by_channel: dict[str, float]) -> float:
        return sum(by_channel[name] for name in self._tree.roots)

    def _is_settled(self) -> bool:
        return self._end is None or self._probe._are_done((self._start, self._end), self._needed())

    def _needed(self) -> list[str]:
        """The channels that are waited for: its own, and the power readings that counters of boards are compared with."""
        return [*self.channels, *self._compared().values()]

    def _compared(self) -> dict[str, str]:
        if self._boards is None or self._end is None or self.seconds < _COMPARABLE:
            return {}
        beside = {name: self._probe._readings_beside(name) for name in self.channels}
        return {name: readings for name, readings in beside.items() if readings is not None}

    def _settled(self) -> _Values:
        _ = self.end_ns
        if self._values is None:  # two threads that come here at once find the same values
            if self._end is not None and not self._is_settled():
                self._start = self._probe._kept(self._start, self._needed())
                self._end = self._probe._kept(self._end, self._needed())
                self._probe._wait_for((self._start, self._end), _SETTLE, self._needed())
            self._values = self._evaluated()
        return self._values

    def _evaluated(self) -> _Values:
        values = _Values({}, {}, {}, {}, {}, {})
        if self._end is None:
            answers = dict.fromkeys(self.channels, (self._failure, math.nan, math.nan, math.nan, 0))
        else:
            answers = self._probe._between(self.channels, self._start, self._end)
        for name, (reason, joules, lower, upper, flags) in answers.items():
            values.joules[name], values.lower[name], values.upper[name] = joules, lower, upper
            values.flags[name] = flags
            if reason:
                values.unknown[name] = reason
        self._compare(answers, values.mismatches)
        return values

    def _compare(self, answers: dict[str, tuple[str, float, float, float, int]], mismatches: dict[str, float]) -> None:
        """Counters of boards with the power readings beside them."""
        if not (pairs := self._compared()):
            return
        from .gpus import mismatch

        assert self._end is not None
        others = self._probe._between(pairs.values(), self._start, self._end)
        for name, readings in pairs.items():
            difference = mismatch(answers[name][1:4], others[readings][1:4])
            if difference is not None:
                mismatches[name] = difference


class _Values(NamedTuple):
    joules: dict[str, float]
    lower: dict[str, float]
    upper: dict[str, float]
    flags: dict[str, int]
    unknown: dict[str, str]
    mismatches: dict[str, float]


# The with blocks that this thread or task is inside of, outermost first.
_blocks: ContextVar[tuple[tuple[Measure, Measurement], ...]] = ContextVar("powerprobe_blocks", default=())


def _boards_of(probe: Probe, channels: Iterable[str]) -> Boards | None:
    infos = [info for info in map(probe.info, channels) if info.gpu >= 0]
    if not infos:
        return None
    from .gpus import Boards  # not before there is a board, for it is of no use to others

    return Boards(infos)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _print(measurement: Measurement) -> None:
    print(measurement, file=sys.stderr)
