# SPDX-License-Identifier: MIT
"""Boards for the fake NVML and what they truly use and show: integers, exact at every nanosecond of script time; any thread.

Script time 0 is when the script was given, unless it says otherwise. Microseconds in durations, milliwatts, millijoules, and
picojoules (a milliwatt for a nanosecond) for the truth. The texts are read by tests/nvml/script.c; the sums are those of
tests/nvml/energy.c, written a second time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Literal

Stamps = Literal["read", "update", "zero", "wrong"]
Wave = Sequence[tuple[int, int]]  # (microseconds, milliwatts), repeating in both directions of time

GPU, MODULE, MEMORY = 0, 1, 2
TOTAL_ENERGY, AVERAGE, INSTANT, ENERGY = 83, 185, 186, 191  # field ids
GPU_IS_LOST = 15

_PICOJOULES_PER_MILLIJOULE = 1_000_000_000
_BITS = (1 << 64) - 1


def _mixed(x: int) -> int:
    """splitmix64."""
    x = (x + 0x9E3779B97F4A7C15) & _BITS
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & _BITS
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & _BITS
    return x ^ (x >> 31)


@dataclass(frozen=True, kw_only=True)
class Updates:
    """When a value changes: update k at phase + k * period, give or take a jitter that follows from seed and k alone."""

    period_us: int
    phase_us: int = 0
    jitter_us: int = 0  # less than half of the period
    window_us: int | None = None  # of which a reading is the mean; None: the period
    seed: int = 0

    @property
    def window_ns(self) -> int:
        return (self.period_us if self.window_us is None else self.window_us) * 1000

    def at_ns(self, k: int) -> int:
        """When update k happens."""
        jitter_ns = self.jitter_us * 1000
        off_ns = _mixed(_mixed(self.seed) ^ (k & _BITS)) % (2 * jitter_ns + 1) - jitter_ns
        return (self.phase_us + k * self.period_us) * 1000 + off_ns

    def last(self, t_ns: int) -> int:
        """The number of the last update at or before t."""
        k = (t_ns - self.phase_us * 1000) // (self.period_us * 1000) + 1
        while self.at_ns(k) > t_ns:
            k -= 1
        return k

    def text(self) -> str:
        return (
            f"period_us={self.period_us} phase_us={self.phase_us} jitter_us={self.jitter_us} "
            f"window_us={self.window_ns // 1000} seed={self.seed}"
        )


@dataclass(frozen=True, kw_only=True)
class Energy(Updates):
    """A counter of the true energy (`waveform`), or of what a sensor saw in its window before each update (`sensor`)."""

    kind: Literal["waveform", "sensor"] = "waveform"
    first_mj: int = 0

    def text(self) -> str:
        return f"{super().text()} kind={self.kind} first_mj={self.first_mj}"


@dataclass(frozen=True, kw_only=True)
class Buffer(Updates):
    """The last readings, as nvmlDeviceGetSamples hands them out."""

    depth: int = 120
    stamps: Stamps = "update"

    def text(self) -> str:
        return f"{super().text()} depth={self.depth} stamps={self.stamps}"


@dataclass(frozen=True, kw_only=True)
class Span:
    """From some script time on until another; None: for good. `function` is NVML's name of the one concerned, "" all."""

    from_ms: int = 0
    to_ms: int | None = None
    function: str = ""

    def text(self) -> str:
        to = "forever" if self.to_ms is None else self.to_ms
        return f"from_ms={self.from_ms} to_ms={to}" + (f" function={self.function}" if self.function else "")


@dataclass(frozen=True, kw_only=True)
class Fault(Span):
    """Calls answer this code; GPU_IS_LOST for good is a board that fell off the bus."""

    code: int

    def text(self) -> str:
        return f"fault {super().text()} code={self.code}"


@dataclass(frozen=True, kw_only=True)
class Hang(Span):
    """Calls that begin in this time return when it is over, or when released."""

    def text(self) -> str:
        return f"hang {super().text()}"


@dataclass(frozen=True, kw_only=True)
class Throttle(Span):
    """Sets bits of the reasons and adds to the violation time of a policy."""

    mask: int
    policy: int

    def text(self) -> str:
        return f"throttle {super().text()} mask={self.mask} policy={self.policy}"


@dataclass(frozen=True, kw_only=True)
class Process:
    pid: int
    memory_bytes: int
    kind: Literal["compute", "graphics"] = "compute"

    def text(self) -> str:
        return f"process {self.pid} {self.memory_bytes} {self.kind}"


@dataclass(frozen=True, kw_only=True)
class Board:
    """A board; without arguments an H100 that takes 100 W all the time."""

    name: str = "NVIDIA H100 80GB HBM3"
    uuid: str = ""  # made up from the board's index when empty, and so is pci
    pci: str = ""
    arch: int = 9
    compute_capability: tuple[int, int] = (9, 0)
    cores: int = 16896
    clock_mhz: tuple[int, int] = (1980, 1980)  # now, highest
    memory_clock_mhz: tuple[int, int] = (2619, 2619)
    limits_mw: tuple[int, int, int, int, int] = (
        200_000,
        700_000,
        700_000,
        700_000,
        700_000,
    )  # min max default now enforced
    persistence: int = 1
    temperature_c: int = 40
    utilization: tuple[int, int] = (0, 0)  # percent: gpu, memory
    mig_max: int = 7  # 0: a board without MIG
    migs: Sequence[str] = ()  # UUIDs of instances; MIG is on when there are any
    waves: Mapping[int, Wave] = field(default_factory=lambda: {GPU: [(1_000_000, 100_000)]})
    energy: Energy | None = Energy(period_us=20_000)
    resets_ms: Sequence[int] = ()  # the counter is at 0 again
    instant: Updates | None = Updates(period_us=100_000, window_us=25_000)
    average: Updates | None = Updates(period_us=100_000, window_us=1_000_000)
    power_usage: Literal["instant", "average", "off"] = "average"
    buffer: Buffer | None = None
    fields: Sequence[tuple[int, int]] = ((TOTAL_ENERGY, GPU), (ENERGY, GPU), (AVERAGE, GPU), (INSTANT, GPU))
    field_missing: tuple[Literal["entry", "call"], int] = (
        "entry",
        3,
    )  # what others answer: NOT_SUPPORTED in their entry
    stamps: Stamps = "read"
    latency_us: int = 0
    delay_us: tuple[int, int] = (0, 0)  # each call sleeps so long before it takes its value, and after
    spans: Sequence[Fault | Hang | Throttle] = ()
    processes: Sequence[Process] = ()

    def text(self) -> str:
        """Its lines of a script, every fact of it, so that no default of the C code matters."""
        lines = ["board", f"name {self.name}"]
        lines += [f"uuid {self.uuid}"] if self.uuid else []
        lines += [f"pci {self.pci}"] if self.pci else []
        for key in (
            "compute_capability",
            "clock_mhz",
            "memory_clock_mhz",
            "limits_mw",
            "utilization",
            "delay_us",
            "field_missing",
        ):
            lines.append(f"{key} {' '.join(str(number) for number in getattr(self, key))}")
        for key in ("arch", "cores", "persistence", "temperature_c", "mig_max", "power_usage", "stamps", "latency_us"):
            lines.append(f"{key} {getattr(self, key)}")
        lines += [f"mig {uuid}" for uuid in self.migs]
        for scope in (GPU, MODULE, MEMORY):
            pieces = " ".join(f"{us}:{mw}" for us, mw in self.waves.get(scope, ()))
            lines.append(f"wave {scope} {pieces or 'off'}")
        for key in ("energy", "instant", "average", "buffer"):
            updates = getattr(self, key)
            lines.append(f"{key} {'off' if updates is None else updates.text()}")
        lines += [f"reset_ms {t_ms}" for t_ms in self.resets_ms]
        lines.append("fields " + " ".join(f"{number}@{scope}" for number, scope in self.fields))
        lines += [item.text() for item in (*self.spans, *self.processes)]
        return "\n".join(lines)


@dataclass(frozen=True, kw_only=True)
class Script:
    """What a fake NVML library plays. `frozen_ns`: script time stands still there."""

    boards: Sequence[Board] = (Board(),)
    start_ns: int | None = None  # CLOCK_MONOTONIC of script time 0; None: when the script is given
    frozen_ns: int | None = None
    driver: str = "550.54.15"
    init_error: int = 0
    init_delay_ms: int = 0

    def text(self) -> str:
        lines = [f"driver {self.driver}", f"init_error {self.init_error}", f"init_delay_ms {self.init_delay_ms}"]
        lines += [] if self.start_ns is None else [f"start_ns {self.start_ns}"]
        lines += [] if self.frozen_ns is None else [f"frozen_ns {self.frozen_ns}"]
        return "\n".join([*lines, *(board.text() for board in self.boards)]) + "\n"


def _energy_pj(wave: Wave, t_ns: int) -> int:
    """Since script time 0; negative before."""
    durations_ns = [us * 1000 for us, _ in wave]
    rounds, rest_ns = divmod(t_ns, sum(durations_ns))
    energy = rounds * sum(us * 1000 * mw for us, mw in wave)
    for begin_ns, duration_ns, (_, mw) in zip(accumulate(durations_ns, initial=0), durations_ns, wave, strict=False):
        energy += min(max(rest_ns - begin_ns, 0), duration_ns) * mw
    return energy


def true_picojoules(board: Board, start_ns: int, end_ns: int, scope: int = GPU) -> int:
    """What the board used between two script times."""
    return _energy_pj(board.waves[scope], end_ns) - _energy_pj(board.waves[scope], start_ns)


def true_joules(board: Board, start_ns: int, end_ns: int, scope: int = GPU) -> float:
    """What the board used between two script times, rounded once."""
    return true_picojoules(board, start_ns, end_ns, scope) / 1e12


def counter_mj(board: Board, t_ns: int, scope: int = GPU) -> int:
    """What the energy counter shows at t."""
    energy = board.energy
    if energy is None:
        raise ValueError("board: has no energy counter; give it energy=Energy(...)")
    resets_ns = [ms * 1_000_000 for ms in board.resets_ms if ms * 1_000_000 <= t_ns]
    origin_ns = resets_ns[-1] if resets_ns else 0
    first_mj = 0 if resets_ns else energy.first_mj
    last = energy.last(t_ns)
    if energy.kind == "waveform":
        counted_pj = true_picojoules(board, origin_ns, max(energy.at_ns(last), origin_ns), scope)
    else:
        counted_pj = 0
        for k in range(energy.last(origin_ns) + 1, last + 1):
            at_ns = energy.at_ns(k)
            seen_pj = true_picojoules(board, at_ns - energy.window_ns, at_ns, scope)
            counted_pj += seen_pj * (at_ns - max(energy.at_ns(k - 1), origin_ns)) // energy.window_ns
    return first_mj + counted_pj // _PICOJOULES_PER_MILLIJOULE


def mean_mw(board: Board, end_ns: int, window_ns: int, scope: int = GPU) -> int:
    """The mean over the window that ends at a script time, rounded down."""
    return true_picojoules(board, end_ns - window_ns, end_ns, scope) // window_ns


def reading_mw(board: Board, reading: Updates, t_ns: int, scope: int = GPU) -> int:
    """What a power reading of the board shows at t, board.instant or board.average."""
    return mean_mw(board, reading.at_ns(reading.last(t_ns)), reading.window_ns, scope)
