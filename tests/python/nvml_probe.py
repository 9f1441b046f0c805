# SPDX-License-Identifier: MIT
"""For the tests of the source nvml: probes on a fake NVML, the truth beside their answers, and waiting for what threads do."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from fake_nvml import Board, Fake, true_joules

import powerprobe as pp
from powerprobe import _core
from powerprobe.discovery import Discovery

RELATIVE = 1e-9  # what bounds may be off by rounding


def discovery(fake: Fake) -> Discovery:
    return Discovery(_core.survey(["nvml"], False, nvml=str(fake.path)))


def probe_on(fake: Fake, **more: object) -> pp.Probe:
    """Not started; with all that the boards have, unless told otherwise."""
    return pp.Probe(discovery=discovery(fake), **{"channels": "*", **more})


def truth(fake: Fake, board: Board, start_ns: int, end_ns: int) -> float:
    """What the board used between two instants of now_ns()."""
    return true_joules(board, start_ns - fake.start_ns, end_ns - fake.start_ns)


def poll(condition: Callable[[], object], what: str = "") -> None:
    """Returns when it holds. A minute is more than any of these takes, however busy the machine."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, what or "it never came to that"
        time.sleep(0.002)


def edges(probe: pp.Probe, channel: str) -> int:
    return int(probe.stats()["channels"][channel]["edges"])  # type: ignore[index]


def poll_edges(probe: pp.Probe, channel: str, more: int) -> None:
    """Returns when so many more edges of the channel are stored."""
    until = edges(probe, channel) + more
    poll(lambda: edges(probe, channel) >= until, f"{channel} does not go on")


def threads() -> list[str]:
    """Names of this process's threads."""
    names = []
    for task in Path("/proc/self/task").iterdir():
        try:
            names.append((task / "comm").read_text().strip())
        except OSError:  # it has just ended
            continue
    return names
