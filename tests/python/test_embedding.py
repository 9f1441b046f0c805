# SPDX-License-Identifier: MIT
"""Many askers in one process: libraries, threads, tasks, generators, signals and interpreters share one set of samplers."""

from __future__ import annotations

import asyncio
import gc
import itertools
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import Machine
from test_exit import SETUP

import powerprobe as pp

LIBRARIES = 10


def samplers() -> list[int]:
    """Ids of the threads of this process that read counters or watch those that do."""
    found = []
    for task in Path("/proc/self/task").iterdir():
        if (task / "comm").read_text().startswith("pp-"):
            found.append(int(task.name))
    return found


def polls(probe: pp.Probe) -> int:
    return sum(sampler["polls"] for sampler in probe.stats()["samplers"])  # type: ignore[attr-defined]


def test_ten_libraries_at_once_cost_as_many_threads_as_one_and_are_quiet_after_the_last(machine: Machine) -> None:
    others = set(samplers())
    with pp.measure():
        of_one = set(samplers()) - others
    all_inside, found = threading.Barrier(LIBRARIES + 1), []

    def library() -> None:
        with pp.measure() as outer, pp.measure(channels="core-0") as inner:
            all_inside.wait(60)
            all_inside.wait(60)
        found.append((outer, inner))

    threads = [threading.Thread(target=library) for _ in range(LIBRARIES)]
    for thread in threads:
        thread.start()
    all_inside.wait(60)
    of_ten = set(samplers()) - others
    all_inside.wait(60)
    for thread in threads:
        thread.join()

    assert of_one
    assert of_ten == of_one
    assert len({id(m._probe) for pair in found for m in pair}) == 1
    assert all(m.unknown == {} for pair in found for m in pair)
    probe = found[0][0]._probe
    deadline = time.monotonic() + 30
    while True:  # a counter that steps every millisecond: awake it is read at least a hundred times in this time
        before = polls(probe)
        time.sleep(0.1)
        if polls(probe) - before < 20:
            break
        assert time.monotonic() < deadline


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_that_dies_with_a_measurement_open_asks_for_nothing_more(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended: list[pp.Probe] = []
    unwatch = pp.Probe._unwatch
    monkeypatch.setattr(pp.Probe, "_unwatch", lambda probe: (ended.append(probe), unwatch(probe)))

    def dies() -> None:
        pp.measure().begin()
        raise LookupError("of the thread")

    thread = threading.Thread(target=dies)
    thread.start()
    thread.join()
    gc.collect()
    assert len(ended) == 1
    with pp.measure() as m:
        pass
    assert m.unknown == {}
    assert m._probe is ended[0]


def test_threads_begin_and_end_while_others_close(machine: Machine) -> None:
    probe = pp.Probe(sources=machine.open(["package-0"])).start()  # type: ignore[arg-type]
    started, outcomes = threading.Barrier(5), []

    def work() -> None:
        started.wait(60)
        try:
            for _ in range(10_000):
                with probe.measure() as m:
                    pass
                assert set(m.unknown) <= {"package-0"}
        except (pp.Unavailable, pp.SettleTimeout) as error:
            outcomes.append(type(error))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    started.wait(60)
    probe.close()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)
    assert len(outcomes) == 4


# ---- Tasks, generators and exceptions


def test_a_task_that_is_cancelled_inside_a_block_ends_it(machine: Machine) -> None:
    async def work(inside: asyncio.Event, found: list[pp.Measurement]) -> None:
        with pp.measure() as m:
            found.append(m)
            inside.set()
            await asyncio.Event().wait()

    async def main() -> pp.Measurement:
        inside, found = asyncio.Event(), []
        task = asyncio.create_task(work(inside, found))
        await inside.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return found[0]

    assert asyncio.run(main()).total >= 0.0


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, GeneratorExit, BaseException])
def test_whatever_the_body_raises_passes_and_ends_the_block(machine: Machine, kind: type[BaseException]) -> None:
    with pytest.raises(kind), pp.measure() as m:
        raise kind
    assert m.total >= 0.0


@pytest.mark.parametrize("is_closed", [True, False])
def test_a_generator_that_is_closed_or_dropped_inside_a_block_ends_it(machine: Machine, is_closed: bool) -> None:
    def numbers() -> Iterator[pp.Measurement]:
        with pp.measure() as m:
            yield m

    generator = numbers()
    m = next(generator)
    if is_closed:
        generator.close()  # type: ignore[attr-defined]
    del generator
    assert m.total >= 0.0


# ---- Signals


def test_samplers_leave_every_signal_to_the_main_thread(machine: Machine) -> None:
    before = set(samplers())
    with pp.measure():
        mine = set(samplers()) - before
        blocked = [
            int(re.search(r"SigBlk:\s*(\w+)", Path(f"/proc/self/task/{tid}/status").read_text())[1], 16)  # type: ignore[index]
            for tid in mine
        ]
    assert blocked
    for mask in blocked:
        assert all(mask >> (number - 1) & 1 for number in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM))


def test_a_storm_of_signals_changes_no_answer(machine: Machine) -> None:
    threads: set[int] = set()
    before = signal.signal(signal.SIGALRM, lambda *_: threads.add(threading.get_ident()))
    try:
        signal.setitimer(signal.ITIMER_REAL, 1e-4, 1e-4)
        for _ in range(50):
            with pp.measure() as m:
                pass
            assert m.unknown == {}
            assert m.lower["package-0"] <= m.joules["package-0"] <= m.upper["package-0"]
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert threads == {threading.get_ident()}


# ---- The end of the interpreter

HELD = {"open": "m = pp.measure().begin()", "ended": "m = pp.measure().begin().end()"}
ENDS = {
    "returns": ("", 0),
    "os._exit": ("os._exit(3)", 3),
    "SIGTERM": ("os.kill(os.getpid(), signal.SIGTERM)", -signal.SIGTERM),
    "handled": ("signal.signal(signal.SIGTERM, lambda *_: sys.exit(5)); os.kill(os.getpid(), signal.SIGTERM)", 5),
}


@pytest.mark.parametrize(("held", "end"), list(itertools.product(HELD, ENDS)))
def test_every_way_to_end_is_quiet(python: Callable, held: str, end: str) -> None:
    text, status = ENDS[end]
    done = python(
        f"import atexit, os, signal\natexit.register(lambda: m.end().unknown)\n{SETUP}\n"
        f"atexit.register(lambda: m.end().unknown)\n{HELD[held]}\n{text}"
    )
    assert (done.returncode, done.stderr) == (status, "")


def test_a_sub_interpreter_is_told_to_use_the_main_one(python: Callable) -> None:
    pytest.importorskip("_xxsubinterpreters")  # what Python 3.11 and 3.12 have
    done = python("""
import os, threading
import _xxsubinterpreters as interpreters
watchdog = threading.Timer(60, os._exit, [9])  # an import that waits for ever would hold the whole suite up
watchdog.daemon = True
watchdog.start()
one = interpreters.create()
try:
    interpreters.run_string(one, "import powerprobe")
except interpreters.RunFailedError as error:
    print(error)
interpreters.destroy(one)
watchdog.cancel()
""")
    assert done.returncode == 0
    assert "ImportError" in done.stdout
    assert "in the main interpreter" in done.stdout
