# SPDX-License-Identifier: MIT
"""The command line: `powerprobe list`, `doctor`, `stat` and `bench`.

Only this file is imported without click and rich, so that their absence is one sentence and not a traceback.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

NEEDS = {"click": "click>=8.1", "rich": "rich>=13"}
"""What the command line imports, and what to ask pip for; the same as the extra `cli` in pyproject.toml."""


def main(args: Sequence[str] | None = None) -> int:
    """Runs the command line with these arguments (default: those of the process) and returns its exit status."""
    try:
        import click  # noqa: F401
        import rich  # noqa: F401
    except ModuleNotFoundError as missing:
        if missing.name not in NEEDS:
            raise
        wanted = " ".join(f"'{requirement}'" for requirement in NEEDS.values())
        print(
            f"powerprobe: the command line needs the package {missing.name}, which is not installed; install it with: "
            f"{sys.executable} -m pip install {wanted}",
            file=sys.stderr,
        )
        return 3
    try:
        from .app import run
    except KeyboardInterrupt:
        return 130
    return run(args)
