# SPDX-License-Identifier: MIT
"""What else goes on in the machine while something is measured: throttling, frequency, work of others."""

from __future__ import annotations

import glob
import os
import resource
import time
from collections.abc import Sequence
from dataclasses import dataclass

_OTHERS = 0.1  # of one CPU
_STOLEN = 0.02  # of one CPU
_FREQUENCY = 0.05
_THROTTLE = ("core_throttle_count", "package_throttle_count")


@dataclass(frozen=True)
class Conditions:
    """Counts at one instant; None where this machine does not tell."""

    seconds: float
    own_seconds: float  # CPU time of this process and of the children that it waited for
    busy_seconds: float | None  # of all CPUs
    stolen_seconds: float | None  # in which a hypervisor ran somebody else
    throttled: int | None

    @staticmethod
    def now(root: str = "/") -> Conditions:
        """Reads them; takes well below a millisecond for each CPU."""
        children = resource.getrusage(resource.RUSAGE_CHILDREN)
        busy, stolen = _cpu_seconds(root)
        return Conditions(
            seconds=time.monotonic(),
            own_seconds=time.process_time() + children.ru_utime + children.ru_stime,
            busy_seconds=busy,
            stolen_seconds=stolen,
            throttled=_sum_of(f"{root}/sys/devices/system/cpu/cpu[0-9]*/thermal_throttle", _THROTTLE),
        )


def megahertz(root: str = "/") -> float | None:
    """Of the fastest CPU, which right after a run is the one that it ran on; None where there is no cpufreq."""
    paths = glob.glob(f"{root}/sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_cur_freq")
    read = [value for value in map(_integer, paths) if value is not None]
    return max(read) * 1e-3 if read else None


def worries(before: Conditions, after: Conditions, frequencies: Sequence[float | None] = ()) -> list[str]:
    """What happened in between that makes figures doubtful, as sentences. Pure."""
    found = []
    elapsed = after.seconds - before.seconds
    if before.throttled is not None and after.throttled is not None and after.throttled > before.throttled:
        found.append(
            f"throttling: CPUs were slowed down for their temperature {after.throttled - before.throttled} times"
        )
    known = [value for value in frequencies if value is not None]
    if known and max(known) > (1 + _FREQUENCY) * min(known):
        found.append(f"frequency change: the CPU ran at {min(known):.0f} to {max(known):.0f} MHz from run to run")
    if before.busy_seconds is not None and after.busy_seconds is not None and elapsed > 0.0:
        others = (after.busy_seconds - before.busy_seconds - (after.own_seconds - before.own_seconds)) / elapsed
        if others > _OTHERS:
            found.append(
                f"other load: other processes used {others:.2f} CPUs meanwhile, and their energy is counted too"
            )
    if before.stolen_seconds is not None and after.stolen_seconds is not None and elapsed > 0.0:
        stolen = (after.stolen_seconds - before.stolen_seconds) / elapsed
        if stolen > _STOLEN:
            found.append(f"other load: the hypervisor gave {stolen:.2f} CPUs to other machines meanwhile")
    return found


def _cpu_seconds(root: str) -> tuple[float | None, float | None]:
    """Busy and stolen, from /proc/stat."""
    try:
        with open(os.path.join(root, "proc/stat"), encoding="ascii") as file:
            name, *fields = file.readline().split()
        user, nice, system, _, _, irq, softirq, stolen = map(int, fields[:8])
    except (OSError, ValueError):
        return None, None
    ticks = os.sysconf("SC_CLK_TCK")
    return ((user + nice + system + irq + softirq) / ticks, stolen / ticks) if name == "cpu" else (None, None)


def _sum_of(folders: str, names: Sequence[str]) -> int | None:
    read = [_integer(os.path.join(folder, name)) for folder in glob.glob(folders) for name in names]
    known = [value for value in read if value is not None]
    return sum(known) if known else None


def _integer(path: str) -> int | None:
    try:
        with open(path, encoding="ascii") as file:
            return int(file.read())
    except (OSError, ValueError):
        return None
