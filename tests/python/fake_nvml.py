# SPDX-License-Identifier: MIT
"""A fake libnvidia-ml.so.1 that plays a script (nvml_script.py): in this process or for another one; any thread.

fake = library(Script(boards=[Board(waves={GPU: [(50_000, 100_000), (50_000, 300_000)]})]))
fake.path                      # to dlopen
true_joules(board, start_ns - fake.start_ns, end_ns - fake.start_ns)
"""

from __future__ import annotations

import atexit
import ctypes
import functools
import itertools
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Literal

from nvml_script import (
    AVERAGE,
    ENERGY,
    GPU,
    GPU_IS_LOST,
    INSTANT,
    MEMORY,
    MODULE,
    TOTAL_ENERGY,
    Board,
    Buffer,
    Energy,
    Fault,
    Hang,
    Process,
    Script,
    Stamps,
    Throttle,
    Updates,
    Wave,
    counter_mj,
    mean_mw,
    reading_mw,
    true_joules,
    true_picojoules,
)

__all__ = [
    "AVERAGE",
    "ENERGY",
    "GPU",
    "GPU_IS_LOST",
    "INSTANT",
    "MEMORY",
    "MODULE",
    "TOTAL_ENERGY",
    "Board",
    "Buffer",
    "Energy",
    "Fake",
    "Fault",
    "Hang",
    "Process",
    "Script",
    "Stamps",
    "Throttle",
    "Updates",
    "Variant",
    "Wave",
    "build",
    "counter_mj",
    "environment",
    "library",
    "mean_mw",
    "reading_mw",
    "true_joules",
    "true_picojoules",
]

# Everything; no energy, fields or buffer; only init, count, handles by index, name, UUID and power usage.
Variant = Literal["", "without_fields", "minimal"]

_SOURCES = Path(__file__).resolve().parent.parent / "nvml"
_FILES: dict[Variant, list[str]] = {
    "": ["board.c", "energy.c", "fake.c", "script.c", "state.c", "device.c", "fields.c"],
    "without_fields": ["board.c", "energy.c", "fake.c", "script.c", "state.c", "device.c"],
    "minimal": ["board.c", "energy.c", "fake.c", "script.c", "state.c"],
}
_FLAGS = ["-std=c11", "-O2", "-Wall", "-Wextra", "-Werror", "-fPIC", "-shared", "-fvisibility=hidden", "-pthread"]
_folders = itertools.count()


@functools.cache
def _temporary() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="powerprobe_nvml_"))
    owner = os.getpid()
    # A forked child ends, too, and must not take the folder along.
    atexit.register(lambda: shutil.rmtree(folder, ignore_errors=True) if os.getpid() == owner else None)
    return folder


@functools.cache
def build(variant: Variant = "") -> Path:
    """Compiles the library, once in a session. Raises subprocess.CalledProcessError with what the compiler said."""
    target = _temporary() / f"libfake_nvml_{variant}.so"
    sources = [str(_SOURCES / name) for name in _FILES[variant]]
    quiet = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}  # no sanitizer in the compiler
    subprocess.run([os.environ.get("CC", "cc"), *_FLAGS, *sources, "-o", str(target)], check=True, env=quiet)
    return target


def _private_copy(variant: Variant) -> Path:
    """A file of its own is a library of its own: its script, its clients and its counts."""
    folder = _temporary() / str(next(_folders))
    folder.mkdir()
    return Path(shutil.copy(build(variant), folder / "libnvidia-ml.so.1"))


class Fake:
    """One fake library, loaded into this process; `path` is what to dlopen to use the same one."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lib = ctypes.CDLL(str(path))
        self.lib.fake_nvml_script.argtypes = [ctypes.c_char_p]
        self.lib.fake_nvml_script.restype = None
        self.lib.fake_nvml_calls.argtypes = [ctypes.c_char_p, ctypes.c_int]
        self.lib.fake_nvml_calls.restype = ctypes.c_ulonglong
        self.lib.fake_nvml_release.argtypes = []
        self.lib.fake_nvml_release.restype = None
        self.lib.fake_nvml_freeze.argtypes = [ctypes.c_longlong]
        self.lib.fake_nvml_freeze.restype = None
        self.lib.fake_nvml_start_ns.argtypes = []
        self.lib.fake_nvml_start_ns.restype = ctypes.c_longlong
        self.lib.fake_nvml_wall_us.argtypes = [ctypes.c_longlong]
        self.lib.fake_nvml_wall_us.restype = ctypes.c_longlong

    def play(self, script: Script | str) -> None:
        """Replaces everything, call counts too; clients stay initialized. A script that cannot be read ends the process."""
        text = script if isinstance(script, str) else script.text()
        self.lib.fake_nvml_script(text.encode())

    def calls(self, function: str | None = None, board: int = -1) -> int:
        """Calls that began since the script was given: of a function or of all, for a board or for any and none."""
        return int(self.lib.fake_nvml_calls(None if function is None else function.encode(), board))

    def release(self) -> None:
        """Hangs that have begun are over."""
        self.lib.fake_nvml_release()

    def freeze(self, t_ns: int) -> None:
        """Script time stands still at t until the next freeze() or play()."""
        self.lib.fake_nvml_freeze(t_ns)

    @property
    def start_ns(self) -> int:
        """CLOCK_MONOTONIC of script time 0."""
        return int(self.lib.fake_nvml_start_ns())

    def wall_us(self, t_ns: int) -> int:
        """The time stamp, CLOCK_REALTIME, that goes with a script time."""
        return int(self.lib.fake_nvml_wall_us(t_ns))


def library(script: Script | str, variant: Variant = "") -> Fake:
    """A fake library of its own, playing this script."""
    fake = Fake(_private_copy(variant))
    fake.play(script)
    return fake


def environment(script: Script | str, variant: Variant = "") -> dict[str, str]:
    """This process's environment, in which a new process finds the fake under NVML's own name; there the script begins with
    the first call."""
    path = _private_copy(variant)
    text = path.parent / "script"
    text.write_text(script if isinstance(script, str) else script.text())
    folders = [str(path.parent), *filter(None, [os.environ.get("LD_LIBRARY_PATH")])]
    return {**os.environ, "LD_LIBRARY_PATH": os.pathsep.join(folders), "FAKE_NVML_SCRIPT": str(text)}
