# SPDX-License-Identifier: MIT
"""Probes on counters that are known exactly, for every test."""

from __future__ import annotations

import copy
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator

import pytest
from truth import steady

import powerprobe as pp
from powerprobe import default

# Of a complete run (scripts/test sets POWERPROBE_FULL) so many tests must have passed, and no more may have been skipped, or
# the suite could pass by skipping. What is skipped anywhere: registers over FUSE without root or /dev/fuse, perf without the
# msr PMU, refusals of another user without root.
LEAST_PASSED = 300
MOST_SKIPPED = 30


def pytest_configure() -> None:
    # Started in the background by a shell, this process ignores these, and so would every command that a test sends them to.
    for number, usual in ((signal.SIGINT, signal.default_int_handler), (signal.SIGQUIT, signal.SIG_DFL)):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, usual)


def pytest_sessionfinish(session: pytest.Session) -> None:
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None:  # a worker of pytest-xdist; the process that collects their reports judges them
        return
    # pytest-xdist reports the test at which a worker died so, and calls the run merely failed; scripts/test repeats failures.
    if any(report.when == "???" for report in reporter.stats.get("failed", ())):
        session.exitstatus = pytest.ExitCode.INTERNAL_ERROR
        return
    if not os.environ.get("POWERPROBE_FULL"):
        return
    passed, skipped = (len(reporter.stats.get(outcome, ())) for outcome in ("passed", "skipped"))
    if passed < LEAST_PASSED or skipped > MOST_SKIPPED:
        reporter.write_line(f"{passed} passed, {skipped} skipped: too little was tested (see conftest.py)", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture
def probe() -> Iterator[pp.Probe]:
    """A running probe: package-0 takes 3 W, core-0 inside it 1 W, dram-0 beside it 2 W; steps every millisecond."""
    source = pp.replay([steady(3), steady(1, "core-0"), steady(2, "dram-0")])
    with pp.Probe(sources=source) as running:
        yield running


class Machine:
    """Stands for discover() with counters that are known; each opening gets new ones."""

    refusals = ()

    def __init__(self) -> None:
        self.searches = 0
        self.faults: list[dict[str, object]] = []
        self.error: Exception | None = None
        self.has(steady(3), steady(1, "core-0"), *(steady(1, f"core-0-{n}") for n in range(4)))

    def has(self, *scripts: dict[str, object]) -> None:
        self.scripts = list(scripts)
        self.channels = tuple(pp.replay(self.scripts).channels)

    def discover(self, sources: object = None, strict: object = None, *, again: bool = False) -> Machine:
        self.searches += 1
        if self.error is not None:
            raise self.error
        return copy.copy(self)

    def open(self, names: list[str]) -> list[object]:
        return [pp.replay([script for script in self.scripts if script["name"] in names], self.faults)]


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    """A machine with a package, its cores together and four single cores, for measure() and its shared probe."""
    known = Machine()
    monkeypatch.setattr(default, "discover", known.discover)
    monkeypatch.setattr(default, "_found", {})
    monkeypatch.setattr(default, "_searched", {})
    monkeypatch.setattr(default, "_probes", {})
    yield known
    for shared in default._probes.values():
        shared.close()


@pytest.fixture
def python() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs a program text in a new interpreter, which can import the modules beside this file."""

    def run(text: str, **more: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", textwrap.dedent(text)],
            check=False,
            capture_output=True,
            text=True,
            timeout=120,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
            **more,
        )

    return run
