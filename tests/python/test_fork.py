# SPDX-License-Identifier: MIT
"""The child of a fork: threads are not there, so a probe must say so, and the shared one starts afresh."""

from __future__ import annotations

from collections.abc import Callable

import pytest

# Runs `in_child` in a forked child, which reports what it printed, raised or how it was killed.
FORK = """
import os, sys, warnings
warnings.simplefilter("ignore", DeprecationWarning)  # "fork in a process with threads": the very thing tested
import conftest, powerprobe as pp
from powerprobe import default
from truth import steady

def fork(in_child):
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        try:
            in_child()
        except BaseException as error:
            print(type(error).__name__, str(error).splitlines()[0])
        sys.stdout.flush()
        os._exit(0)
    status = os.waitpid(pid, 0)[1]
    print("child ended with", status)

probe = pp.Probe(sources=pp.replay([steady()])).start()
before = pp.now_ns()
"""

QUESTIONS = {
    "view": "lambda: probe.view('package-0')",
    "energy": "lambda: probe.energy(before, before + 1)",
    "measure": "lambda: probe.measure().begin()",
    "regions": "lambda: probe.regions()",
    "stats": "lambda: probe.stats()",
    "start": "lambda: probe.start()",
}


@pytest.mark.parametrize("question", QUESTIONS.values(), ids=QUESTIONS)
def test_a_probe_of_the_parent_says_that_it_stayed_behind(python: Callable, question: str) -> None:
    done = python(f"{FORK}\nfork({question})\nprint(probe.energy(before, pp.now_ns()).joules[0] >= 0.0)\nprobe.close()")
    first, second, third = done.stdout.splitlines()
    assert first.startswith("Unavailable")
    assert "fork" in first or "closed" in first
    assert second == "child ended with 0"
    assert third == "True"  # the parent's goes on
    assert done.stderr == ""


def test_closing_and_dropping_it_in_the_child_does_not_hang(python: Callable) -> None:
    done = python(f"""{FORK}
def child():
    global probe
    probe.close()
    probe.close()
    print(repr(probe))
    del probe
    import gc
    gc.collect()
    print("fine")
fork(child)
""")
    assert done.stdout.splitlines() == ["<Probe of package-0, closed>", "fine", "child ended with 0"]


def test_a_view_from_before_the_fork_can_be_read_and_dropped(python: Callable) -> None:
    done = python(f"""{FORK}
view = probe.view("package-0")
def child():
    global view
    print(view["joules"][0])
    del view
fork(child)
""")
    assert done.stdout.splitlines() == ["0.0", "child ended with 0"]


def test_a_measurement_that_is_complete_can_be_read_one_that_is_not_says_why(python: Callable) -> None:
    done = python(f"""{FORK}
with probe.measure() as complete:
    pass
complete.total
running = probe.measure().begin()
def child():
    print(complete.total >= 0.0)
    print(running.end().unknown)
    print(repr(running.total))
fork(child)
print(running.end().unknown)
""")
    first, reason, total, ended, unknown = done.stdout.splitlines()
    assert (first, total, ended, unknown) == ("True", "nan", "child ended with 0", "{}")
    assert "fork" in reason


def test_a_block_around_a_fork_passes_the_childs_exception_on(python: Callable) -> None:
    done = python(f"""{FORK}
try:
    with probe.measure() as m:
        pid = os.fork()
        if pid == 0:
            raise LookupError("of the body")
        os.waitpid(pid, 0)
except LookupError as error:
    print("child:", error)
    sys.stdout.flush()
    os._exit(0)
print("parent:", m.unknown)
""")
    assert done.stdout.splitlines() == ["child: of the body", "parent: {}"]


def test_the_shared_probe_is_made_anew_in_the_child(python: Callable) -> None:
    done = python(f"""{FORK}
machine = conftest.Machine()
default.discover = machine.discover
with pp.measure() as m:
    pass
parents = m._probe
def child():
    with pp.measure() as mine:
        pass
    print(mine.total >= 0.0, mine._probe is parents)
fork(child)
with pp.measure() as again:
    pass
print(again.total >= 0.0, again._probe is parents)
""")
    assert done.stdout.splitlines() == ["True False", "child ended with 0", "True True"]
    assert done.stderr == ""


def test_a_child_that_exits_as_usual_leaves_quietly(python: Callable) -> None:
    done = python(f"""{FORK}
if os.fork() == 0:
    sys.exit(0)
print(os.wait()[1])
""")
    assert (done.stdout, done.stderr) == ("0\n", "")
