"""Types of the native half. Private: the public names are those of `powerprobe`.

All times are nanoseconds of CLOCK_MONOTONIC, all energies joules. Everything may be called from any thread; what waits, waits
without the GIL and has a deadline.
"""

import os
from collections.abc import Callable, Sequence
from typing import Any, Literal, final

import numpy as np
import numpy.typing as npt

__version__: str

_C_API: object
"""A capsule named "powerprobe._core._C_API": the functions of powerprobe.h, as `struct pp_api` there."""

EDGE_DTYPE: np.dtype[np.void]
"""The record: t_ns i8, joules f8, gap_ns u4, read_ns u4, flags u4, segment u4 (32 bytes)."""

EDGE_FLAGS: dict[str, int]
"""Name of each bit of `flags`: first, quiet, wrapped, reset, ambiguous, after_retry, late, stamped, dropped, filtered,
estimated."""

def now_ns() -> int: ...

@final
class ChannelInfo:
    """One time series of one domain of one device. All attributes are read-only."""

    @property
    def name(self) -> str: ...
    @property
    def source(self) -> str: ...
    @property
    def domain(self) -> str: ...
    @property
    def path(self) -> str: ...
    @property
    def package(self) -> int: ...  # -1: none
    @property
    def die(self) -> int: ...
    @property
    def core(self) -> int: ...
    @property
    def gpu(self) -> int: ...  # in the order of NVML; -1: none
    @property
    def reading(self) -> str: ...  # of power readings: "instant" or "average"; "": a counter
    @property
    def parent(self) -> str: ...  # "": a root
    @property
    def provenance(self) -> str: ...  # "measured", "integrated", "estimated"
    @property
    def joules_per_count(self) -> float: ...
    @property
    def quantum_joules(self) -> float: ...  # the counter's step as the bounds use it; never 0
    @property
    def modulus(self) -> int: ...  # 0: never wraps
    @property
    def update_period_ns(self) -> int: ...  # 0: not known
    @property
    def stale_ns(self) -> int: ...
    @property
    def max_watts(self) -> float: ...  # 0: not known
    @property
    def stamped(self) -> bool: ...
    @property
    def filtered(self) -> bool: ...  # blurred by the processor on purpose (Intel's energy filter)
    @property
    def cpu(self) -> int: ...  # -1: any
    @property
    def window_ns(self) -> int: ...  # that a power reading is the mean of; 0: not known, or a counter
    @property
    def spill_joules(self) -> float: ...  # each end of an interval can have so much of its surroundings
    @property
    def blind_joules(self) -> float: ...  # the sensor can miss so much in each update period
    @property
    def uuid(self) -> str: ...
    @property
    def pci(self) -> str: ...
    @property
    def model(self) -> str: ...
    @property
    def instances(self) -> list[str]: ...  # UUIDs of MIG instances
    @property
    def speed(self) -> float: ...  # orders boards as CUDA does; 0: not known
    @property
    def low_watts(self) -> float: ...
    @property
    def high_watts(self) -> float: ...
    @property
    def formula(self) -> str: ...

@final
class Refusal:
    @property
    def source(self) -> str: ...
    @property
    def path(self) -> str: ...
    @property
    def reason(self) -> str: ...
    @property
    def remedy(self) -> str: ...
    @property
    def error(self) -> int: ...  # errno; 0: none

@final
class Choice:
    """A channel that can be read, and what was seen of it when the sources were compared."""

    @property
    def channel(self) -> ChannelInfo: ...
    @property
    def read_ns(self) -> float: ...  # median time of one reading of its whole source object
    @property
    def seen_period_ns(self) -> int: ...  # how often it was seen to move; 0: it did not
    @property
    def others(self) -> list[str]: ...  # other sources that read the same domain
    @property
    def disagreement(self) -> str: ...  # "": they agree; else a sentence with the figures

@final
class Survey:
    """What this machine has: for each physical domain the cheapest source that is right, and all refusals."""

    @property
    def choices(self) -> list[Choice]: ...
    @property
    def refusals(self) -> list[Refusal]: ...

def survey(
    sources: Sequence[str],  # names of sources to consider, in order of standing; empty: all
    estimate: bool,  # whether the model may stand in where no counter is
    sys: str | os.PathLike[str] = "/sys",
    dev: str | os.PathLike[str] = "/dev",
    proc: str | os.PathLike[str] = "/proc",
    nvml: str = "libnvidia-ml.so.1",
) -> Survey: ...
def command_energy(cpu_seconds: float, proc: str | os.PathLike[str] = "/proc") -> tuple[float, float, float]:
    """joules, lower, upper: what the model of the source cpu_model gives for so much CPU time of one command."""

SOURCES: tuple[str, ...]
"""Names of all sources that a survey considers, in order of standing."""

@final
class Source:
    """An opened source that no probe has taken yet; see replay() for one that is made by hand."""

    @property
    def channels(self) -> list[ChannelInfo]: ...

def open_sources(survey: Survey, names: Sequence[str]) -> list[Source]:
    """Opens what the survey chose for these channels."""

def replay(
    channels: Sequence[dict[str, object]],
    faults: Sequence[dict[str, object]] = (),
    rate: float = 1.0,
    stepped: bool = False,
    start_ns: int = 0,  # 0: now
) -> Source:
    """The scripted source; the keys are those of powerprobe.replay."""

@final
class Lease:
    """Pins edges while it lives; exports them as a read-only buffer."""

    def __len__(self) -> int: ...

@final
class Mark:
    """A marked instant, filled in by the samplers."""

    @property
    def t_ns(self) -> int: ...
    def is_done(self, channels: Sequence[int]) -> bool: ...
    def wait(self, timeout: float, channels: Sequence[int]) -> bool: ...  # seconds, for these; without the GIL

@final
class Probe:
    """A set of samplers. Takes the sources (they cannot be used twice) and their first readings; no thread before start()."""

    def __init__(
        self,
        sources: Sequence[Source],
        mode: str,  # "track", "poll", "spin"
        period_ns: int,  # of "poll"
        capacity: int,
        budget: float = 0.07,  # share of a core that each sampler may take to track
        realtime: bool = False,
        lock_memory: bool = False,
    ) -> None: ...
    @property
    def channels(self) -> list[ChannelInfo]: ...  # parents set
    @property
    def running(self) -> bool: ...
    def heir(
        self,
    ) -> Probe: ...  # in the child of a fork: one that reads what this one, the child's copy, finds in the parent
    @property
    def orphan(self) -> bool: ...  # an heir whose parent's process has ended
    def start(self) -> None: ...
    def stop(self) -> None: ...
    def ask(self) -> None: ...
    def release(self) -> None: ...
    def ask_until(self, t_ns: int) -> None: ...
    def watch(self, since_ns: int) -> None: ...
    def unwatch(self) -> None: ...
    def wait_in_step(self, timeout: float) -> None: ...
    def set_mode(self, mode: str, period_ns: int) -> None: ...
    def mark(self, t_ns: int | None = None) -> Mark: ...  # None: now; the stamp is taken first
    def between(self, start: Mark, end: Mark, channels: Sequence[int]) -> list[tuple[str, float, float, float, int]]:
        """For each of these channels (state, joules, lower, upper, flags); state "" is good, else why the rest is NaN. upper may
        be inf.

        Both marks must be done for them. Takes no time that depends on the interval.
        """
    def energies(
        self, channel: int, starts_ns: npt.NDArray[np.int64], ends_ns: npt.NDArray[np.int64], unsettled: bool = False
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.uint32]]:
        """joules, lower, upper, flags (bits of EDGE_FLAGS), each of shape (n,); without the GIL. Raises instead of guessing.

        unsettled: where there is no edge behind an end yet it is answered all the same, with wide bounds.
        """
    def energy_until(self, channel: int, start: Mark, end_ns: int) -> tuple[float, float, float, int]:
        """joules, lower, upper, flags from a mark, settled or not, until an instant that may have no edge behind it yet."""
    def known_until(self, channel: int) -> int:
        """Up to which instant energies() can answer without `unsettled`; before the first edge where it cannot at all."""
    def view(self, channel: int, count: int = -1) -> npt.NDArray[np.void]:
        """The newest `count` edges (all: -1): zero-copy, read-only, dtype EDGE_DTYPE; pinned while it lives."""
    def channel_stats(self, channel: int) -> dict[str, Any]:
        """edges, dropped, wraps, resets, retries, health ("ok", "retrying", "gone", "fatal"), error, ended_ns (or None), caught,
        spaced, late, skipped, period_ns, spread_ns, guard_ns."""
    def usage(self, channels: Sequence[int]) -> dict[str, float]:
        """dropped, late, resets, retries and wraps of these channels, missed_ticks and cpu_seconds of all samplers."""
    def sampler_stats(self) -> list[dict[str, Any]]:
        """One per sampler: channels (names), polls, missed_ticks, cpu_seconds, wakeup_ns, read_ns (histograms: bucket i counts
        [2^i, 2^(i+1)) ns)."""

@final
class Regions:
    """Time stamps of named intervals, collected from any thread."""

    def __init__(self, auto_sync: Callable[[], object]) -> None: ...  # what sync="auto" calls
    def region(
        self, name: str, items: float = 1.0, sync: Callable[[], object] | Literal["auto"] | None = None
    ) -> Region | SyncedRegion: ...
    def take(self) -> tuple[list[str], npt.NDArray[np.void]]:
        """Names, and records (start_ns i8, end_ns i8, items f8, name u4 index, thread u8, depth u4) in order of their ends."""
    def __len__(self) -> int: ...

@final
class Region:
    def __enter__(self) -> Region: ...
    def __exit__(self, *exc: object) -> None: ...

@final
class SyncedRegion:
    """A region with a sync. The garbage collector knows it, because it holds a callable."""

    def __enter__(self) -> SyncedRegion: ...
    def __exit__(self, *exc: object) -> None: ...

def live_rings() -> int: ...
def live_leases() -> int: ...

# The core's pure arithmetic on data that the caller makes up, so that tests can hold it against an exact truth.

def _series_energies(
    edges: npt.NDArray[np.void],
    quantum: float,
    low_watts: float,
    high_watts: float,
    max_watts: float,
    starts_ns: npt.NDArray[np.int64],
    ends_ns: npt.NDArray[np.int64],
    guide: npt.NDArray[np.void] = ...,
    spill_joules: float = 0.0,
    blind_joules: float = 0.0,
    period_ns: int = 0,
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.uint32]]:
    """joules, lower, upper, flags; BadArgument where these edges cannot answer. `guide`: edges of the channel's guide."""

def _unwrap(
    modulus: int, joules_per_count: float, max_watts: float, stale_ns: int, raws: Sequence[int], times_ns: Sequence[int]
) -> list[tuple[str, int, bool]]:
    """For each reading the step ("first", "still", "plain", "wrapped", "reset"), the total so far and whether it is ambiguous."""

def _stamps(tick_ns: float, modulus: int, observations: Sequence[tuple[int, int, int]]) -> list[tuple[int, int]]:
    """(t_ns, gap_ns) for each (stamp, after_ns, before_ns)."""
