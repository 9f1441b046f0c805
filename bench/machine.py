# SPDX-License-Identifier: MIT
"""The facts about a machine without which its figures mean nothing."""

from __future__ import annotations

import datetime
import os
import platform
import re
import subprocess
import sys
from pathlib import Path

import numpy as np

import powerprobe

REPOSITORY = Path(__file__).resolve().parent.parent


def facts() -> dict[str, object]:
    """JSON-safe. What cannot be learned is None."""
    cpuinfo = _text("/proc/cpuinfo") or ""
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "cpu": _cpu_model(cpuinfo),
        "cpus": os.cpu_count(),
        "affinity": sorted(os.sched_getaffinity(0)),
        "governor": _text("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        "kernel": platform.release(),
        "clocksource": _text("/sys/devices/system/clocksource/clocksource0/current_clocksource"),
        "hypervisor": _hypervisor(cpuinfo),
        "perf_event_paranoid": _text("/proc/sys/kernel/perf_event_paranoid"),
        "load": load(),
        "python": platform.python_version(),
        "gil": getattr(sys, "_is_gil_enabled", lambda: True)(),
        "numpy": np.__version__,
        "powerprobe": powerprobe.__version__,
        "compiler": _first_line("c++", "--version"),
        "commit": _first_line("git", "-C", str(REPOSITORY), "describe", "--always", "--dirty"),
    }


def load() -> list[float]:
    """Runnable threads over the last 1, 5 and 15 minutes: who else was there."""
    return [round(value, 2) for value in os.getloadavg()]


def _cpu_model(cpuinfo: str) -> str | None:
    # aarch64 has no model name there, only numbers.
    fields = dict(
        re.findall(r"^(model name|cpu family|model|CPU implementer|CPU part)\s*: (.*)$", cpuinfo, re.MULTILINE)
    )
    if "model name" in fields:
        return f"{fields['model name']} (family {fields.get('cpu family')} model {fields.get('model')})"
    return f"{fields['CPU implementer']}/{fields['CPU part']}" if "CPU part" in fields else None


def _hypervisor(cpuinfo: str) -> str | None:
    kind = _first_line("systemd-detect-virt", "--vm")
    if kind and kind != "none":
        return kind
    return "yes" if re.search(r"^flags.*\bhypervisor\b", cpuinfo, re.MULTILINE) else None


def _text(path: str) -> str | None:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return None


def _first_line(*command: str) -> str | None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.splitlines()[0].strip() if done.stdout.strip() else None
