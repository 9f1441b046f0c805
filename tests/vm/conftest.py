# SPDX-License-Identifier: MIT
"""Tests against the kernel's own RAPL drivers, in a guest whose emulated registers have exactly known energy.

POWERPROBE_VM names the command that boots it: COMMAND [--preset P] [--rapl SETTINGS] [--smp S] [--kernel K] [--icount I]
--share FOLDER -- SHELL_COMMAND, with FOLDER as /share in the guest and the command's output and status passed on. The guest is
Debian 12 (Python 3.11), so this must run with Python 3.11 as well.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parent.parent

Guest = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def share(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if "POWERPROBE_VM" not in os.environ:
        pytest.skip("POWERPROBE_VM is not set: it names the command that boots the guest (see tests/vm/conftest.py)")
    if sys.version_info[:2] != (3, 11):
        pytest.fail("the guest has Python 3.11; run these tests with that version")
    folder = tmp_path_factory.mktemp("share")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(folder / "site")]
    subprocess.run([*pip, f"{ROOT}[cli]"], check=True)
    shutil.copy(HERE / "guest.py", folder)
    return folder


@pytest.fixture(scope="session")
def guest(share: Path) -> Guest:
    """Boots the guest with these options and runs a shell command in it."""

    def run(command: str, *options: str, timeout: float = 300.0) -> subprocess.CompletedProcess[str]:
        line = [os.environ["POWERPROBE_VM"], *options, "--share", str(share), "--", f"PYTHONPATH=/share/site {command}"]
        return subprocess.run(line, capture_output=True, text=True, timeout=timeout, check=False)

    return run


@pytest.fixture(scope="session")
def ask(guest: Guest) -> Callable[..., dict[str, object]]:
    """Boots the guest and gives the answer of one question of guest.py."""

    def run(question: str, *options: str, timeout: float = 300.0) -> dict[str, object]:
        done = guest(f"python3 /share/guest.py {question}", *options, timeout=timeout)
        assert done.returncode == 0, done.stdout + done.stderr
        answer = json.loads(done.stdout.splitlines()[-1])
        assert isinstance(answer, dict)
        return answer

    return run
