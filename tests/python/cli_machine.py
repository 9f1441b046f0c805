# SPDX-License-Identifier: MIT
"""For the tests of the command line: a machine made of files, recordings to play, and the command as a subprocess."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, final

RANGE_UJ = 262143328850
COMMAND = [sys.executable, "-m", "powerprobe"]


class Machine:
    """A folder with sys, dev and proc: an Intel package with powercap zones, until the test changes it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.chmod(0o755)
        self.write(
            "proc/cpuinfo",
            "processor\t: 0\nvendor_id\t: GenuineIntel\ncpu family\t: 6\nmodel\t: 85\nstepping\t: 4\nflags\t: fpu\n",
        )
        self.write("proc/stat", "cpu  100 0 100 1000 0 0 0 0 0 0\ncpu0 100 0 100 1000 0 0 0 0 0 0\n")
        self.write("sys/devices/system/cpu/online", "0\n")
        for name in ("physical_package_id", "die_id", "core_id"):
            self.write(f"sys/devices/system/cpu/cpu0/topology/{name}", "0\n")
        for folder in ("dev/cpu", "sys/class/powercap"):
            (root / folder).mkdir(parents=True)

    def write(self, name: str, text: str) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def zone(self, label: str, name: str, microjoules: int = 1000) -> Path:
        """A powercap zone; returns its energy file."""
        folder = f"sys/devices/virtual/powercap/{label}"
        self.write(f"{folder}/name", f"{name}\n")
        self.write(f"{folder}/max_energy_range_uj", f"{RANGE_UJ}\n")
        link = self.root / "sys/class/powercap" / label
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(f"../../devices/virtual/powercap/{label}")
        return self.write(f"{folder}/energy_uj", f"{microjoules:012d}\n")


@final
class Load:
    """Context: moves energy files as counters do, every millisecond, by so many watts."""

    def __init__(self, watts: dict[Path, float]) -> None:
        self._watts = watts
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Load:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        files = {os.open(path, os.O_WRONLY): watts for path, watts in self._watts.items()}
        while not self._stop.wait(1e-3):
            now = time.monotonic()
            for file, watts in files.items():
                # In one piece and of one length, so that a reader never meets half a number.
                os.pwrite(file, b"%012d\n" % int(watts * now * 1e6), 0)
        for file in files:
            os.close(file)


def recording(folder: Path, watts: dict[str, float], seconds: float = 60.0, **more: object) -> Path:
    """A file for --replay: for each channel a counter of one millijoule that moves every 2 ms from the start."""
    period = 0.002
    channels = [
        {
            "name": name,
            "domain": name.partition("-")[0],
            "joules_per_count": 1e-3,
            "update_period_ns": 2_000_000,
            "steps": [[int(i * period * 1e9), int(power * i * period * 1e3)] for i in range(int(seconds / period))],
            **more,
        }
        for name, power in watts.items()
    ]
    path = folder / "recording.json"
    path.write_text(json.dumps({"channels": channels}))
    return path


def environment(**more: str) -> dict[str, str]:
    """This process's, without what would change the output."""
    dropped = {"POWERPROBE_STRICT", "COLUMNS", "FORCE_COLOR", "NO_COLOR", "CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER"}
    return {**{name: value for name, value in os.environ.items() if name not in dropped}, **more}


def powerprobe(
    *args: str | Path, env: dict[str, str] | None = None, **options: Any
) -> subprocess.CompletedProcess[str]:
    """Runs the command line to its end."""
    return subprocess.run(
        [*COMMAND, *map(str, args)], capture_output=True, text=True, timeout=60, env=env or environment(), **options
    )


def as_nobody(*args: str | Path) -> subprocess.CompletedProcess[str]:
    """The same as a user who may nothing. Python itself is loaded before, for it may be in a folder that is root's."""
    program = (
        "import os, sys; import powerprobe.cli.app; from powerprobe.cli import main; "
        "os.setgroups([]); os.setgid(65534); os.setuid(65534); sys.exit(main())"
    )
    for path in map(Path, args):
        for folder in (path, *path.parents) if path.is_absolute() else ():
            folder.chmod(folder.stat().st_mode | stat.S_IXOTH | stat.S_IROTH)
    return subprocess.run(
        [sys.executable, "-c", program, *map(str, args)], capture_output=True, text=True, timeout=60, env=environment()
    )


def shell(script: str) -> list[str]:
    return ["sh", "-c", script]
