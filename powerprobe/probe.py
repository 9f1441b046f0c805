# SPDX-License-Identifier: MIT
"""The probe: channels chosen, samplers running, and the questions that can be asked of them."""

from __future__ import annotations

import atexit
import contextlib
import math
import operator
import os
import threading
import weakref
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, cast

import numpy as np

from . import _core
from .channels import Tree, board_name, select
from .discovery import Discovery, discover
from .energies import Energies
from .errors import BadArgument, OutOfRange, SettleTimeout, Unavailable
from .regions import Regions
from .sync import Sync, synchronize

if TYPE_CHECKING:
    import numpy.typing as npt
    from typing_extensions import Self

    from .measurement import Measure, Measurement

_MODES = ("track", "poll", "spin")
_PERIODS = (1e-5, 1.0)
_USUAL_PERIOD = 1e-3  # seconds; also how often the counters of processors step
_MOST_EDGES = 1 << 28  # per channel: 8 GiB
_FRESH = 0.5  # seconds: the longest wait until a probe that was quiet knows where the counters are
_LINGER_NS = (
    20_000_000  # how long after its begin a measurement asks for the counters' steps; a shorter one gets them all
)
_SETTLE = 1.0  # seconds: the longest wait for the counters' next steps, unless told otherwise
_LAST_SETTLE = 0.15  # seconds: the longest wait for the last edges of a closed probe; GPUs step every 0.1 s
_SLICE = 0.05  # seconds: how long a wait may keep Python from seeing ctrl-C


class Probe:
    """Reads counters on native threads of its own while it is open, and answers for any interval since.

        with Probe() as probe:
            start = now_ns()
            work()
            energies = probe.energy(start, now_ns())

    The threads (one for each source object) run from `start()` to `close()`; a with block does both. All methods may be
    called from any thread. After `close()` whatever the rings still hold can be asked and viewed.

    In the child of a fork it goes on: it reads the rings of the parent, which both processes have in memory, and has the
    parent look at the counters while somebody in the child asks. Intervals from before the fork can be asked as well, and both get
    the same answers. It knows no regions from before. When the parent ends or closes the probe, its channels are gone: what
    was until then can be asked, what comes later raises `ChannelGone`. One that was made but not started stays with the
    parent, and processes that are spawned have nothing of any.

    Args:
        channels: what to read: a name, a pattern as a shell knows it ("package-*"; "*" for all) or several. None: all but
            the counters of single cores ("core-0-7"), the power readings of a GPU beside its counter ("gpu-0-instant"),
            and the GPUs that CUDA_VISIBLE_DEVICES hides from this process now (`visible_gpus` in visible.py has the rules).
        sources: names of the sources to consider, and opened sources such as `replay()` gives. None: all that this
            machine has.
        period: seconds between two readings, 10e-6 to 1, for mode "poll". None: 1e-3.
        history: seconds for which edges are kept, at least; about 32 bytes for each step of a counter.
        strict: True refuses estimates; None does what POWERPROBE_STRICT says.
        mode: how the counters are looked at while the probe is open; `set_mode()` changes it.

            - "track": each step is waited for and so located to about a microsecond. Takes some percent of a core.
            - "poll": at a fixed rate, whatever the counters do. For long quiet recordings.
            - "spin": without a pause, each sampler on a core of its own. For short bursts.

            None: "poll" where a period is given, else "track".
        budget: the share of one core that tracking may take for each source, above 0 and up to 1. What does not fit into
            it is let pass: every n-th step is waited for (`stats()` has `skipped`).
        realtime: True runs the samplers under SCHED_FIFO, so that other programs do not make them late.
        lock_memory: True keeps the history from being paged out.
        all_gpus: True reads hidden GPUs, too.
        discovery: the result of `discover()` to use instead of a search.

    Raises:
        BadArgument, TypeError: an argument that cannot be; the message names it.
        PermissionDenied, Unavailable: nothing can be read here, with all reasons and the remedy; or lock_memory (here) or
            realtime (in `start()`) are not allowed.

    Attributes:
        channels: names of the channels, a tuple.
        mode: "track", "poll" or "spin".
        refusals: sources that cannot be used here (a tuple; empty when only opened sources were given).
    """

    def __init__(
        self,
        channels: str | Iterable[str] | None = None,
        sources: str | _core.Source | Iterable[str | _core.Source] | None = None,
        period: float | None = None,
        history: float = 60.0,
        strict: bool | None = None,
        *,
        mode: str | None = None,
        budget: float = 0.07,
        realtime: bool = False,
        lock_memory: bool = False,
        all_gpus: bool = False,
        discovery: Discovery | None = None,
    ) -> None:
        self.mode = _mode(mode if mode is not None else "track" if period is None else "poll")
        self._period_ns = _period_ns(self.mode, period)
        budget = _number("budget", budget)
        if not 0.0 < budget <= 1.0:
            raise BadArgument(f"budget must be above 0 and at most 1, a share of one core, not {budget}")
        capacity = math.ceil(_seconds("history", history, 0.0, math.inf) * 1e9 / self._period_ns) + 16
        if capacity > _MOST_EDGES:
            raise BadArgument(
                f"history: {history} s every {self._period_ns * 1e-9:g} s is more than the {_MOST_EDGES} edges that a ring holds"
            )
        names, opened, self.refusals = _open(channels, sources, strict, discovery, all_gpus)
        self._native = _core.Probe(opened, self.mode, self._period_ns, capacity, budget, realtime, lock_memory)
        found = self._native.channels
        self._infos = {c.name: c for c in found if c.name in names}
        self._index = {c.name: i for i, c in enumerate(found) if c.name in names}
        self._places = {
            c.name: i for i, c in enumerate(found)
        }  # also of what its sources read without having been asked
        self.channels = tuple(self._index)
        self._tree = Tree(found, self.channels)
        self._is_open = False
        self._is_closed = False
        self._is_heir = False
        self._of_parent: _core.Probe | None = None  # in the child of a fork, until somebody asks there
        self._forks = 0  # since it was made
        self._begin_afresh()
        _probes.add(self)

    # ---- Life

    def start(self) -> Self:
        """Starts the samplers; returns when they know where the counters are (some ms). Calling it again changes nothing.

        Raises:
            Unavailable: the probe was closed, or the system gives no thread.
            PermissionDenied: realtime is not allowed.
        """
        if self._start():
            self._native.ask()
            self._native.wait_in_step(_FRESH)
        return self

    def _start(self) -> bool:
        """The samplers only, which then look at the counters where a measurement asks for it. False: they run already."""
        with self._lock:
            if self._is_closed:
                raise Unavailable("this probe was closed", remedy="make a new one")
            if self._is_open:
                return False
            self._native.start()
            self._is_open = True
        return True

    def _begin_afresh(self) -> None:
        self._regions = _core.Regions(synchronize)
        self._table = Regions(self._tree, self.channels)
        self.region = self._regions.region  # type: ignore[method-assign]  # no Python frame between a with and its stamp
        self._lock = threading.RLock()  # guards _is_open, _table and the making of an heir

    def set_mode(self, mode: str, period: float | None = None) -> None:
        """Changes how the counters are looked at, at once; see the class. `period` is for "poll".

        Raises:
            BadArgument: no such mode, or a period that cannot be.
            Unavailable: in the child of a fork, which has its parent look.
        """
        mode = _mode(mode)
        period_ns = _period_ns(mode, period)
        if self._is_heir:
            raise Unavailable(
                "the process that forked this one looks at the counters for both, and as it was told there",
                remedy="set the mode there, or make a Probe here",
            )
        with self._lock:
            self._native.set_mode(mode, period_ns)
            self.mode, self._period_ns = mode, period_ns

    def close(self) -> None:
        """Waits for the last edges (0.15 s at most), then stops the samplers. Calling it again changes nothing."""
        with self._lock:
            self._is_closed = True
            was_open, self._is_open = self._is_open, False
            if was_open and self._of_parent is None:
                try:
                    self._native.mark().wait(_LAST_SETTLE, range(len(self._native.channels)))
                finally:
                    self._native.stop()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __repr__(self) -> str:
        state = "running" if self._is_open else "closed" if self._is_closed else "not started"
        if self._is_heir:
            state += ", read by the process that forked this one"
        return f"<Probe of {', '.join(self.channels)}, {state}>"

    # ---- Questions

    def info(self, channel: str) -> _core.ChannelInfo:
        """All that is known of a channel: source, domain, parent, provenance, unit, modulus, bounds of its power ..."""
        self._place(channel)
        return self._infos[channel]

    def view(self, channel: str, count: int | None = None) -> npt.NDArray[np.void]:
        """The newest `count` edges of a channel (None: all that the ring holds), oldest first.

        A read-only record array of dtype `EDGE_DTYPE`, shape (at most count,). Nothing is copied: the edges are pinned
        and cannot change while the array or anything made from it by slicing lives, also after the probe is gone. The
        sampler drops (and counts) edges instead of overwriting pinned ones, so hold long views only briefly.
        """
        if count is None:
            return self._native.view(self._place(channel))
        if (count := operator.index(count)) < 0:
            raise BadArgument(f"count must not be negative, but is {count}")
        return self._native.view(self._place(channel), count)

    def energy(
        self,
        starts_ns: npt.ArrayLike,
        ends_ns: npt.ArrayLike,
        channels: str | Iterable[str] | None = None,
        settle: float | bool = True,
    ) -> Energies:
        """Energy of the intervals [starts_ns[i], ends_ns[i]), with bounds.

        An end that lies beyond the newest edge is waited for, without the GIL.

        Args:
            starts_ns, ends_ns: instants of `now_ns()`, int64: two integers, two arrays of one length n, or one of each.
            channels: one name, or several names and patterns; None: all of the probe's.
            settle: seconds to wait for the counters' next steps at most; True: 1 s. False or 0: not at all; then what lies
                beyond the newest edge has wide bounds, from above only what the hardware can take at most (infinite where
                that is not known), and goes on in the estimate with the power of the last steps.

        Returns:
            Energies: float64 arrays of shape (n, channels), see there.

        Raises:
            OutOfRange: an interval starts before the first reading, or ends in the future.
            Overrun: an interval is older than the ring.
            SettleTimeout: a counter did not move on in time.
            ChannelGone: a channel ended before an interval did.
            BadArgument, TypeError: an interval that ends before it starts, or instants that are not integers.
        """
        names = (channels,) if isinstance(channels, str) else self._select(channels)
        places = [self._place(name) for name in names]
        starts, ends = _instants("starts_ns", starts_ns), _instants("ends_ns", ends_ns)
        is_single = starts.ndim == ends.ndim == 0
        if starts.ndim == ends.ndim == 1 and starts.size != ends.size:
            raise BadArgument(f"starts_ns and ends_ns must be of one length, not {starts.size} and {ends.size}")
        if starts.ndim != 1 or ends.ndim != 1:
            starts, ends = (np.array(a) for a in np.broadcast_arrays(np.atleast_1d(starts), ends))
        seconds = _SETTLE if settle is True else _seconds("settle", settle or 0.0, 0.0, math.inf)
        if ends.size:
            self._settle(places, int(ends.max()), seconds)
        is_unsettled = seconds == 0.0
        if isinstance(channels, str):
            joules, lower, upper, flags = self._native.energies(places[0], starts, ends, is_unsettled)
        else:
            rows = np.empty((3, len(places), starts.size))
            columns = np.empty((len(places), starts.size), np.uint32)
            for row, place in enumerate(places):
                rows[0, row], rows[1, row], rows[2, row], columns[row] = self._native.energies(
                    place, starts, ends, is_unsettled
                )
            joules, lower, upper, flags = rows[0].T, rows[1].T, rows[2].T, columns.T
        if is_single:
            joules, lower, upper, flags = joules[0], lower[0], upper[0], flags[0]
        return Energies(joules, lower, upper, flags, names)

    def region(self, name: str, items: float = 1.0, sync: Sync | None = None) -> _core.Region | _core.SyncedRegion:
        """Names an interval: `with probe.region("decode", items=128): ...`. Regions nest, in any thread.

        Costs two time stamps and never waits, except in `sync`. `items` is how many things are worked on inside, for joules
        per item. Each region is for one with block.

        Args:
            sync: called right before each of the two time stamps, so that they lie where the work of a device begins and
                is over; as in `measure()`, but there is no wait between it and the stamp of the begin. When it raises before
                the begin, nothing was begun; before the end, the region has ended all the same.

        Raises:
            TypeError, ValueError: the name is not a str, items not a number of 0 or more, or sync nothing to call.
        """
        return self._regions.region(name, items, sync)  # not reached: instances hold the native method itself

    def regions(self) -> Regions:
        """All regions that have ended so far, with their energies; waits for the counters' next steps (1 s at most).

        Each region is evaluated at the first call after its end, and must then be no older than `history`: who names
        many over a long time calls this now and then. What is older, and what could not be read, is unknown (NaN).
        """
        with self._lock:
            self._table = self._table + self._evaluate(*self._regions.take())
            return self._table

    def measure(
        self,
        channels: str | Iterable[str] | None = None,
        *,
        report: Callable[[Measurement], object] | None = None,
        sync: Sync | None = None,
        items: float = 0.0,
    ) -> Measure:
        """`powerprobe.measure()` on this probe, which must be running."""
        from .measurement import measure

        return measure(channels=channels, probe=self, report=report, sync=sync, items=items)

    def stats(self) -> dict[str, object]:
        """What the probe has seen and what it costs, since it was made.

        A dict with `running`; `mode`; `cpu_seconds` (CPU time of all samplers); `channels`: by name, each with `edges`
        stored, `dropped`, `wraps`, `resets`, `retries`, `health` ("ok", "retrying", "gone", "fatal"), `error` (errno),
        `ended_ns`, and what tracking came to: steps `caught` as they came, `spaced` (waited for with pauses between the
        polls, because nobody can foresee them and the budget allows no more), `late` (waited for, but they had come before),
        `skipped` (not waited for: the budget did not allow it), the `period_ns` learned, `spread_ns` (how far from where
        they are expected steps come) and `guard_ns` (how long before that the sampler wakes up); and `samplers`: a list,
        each with `channels`, `polls`, `missed_ticks`, `cpu_seconds` and the histograms `wakeup_ns` (how late it woke) and
        `read_ns` (how long readings took), whose bucket i counts [2^i, 2^(i+1)) ns.
        """
        samplers = self._native.sampler_stats()
        return {
            "running": self._native.running,
            "mode": self.mode,
            "cpu_seconds": sum(sampler["cpu_seconds"] for sampler in samplers),
            "channels": {name: self._native.channel_stats(i) for name, i in self._index.items()},
            "samplers": samplers,
        }

    # ---- For the rest of this package

    def _in_child(self) -> None:
        """In the child of a fork, right after it. What the child does not use costs it nothing."""
        self._forks += 1
        if self._is_open or self._is_closed:
            if self._of_parent is None:
                self._of_parent = self._native
                self._native = cast(_core.Probe, _Inherited(self))
                _left_behind.append(self._of_parent)
            self._is_heir = True
        self._begin_afresh()

    def _inherit(self) -> _core.Probe:
        """What a probe in the child of a fork asks: not its parent's native probe, but that one's heir."""
        with self._lock:
            if self._of_parent is not None:
                heir = self._of_parent.heir()
                heir.start()
                self._infos = {c.name: c for c in heir.channels if c.name in self._index}
                self._native, self._of_parent = heir, None
        return self._native

    def _is_orphan(self) -> bool:
        return self._is_heir and (self._of_parent or self._native).orphan

    def _select(self, channels: str | Iterable[str] | None) -> tuple[str, ...]:
        return self.channels if channels is None else tuple(select(list(self._infos.values()), channels))

    def _place(self, channel: str) -> int:
        try:
            return self._index[channel]
        except KeyError:
            raise BadArgument(f"channel: none is named {channel!r}; there are {', '.join(self.channels)}") from None

    def _known_until(self, place: int) -> int:
        return self._native.known_until(place)

    def _settle(self, places: Iterable[int], latest_ns: int, seconds: float) -> None:
        """Returns when all can be answered up to latest_ns, or when the samplers will not bring it any nearer."""
        late = [place for place in places if latest_ns > self._known_until(place)]
        now = _core.now_ns()
        if late and latest_ns > now:
            raise OutOfRange(f"ends_ns: an interval ends {(latest_ns - now) * 1e-6:.3f} ms in the future")
        if not late or seconds == 0.0 or not self._native.running:
            return
        _wait(self._native.mark(latest_ns), seconds, late)
        late = [place for place in late if latest_ns > self._known_until(place)]
        for name, place in self._index.items():
            if place in late and self._native.running and self._native.channel_stats(place)["ended_ns"] is None:
                raise SettleTimeout(
                    f"{name}: the counter did not step in the {seconds:g} s after the end of an interval"
                )

    # A measurement asks for the steps around its begin and its end, and marks both; the samplers fill the marks in.

    def _tree_of(self, channels: tuple[str, ...]) -> Tree:
        return self._tree if channels == self.channels else Tree(self._infos.values(), channels)

    def _begin(self, channels: tuple[str, ...]) -> dict[str, float]:
        if not self._native.running:
            raise Unavailable("this probe is not running", remedy="start it, or use it inside its with block")
        self._native.ask_until(_core.now_ns() + _LINGER_NS)
        self._native.wait_in_step(_FRESH)
        return self._usage(channels)

    def _watch(self, since_ns: int) -> None:
        self._native.watch(since_ns)

    def _unwatch(self) -> None:
        self._native.unwatch()

    def _end(self, channels: tuple[str, ...], begin: dict[str, float], forks: int) -> dict[str, float]:
        if forks != self._forks:  # what began in the parent: its counts are not those of the samplers here
            return {}
        return {name: value - begin[name] for name, value in self._usage(channels).items()}

    def _usage(self, channels: tuple[str, ...]) -> dict[str, float]:
        return self._native.usage([self._index[name] for name in channels])

    def _mark(self) -> _core.Mark:
        return self._native.mark()

    def _kept(self, mark: _core.Mark, channels: Iterable[str]) -> _core.Mark:
        """The same instant, where a mark from before a fork was not complete: nobody here will fill that one in."""
        if not self._is_heir or self._are_done((mark,), channels):
            return mark
        return self._native.mark(mark.t_ns)

    def _are_done(self, marks: Iterable[_core.Mark], channels: Iterable[str]) -> bool:
        places = [self._places[name] for name in channels]
        return all(mark.is_done(places) for mark in marks)

    def _wait_for(self, marks: Iterable[_core.Mark], seconds: float, channels: Iterable[str]) -> None:
        """For these channels only: others may step much more rarely."""
        deadline_ns = _core.now_ns() + seconds * 1e9
        places = [self._places[name] for name in channels]
        _ = self._native.running  # raises in the child of a fork, where nobody would fill them in
        for mark in marks:
            if not _wait(mark, (deadline_ns - _core.now_ns()) * 1e-9, places):
                raise SettleTimeout(f"the counters did not step in the {seconds:g} s after the end of the interval")

    def _between(
        self, channels: Iterable[str], start: _core.Mark, end: _core.Mark
    ) -> dict[str, tuple[str, float, float, float, int]]:
        names = list(channels)
        answers = self._native.between(start, end, [self._places[name] for name in names])
        return dict(zip(names, answers, strict=True))

    def _readings_beside(self, channel: str) -> str | None:
        """The power readings of the same board beside its counter, whether they were asked for or not."""
        info = self._infos[channel]
        is_counter = channel == board_name(info.gpu) and not info.reading
        names = (f"{channel}-instant", f"{channel}-average") if is_counter else ()
        return next((name for name in names if name in self._places), None)

    def _has_ended(self, channels: Iterable[str]) -> bool:
        """Whether the series of any of them is over: a GPU was lost, a driver reloaded."""
        return self._native.running and any(
            self._native.channel_stats(self._index[name])["ended_ns"] is not None for name in channels
        )

    def _until(self, channel: str, start: _core.Mark, end_ns: int) -> tuple[float, float, float, int]:
        return self._native.energy_until(self._index[channel], start, end_ns)

    def _evaluate(self, names: Sequence[str], records: npt.NDArray[np.void]) -> Regions:
        starts, ends = records["start_ns"].copy(), records["end_ns"].copy()
        energies = np.full((3, len(self.channels), records.size), math.nan)
        flags = np.zeros((len(self.channels), records.size), np.uint32)
        if records.size:
            with contextlib.suppress(SettleTimeout):  # what is not known yet stays unknown
                self._settle(self._index.values(), int(ends.max()), 1.0)
        for row, place in enumerate(self._index.values()):
            edges = self._native.view(place)  # pinned: what they can answer stays answerable meanwhile
            if not edges.size:
                continue
            known = (starts >= edges["t_ns"][0]) & (ends <= self._known_until(place))
            *answer, flags[row, known] = self._native.energies(place, starts[known], ends[known])
            for kind, column in zip(energies, answer, strict=True):
                kind[row, known] = column
        return Regions(self._tree, self.channels, names, records, energies, flags)


def _wait(mark: _core.Mark, seconds: float, places: Sequence[int]) -> bool:
    """For these channels, in slices, between which Python sees ctrl-C. False: they were not done in time."""
    deadline_ns = _core.now_ns() + seconds * 1e9
    while not mark.wait(min(_SLICE, max(0.0, (deadline_ns - _core.now_ns()) * 1e-9)), places):
        if _core.now_ns() >= deadline_ns:
            return False
    return True


def _open(
    channels: str | Iterable[str] | None,
    sources: str | _core.Source | Iterable[str | _core.Source] | None,
    strict: bool | None,
    found: Discovery | None,
    all_gpus: bool,
) -> tuple[list[str], list[_core.Source], tuple[_core.Refusal, ...]]:
    given = [] if sources is None else [sources] if isinstance(sources, (str, _core.Source)) else list(sources)
    opened = [source for source in given if isinstance(source, _core.Source)]
    named = [source for source in given if not isinstance(source, _core.Source)]
    if found is not None and named:
        raise BadArgument("sources: the discovery that was given has chosen them already")
    if found is None and (named or not opened):
        found = discover(None if sources is None else named, strict)
    infos = [*(found.channels if found else ()), *(info for source in opened for info in source.channels)]
    names = [info.name for info in infos]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise BadArgument(f"sources: two of them have a channel {twice!r}")
    chosen = select(infos, channels, all_gpus)
    if found is None:
        return chosen, opened, ()
    surveyed = [info.name for info in found.channels if info.name in chosen]
    return chosen, [*(found.open(surveyed) if surveyed else ()), *opened], found.refusals


def _mode(name: str) -> str:
    if not isinstance(name, str):
        raise TypeError(f"mode must be a str, not {type(name).__name__}")
    if name not in _MODES:
        raise BadArgument(f"mode must be one of {', '.join(_MODES)}, not {name!r}")
    return name


def _period_ns(mode: str, period: float | None) -> int:
    if period is None:
        return round(_USUAL_PERIOD * 1e9)
    if mode != "poll":
        raise BadArgument(f"period is for mode 'poll'; in mode {mode!r} the counters say when they are read")
    return round(_seconds("period", period, *_PERIODS) * 1e9)


def _number(name: str, value: float) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise TypeError(f"{name} must be a number, not {type(value).__name__}")
    return float(value)


def _seconds(name: str, value: float, low: float, high: float) -> float:
    value = _number(name, value)
    if not low <= value <= high:  # also NaN
        limit = f"{low:g} to {high:g}" if math.isfinite(high) else f"{low:g} or more"
        raise BadArgument(f"{name} must be {limit} seconds, not {value}")
    return value


def _instants(name: str, value: npt.ArrayLike) -> npt.NDArray[np.int64]:
    array = np.asarray(value)
    if array.ndim > 1:
        raise BadArgument(f"{name} must have one dimension, not {array.ndim}")
    if array.dtype.kind not in "iu" and array.size:
        raise TypeError(
            f"{name} must be integers, nanoseconds of now_ns(), not {array.dtype} (a float cannot hold them)"
        )
    if array.dtype.kind == "u" and array.size and int(array.max()) > np.iinfo(np.int64).max:
        raise BadArgument(f"{name} must be below 2**63")
    return array.astype(np.int64, copy=False)


class _Inherited:
    """Stands where the native probe was, in the child of a fork, until somebody asks: then there is an heir."""

    def __init__(self, probe: Probe) -> None:
        self._probe = weakref.ref(probe)  # no cycle: a probe goes when nobody has it any more

    def __getattr__(self, name: str) -> object:
        probe = self._probe()
        assert probe is not None  # who asks has it
        return getattr(probe._inherit(), name)


_probes: weakref.WeakSet[Probe] = weakref.WeakSet()
_left_behind: list[object] = []  # never freed: a lock inside may be held for ever by a thread that does not exist here


def _close_all() -> None:
    for probe in list(_probes):
        probe.close()


def _go_on_in_child() -> None:
    for probe in list(_probes):
        probe._in_child()


atexit.register(_close_all)
os.register_at_fork(after_in_child=_go_on_in_child)
