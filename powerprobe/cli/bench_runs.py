# SPDX-License-Identifier: MIT
"""Runs commands again and again between two windows of idling."""

from __future__ import annotations

import random
import shlex
import signal
from collections.abc import Sequence
from dataclasses import dataclass, field

from ..baseline import Baseline, Window, baseline, idle_window
from ..conditions import Conditions, megahertz, worries
from ..measurement import Measurement
from ..percall import TOTAL
from ..probe import Probe
from ..runs import longest_step_ns, losses, lost
from .progress import Progress
from .result import Run
from .run import Ended, Signals, run


@dataclass
class Benched:
    """A command and its measured runs."""

    text: str  # as it was given
    argv: list[str]
    runs: list[Run] = field(default_factory=list)


class FailedError(Exception):
    """A command ended with a status that is not 0, and that was not to be ignored."""


@dataclass(frozen=True)
class Manner:
    """How the commands are to be run."""

    warmup: int
    prepare: Sequence[str] | None
    silent: bool
    ignore_failure: bool
    idle_seconds: float


def parsed(text: str, shell: bool) -> Benched:
    """A command from its one string, as a shell would split it. Raises ValueError."""
    argv = ["sh", "-c", text] if shell else shlex.split(text)
    if not text.strip() or not argv:
        raise ValueError("it is empty")
    return Benched(text, argv)


def schedule(commands: int, repeat: int, is_paired: bool, chance: random.Random) -> list[int]:
    """Which command is run when: in rounds that have each of them once, in an order of their own; or one after the other."""
    if is_paired:
        return [number for _ in range(repeat) for number in chance.sample(range(commands), commands)]
    return [number for number in range(commands) for _ in range(repeat)]


class Series:
    """All runs of all commands.

    Attributes, complete after `measure()`:
        commands: with their runs.
        baseline: None if none was asked for, or the second window was interrupted.
        doubts: what happened to the machine meanwhile, as sentences.
        interrupted: the signal that ended it before its time; 0: none.
    """

    def __init__(self, probe: Probe, commands: Sequence[Benched], manner: Manner) -> None:
        self.baseline: Baseline | None = None
        self.doubts: list[str] = []
        self.interrupted = 0
        self._probe = probe
        self.commands = commands
        self._manner = manner
        self._frequencies: list[float | None] = []

    def measure(self, order: Sequence[int], is_paired: bool) -> None:
        """Runs them in this order. An interrupted run, and the rest of its round, is left out.

        Raises:
            StartError: a command cannot be started.
            FailedError: see there.
        """
        conditions, losses_before = Conditions.now(), losses(self._probe, self._probe.channels)
        step_ns = longest_step_ns(self._probe, self._probe.channels)
        before = self._idle(step_ns)
        with Signals() as signals:
            self._run_all(order, is_paired, signals)
            self.interrupted = signals.first()
        if is_paired:
            whole = min(len(command.runs) for command in self.commands)
            for command in self.commands:
                del command.runs[whole:]
        try:
            after = None if self.interrupted else self._idle(step_ns)
        except KeyboardInterrupt:
            after, self.interrupted = None, signal.SIGINT
        if before is not None and after is not None:
            self.baseline = baseline(before, after, [*self._probe.channels, TOTAL], self._manner.idle_seconds)
        self.doubts = worries(conditions, Conditions.now(), self._frequencies)
        self.doubts += lost(losses_before, losses(self._probe, self._probe.channels))

    def _run_all(self, order: Sequence[int], is_paired: bool, signals: Signals) -> None:
        warm: set[int] = set()
        measuring = self._probe.measure()
        with Progress(len(order)) as progress:
            for done, number in enumerate(order):
                cold = [each for each in (range(len(self.commands)) if is_paired else [number]) if each not in warm]
                for each in cold:
                    self._warm_up(self.commands[each], progress, done, signals)
                warm.update(cold)
                command = self.commands[number]
                self._prepare(signals)
                if signals.first():
                    return
                progress.show(done, None, f"run {done + 1} of {len(order)}: {command.text}")
                measurement, ended = run(
                    command.argv, signals, measuring.begin, Measurement.end, silent=self._manner.silent
                )
                self._frequencies.append(megahertz())
                if signals.first():
                    return
                self._check(command.text, ended)
                command.runs.append(Run(measurement, ended))

    def _warm_up(self, command: Benched, progress: Progress, done: int, signals: Signals) -> None:
        for count in range(self._manner.warmup):
            self._prepare(signals)
            if signals.first():
                return
            progress.show(done, None, f"warm-up run {count + 1} of {self._manner.warmup}: {command.text}")
            _, ended = run(command.argv, signals, lambda: None, lambda _: None, silent=self._manner.silent)
            if not signals.first():
                self._check(command.text, ended)

    def _prepare(self, signals: Signals) -> None:
        if self._manner.prepare is not None and not signals.first():
            _, ended = run(self._manner.prepare, signals, lambda: None, lambda _: None, silent=self._manner.silent)
            if ended.status and not signals.first():
                raise FailedError(f"'{shlex.join(self._manner.prepare)}', which prepares each run, {_how(ended)}")

    def _check(self, text: str, ended: Ended) -> None:
        if ended.status and not self._manner.ignore_failure:
            more = "; --show-output shows what it prints" if self._manner.silent else ""
            raise FailedError(f"'{text}' {_how(ended)}{more}; --ignore-failure goes on all the same")

    def _idle(self, step_ns: float) -> Window | None:
        if not self._manner.idle_seconds:
            return None
        probe = self._probe
        return idle_window(probe, probe.channels, probe._tree.roots, self._manner.idle_seconds, step_ns)


def _how(ended: Ended) -> str:
    return f"was killed by signal {ended.signal}" if ended.signal else f"ended with status {ended.status}"
