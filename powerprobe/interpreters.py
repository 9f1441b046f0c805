# SPDX-License-Identifier: MIT
"""Refuses sub-interpreters, where the native half would wait for ever for the GIL of the main one."""

from __future__ import annotations

from importlib import import_module


def refuse_sub_interpreters() -> None:
    """To be called before the native half is loaded: its loading is what waits.

    Raises:
        ImportError: this is not the main interpreter of the process.
    """
    for name in ("_interpreters", "_xxsubinterpreters"):  # since Python 3.13, and before
        try:
            interpreters = import_module(name)
        except ImportError:
            continue
        if interpreters.get_current() != interpreters.get_main():
            raise ImportError(
                "powerprobe cannot be imported in a sub-interpreter; import it and measure in the main interpreter"
            )
        return
