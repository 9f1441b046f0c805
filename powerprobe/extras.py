# SPDX-License-Identifier: MIT
"""Packages that only parts of this one need: without them there is a sentence with the command that helps."""

from __future__ import annotations

import importlib
import sys

from .errors import Unavailable

NEEDS = {"scipy": "scipy>=1.11", "matplotlib": "matplotlib>=3.8", "pynvml": "nvidia-ml-py>=12.535"}
"""What to ask pip for; the same as the extras `stats`, `plot` and `nvml` in pyproject.toml."""


def need(name: str, what: str) -> None:
    """Raises Unavailable unless the package can be imported; `what` is what needs it."""
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as missing:
        if missing.name != name:
            raise
        raise Unavailable(
            f"{what} needs the package {name}, which is not installed",
            remedy=f"{sys.executable} -m pip install '{NEEDS[name]}'",
        ) from None
