# SPDX-License-Identifier: MIT
"""Where programs in C and C++ find what they are built against; docs/c.md has how."""

from __future__ import annotations

from pathlib import Path

from . import _core
from .errors import Unavailable


def get_include() -> str:
    """The folder of `powerprobe.h` and `powerprobe.hpp`, for the compiler's -I.

    Raises:
        Unavailable: this installation lacks it.
    """
    return _there("include", "include/powerprobe.h")


def get_library() -> str:
    """The path of `libpowerprobe.so.0`, to link against or to load with ctypes.

    Raises:
        Unavailable: this installation lacks it.
    """
    return _there("lib/libpowerprobe.so.0", "lib/libpowerprobe.so.0")


def get_cmake_dir() -> str:
    """The folder for CMake's powerprobe_DIR; `find_package(powerprobe)` then gives the target `powerprobe::powerprobe`.

    Raises:
        Unavailable: this installation lacks it.
    """
    return _there("lib/cmake/powerprobe", "lib/cmake/powerprobe/powerprobe-config.cmake")


def _there(name: str, proof: str) -> str:
    # Beside the extension, not beside this file: an editable install has the one installed and the other in the sources.
    folder = Path(_core.__file__).parent
    if not (folder / proof).is_file():
        raise Unavailable(
            f"{folder / proof} is missing", path=str(folder / proof), remedy="pip install --force-reinstall powerprobe"
        )
    return str(folder / name)
