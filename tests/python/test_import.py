# SPDX-License-Identifier: MIT
"""Importing starts nothing and brings little along."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

ALLOWED = {"__future__", "atexit", "errno", "fnmatch", "threading"}
ALLOWED |= {"_interpreters", "_xxsubinterpreters"}  # small and native: which interpreter this is, 0.3 ms


def test_no_thread_after_the_import(python: Callable) -> None:
    done = python("""
        import os, numpy
        before = len(os.listdir("/proc/self/task"))
        import powerprobe
        print(len(os.listdir("/proc/self/task")) - before)
    """)
    assert (done.stdout, done.stderr) == ("0\n", "")


def test_little_is_imported_that_numpy_has_not_imported(python: Callable) -> None:
    done = python("""
        import json, sys
        import numpy
        before = set(sys.modules)
        import powerprobe
        print(json.dumps(sorted(set(sys.modules) - before)))
    """)
    new = set(json.loads(done.stdout))
    assert "powerprobe._core" in new
    # What an editable install imports to find the package is not ours.
    assert {name for name in new if not name.startswith(("powerprobe", "importlib."))} <= ALLOWED


def test_every_public_name_is_there() -> None:
    import powerprobe

    assert len(powerprobe.__all__) > 20
    for name in powerprobe.__all__:
        assert getattr(powerprobe, name) is not None


def test_the_version_is_that_of_the_project() -> None:
    import powerprobe

    project = Path(__file__).parents[2] / "pyproject.toml"
    assert f'version = "{powerprobe.__version__}"' in project.read_text().splitlines()
