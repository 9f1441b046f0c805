# SPDX-License-Identifier: MIT
"""What NVML tells of a board beside its energy, through `pynvml`; may hang, so only the thread of gpus.py calls it.

Nothing here raises for a question that a driver does not answer: what is missing is None.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .errors import Unavailable
from .extras import need

Facts = dict[str, Any]

SLOWED = {
    0x4: "power cap",
    0x8: "hardware slowdown",
    0x20: "thermal slowdown by the driver",
    0x40: "thermal slowdown by the hardware",
    0x80: "power brake",
    0x200: "board limit",
    0x400: "reliability limit",
}
"""Bits of NVML's clock event reasons that mean: slower than the work would have it."""

CHOSEN = {0x1: "idle", 0x2: "application clocks", 0x10: "sync boost", 0x100: "display clocks"}
"""Those that are as somebody wants it."""

FACTS = (
    "model",
    "driver",
    "power_limit",
    "power_limit_default",
    "power_limit_range",
    "clocks",
    "clocks_max",
    "reasons",
    "processes",
    "temperature",
    "persistence",
    "mig",
)
"""Keys of `Board.facts`."""

_POWER, _THERMAL = 0, 1  # NVML_PERF_POLICY_*
_GRAPHICS, _SM, _MEMORY = 0, 1, 2  # NVML_CLOCK_*
_CORE = 0  # NVML_TEMPERATURE_GPU


class Library:
    """NVML, loaded and initialized at the first question. One thread."""

    def __init__(self) -> None:
        self._nvml: Any = None

    def board(self, uuid: str) -> Board:
        """Raises Unavailable, with the reason, where the package, the driver or the board is not there."""
        if not uuid:
            raise Unavailable("the UUID of the board is not known")
        try:
            return self._board(uuid)
        except _failures(self._nvml):  # the driver may have been reloaded since
            self._close()
        try:
            return self._board(uuid)
        except _failures(self._nvml) as error:
            self._close()
            raise Unavailable(f"NVML: {error}") from None

    def _board(self, uuid: str) -> Board:
        if self._nvml is None:
            need("pynvml", "what a GPU tells beside its energy")
            import pynvml

            pynvml.nvmlInit()
            self._nvml = pynvml
        return Board(self._nvml, self._nvml.nvmlDeviceGetHandleByUUID(uuid))

    def _close(self) -> None:
        nvml, self._nvml = self._nvml, None
        if nvml is not None:
            _try(nvml.nvmlShutdown)


class Board:
    """One board of the library; None for what it does not tell."""

    def __init__(self, nvml: Any, handle: Any) -> None:
        self._nvml = nvml
        self._handle = handle

    def state(self) -> Facts:
        """What can change while something is measured; `slowed_ns`: for how long so far, by reason."""
        slowed = {"power cap": self._slowed_ns(_POWER), "thermal slowdown": self._slowed_ns(_THERMAL)}
        return {
            "driver": self._driver(),
            "power_limit": _watts(self._ask("nvmlDeviceGetEnforcedPowerLimit")),
            "clocks": self._clocks("nvmlDeviceGetClockInfo"),
            "reasons": self._reasons(),
            "slowed_ns": slowed,
        }

    def facts(self) -> Facts:
        """All, for people."""
        least, most = self._ask("nvmlDeviceGetPowerManagementLimitConstraints") or (None, None)
        mig = self._ask("nvmlDeviceGetMigMode")
        persistence = self._ask("nvmlDeviceGetPersistenceMode")
        reasons = self._reasons()
        return {
            "model": self._ask("nvmlDeviceGetName"),
            "driver": self._driver(),
            "power_limit": _watts(self._ask("nvmlDeviceGetEnforcedPowerLimit")),
            "power_limit_default": _watts(self._ask("nvmlDeviceGetPowerManagementDefaultLimit")),
            "power_limit_range": None if least is None else [_watts(least), _watts(most)],
            "clocks": self._clocks("nvmlDeviceGetClockInfo"),
            "clocks_max": self._clocks("nvmlDeviceGetMaxClockInfo"),
            "reasons": None if reasons is None else in_words(reasons),
            "processes": self._processes(),
            "temperature": self._ask("nvmlDeviceGetTemperature", _CORE),
            "persistence": None if persistence is None else bool(persistence),
            "mig": None if mig is None else bool(mig[0]),
        }

    def _ask(self, name: str, *args: object) -> Any:
        return _try(getattr(self._nvml, name, None), self._handle, *args)

    def _driver(self) -> Any:
        return _try(self._nvml.nvmlSystemGetDriverVersion)

    def _clocks(self, name: str) -> Facts | None:
        """Megahertz."""
        clocks = {
            word: self._ask(name, kind) for word, kind in (("graphics", _GRAPHICS), ("sm", _SM), ("memory", _MEMORY))
        }
        return None if all(clock is None for clock in clocks.values()) else clocks

    def _reasons(self) -> int | None:
        bits = self._ask("nvmlDeviceGetCurrentClocksEventReasons")
        if bits is None:  # before R535 it was called so
            bits = self._ask("nvmlDeviceGetCurrentClocksThrottleReasons")
        return None if bits is None else int(bits)

    def _slowed_ns(self, policy: int) -> int | None:
        violation = self._ask("nvmlDeviceGetViolationStatus", policy)
        return None if violation is None else int(violation.violationTime)

    def _processes(self) -> list[Facts] | None:
        lists = [self._ask(f"nvmlDeviceGet{kind}RunningProcesses") for kind in ("Compute", "Graphics")]
        if all(each is None for each in lists):
            return None
        by_pid = {process.pid: process.usedGpuMemory for each in lists for process in each or ()}
        return [
            {"pid": pid, "name": _try(self._nvml.nvmlSystemGetProcessName, pid), "memory": memory}
            for pid, memory in sorted(by_pid.items())
        ]


def in_words(reasons: int) -> list[str]:
    return [word for bit, word in sorted({**SLOWED, **CHOSEN}.items()) if reasons & bit]


def _watts(milliwatts: float | None) -> float | None:
    return None if milliwatts is None else milliwatts * 1e-3


def _try(function: Callable[..., Any] | None, *args: object) -> Any:
    if function is None:
        return None
    try:
        return function(*args)
    except Exception:  # NVMLError, or a binding or library that is too old to have it
        return None


def _failures(nvml: Any) -> tuple[type[Exception], ...]:
    """What pynvml raises. It is not loaded before it is needed, so that its class has no name here."""
    import sys

    module = nvml or sys.modules.get("pynvml")
    return (module.NVMLError,) if module is not None and hasattr(module, "NVMLError") else ()
