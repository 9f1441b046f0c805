# SPDX-License-Identifier: MIT
"""Forks, with real processes: the child reads its parent's rings as long as the parent lives, and both have the same answers."""

from __future__ import annotations

from collections.abc import Callable

import pytest

# Runs `in_child` in a forked child, which reports what it printed, raised or how it was killed.
FORK = """
import os, signal, sys, threading, time, warnings
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

def samplers(least=0):
    # A thread has its name from itself, some time after it was started.
    deadline = time.monotonic() + 20
    while count() < least and time.monotonic() < deadline:
        time.sleep(0.001)
    return count()

def count():
    names = [open(f"/proc/self/task/{task}/comm").read() for task in os.listdir("/proc/self/task")]
    return sum(name.startswith("pp-") for name in names)

probe = pp.Probe(sources=pp.replay([steady()])).start()
before = pp.now_ns()
"""


def lines(done: object) -> list[str]:
    assert done.stderr == ""
    return done.stdout.splitlines()


def test_the_child_has_its_parents_answers_from_before_the_fork_and_after_it(python: Callable) -> None:
    done = python(f"""{FORK}
time.sleep(0.005)
middle = pp.now_ns()
expected = probe.energy(before, middle)
receive, send = os.pipe()
def child():
    old = probe.energy(before, middle)
    print(abs(old.joules[0] - expected.joules[0]) < 1e-12 < old.joules[0], samplers(1))
    start = pp.now_ns()
    time.sleep(0.005)
    end = pp.now_ns()
    time.sleep(0.005)
    new = probe.energy(start, end)
    os.write(send, f"{{start}} {{end}} {{float(new.lower[0])!r}} {{float(new.upper[0])!r}}".encode())
    print(len(probe.view("package-0")) > 2, repr(probe))
fork(child)
os.close(send)
start, end, lower, upper = os.read(receive, 1000).split()
mine = probe.energy(int(start), int(end))
print(max(abs(float(lower) - mine.lower[0]), abs(float(upper) - mine.upper[0])) < 1e-12, samplers())
""")
    assert lines(done) == [
        "True 1",
        "True <Probe of package-0, running, read by the process that forked this one>",
        "child ended with 0",
        "True 1",
    ]


@pytest.mark.parametrize("question", ["probe.measure().begin().end().total", "probe.regions()", "probe.stats()"])
def test_every_method_goes_on_in_the_child(python: Callable, question: str) -> None:
    done = python(f"{FORK}\nfork(lambda: print(type({question}).__name__))")
    assert lines(done)[0] in ("float", "Regions", "dict")


def test_regions_in_the_child_are_its_own(python: Callable) -> None:
    done = python(f"""{FORK}
with probe.region("parents"):
    pass
def child():
    with probe.region("childs"):
        time.sleep(0.002)
    print(probe.regions().names, probe.regions().joules[0, 0] > 0)
fork(child)
print(probe.regions().names)
""")
    assert lines(done) == ["('childs',) True", "child ended with 0", "('parents',)"]


def test_who_asks_nothing_in_the_child_costs_nothing_there(python: Callable) -> None:
    done = python(f"""{FORK}
def child():
    global probe
    print(samplers())
    probe.close()
    probe.close()
    print(repr(probe), samplers())
    del probe
    import gc
    gc.collect()
fork(child)
print(probe.stats()["running"])
""")
    closed = "<Probe of package-0, closed, read by the process that forked this one>"
    assert lines(done) == ["0", f"{closed} 0", "child ended with 0", "True"]


def test_closing_it_in_the_child_leaves_the_parents_alone(python: Callable) -> None:
    done = python(f"""{FORK}
def child():
    probe.measure().begin()
    probe.close()
    print(samplers())
fork(child)
with probe.measure() as m:
    time.sleep(0.002)
print(m.total > 0)
""")
    assert lines(done) == ["0", "child ended with 0", "True"]


def test_a_view_from_before_the_fork_can_be_read_and_dropped(python: Callable) -> None:
    done = python(f"""{FORK}
view = probe.view("package-0")
def child():
    global view
    print(view["joules"][0])
    del view
fork(child)
""")
    assert lines(done) == ["0.0", "child ended with 0"]


def test_a_measurement_that_was_begun_before_the_fork_can_be_ended_in_both(python: Callable) -> None:
    done = python(f"""{FORK}
with probe.measure() as complete:
    time.sleep(0.002)
complete.total
running = probe.measure().begin()
def child():
    print(complete.total > 0)
    time.sleep(0.002)
    print(running.end().unknown, running.total > 0)
fork(child)
print(running.end().unknown, running.total > 0)
""")
    assert lines(done) == ["True", "{} True", "child ended with 0", "{} True"]


def test_what_the_samplers_did_in_the_parent_is_not_counted_in_the_child(python: Callable) -> None:
    done = python(f"""{FORK}
time.sleep(0.02)
running = probe.measure().begin()
def child():
    print(running.end().overhead, running.losses, running.total > 0)
    with probe.measure() as m:
        time.sleep(0.002)
    print(m.overhead >= 0, min(m.losses.values()))
fork(child)
print(running.end().overhead > 0, running.losses["retries"])
""")
    assert lines(done) == ["nan {} True", "True 0", "child ended with 0", "True 0"]


def test_how_the_counters_are_looked_at_is_the_parents_affair(python: Callable) -> None:
    done = python(f"{FORK}\nfork(lambda: probe.set_mode('spin'))\nprint(probe.mode)")
    first, *rest = lines(done)
    assert first.startswith("Unavailable the process that forked this one looks at the counters")
    assert rest == ["child ended with 0", "track"]


def test_a_probe_that_was_not_started_stays_with_the_parent(python: Callable) -> None:
    done = python(f"""{FORK}
other = pp.Probe(sources=pp.replay([steady()]))
fork(lambda: other.start())
with other:
    start = pp.now_ns()
    time.sleep(0.002)
    print(other.energy(start, pp.now_ns()).joules[0] > 0)
""")
    first, *rest = lines(done)
    assert first.startswith("Unavailable this probe was made by the parent process")
    assert rest == ["child ended with 0", "True"]


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
    assert lines(done) == ["child: of the body", "parent: {}"]


# Forks a parent that ends while its child goes on, which then runs `afterwards`.
ORPHAN = (
    FORK
    + """
machine = conftest.Machine()
default.discover = machine.discover
def orphan(afterwards, signal_number):
    sys.stdout.flush()
    receive, send = os.pipe()
    parent = os.fork()
    if parent == 0:
        with pp.measure() as m:
            time.sleep(0.002)
        if os.fork() == 0:
            before = m.start_ns, m.end_ns, m.joules["package-0"]
            with pp.measure() as mine:
                time.sleep(0.002)
            print(mine.total > 0, repr(mine._probe).endswith("forked this one>"))
            os.kill(os.getppid(), signal_number)
            while not mine._probe._is_orphan():  # its other threads end a moment later
                time.sleep(0.001)
            try:
                afterwards(before, mine)
            except BaseException as error:
                print(type(error).__name__, str(error).splitlines()[0])
            sys.stdout.flush()
            os.write(send, b"x")
            os._exit(0)
        time.sleep(60)
        os._exit(1)
    os.close(send)
    os.waitpid(parent, 0)
    os.read(receive, 1)
    os.close(receive)
"""
)


def test_when_the_parent_has_ended_the_shared_probe_is_the_childs_own(python: Callable) -> None:
    done = python(f"""{ORPHAN}
def afterwards(before, mine):
    with pp.measure() as again:
        time.sleep(0.002)
    print(again.total > 0, again._probe is not mine._probe, repr(again._probe).endswith("running>"), again.unknown)
orphan(afterwards, signal.SIGKILL)
""")
    assert lines(done) == ["True True", "True True True {}"]


def test_or_it_raises_as_configured(python: Callable) -> None:
    done = python(f"""{ORPHAN}
os.environ["POWERPROBE_ORPHANS"] = "raise"
def afterwards(before, mine):
    pp.measure().begin()
orphan(afterwards, signal.SIGKILL)
os.environ["POWERPROBE_ORPHANS"] = "perhaps"
orphan(afterwards, signal.SIGKILL)
""")
    first, second, third, fourth = lines(done)
    assert (first, third) == ("True True", "True True")
    assert second.startswith("Unavailable the process that forked this one has ended")
    assert fourth.startswith("BadArgument POWERPROBE_ORPHANS must be")


def test_when_the_parent_has_ended_its_past_is_known_and_its_present_is_not(python: Callable) -> None:
    done = python(f"""{ORPHAN}
def afterwards(before, mine):
    start, end, joules = before
    probe = mine._probe
    deadline = time.monotonic() + 20
    while probe.stats()["channels"]["package-0"]["health"] == "ok" and time.monotonic() < deadline:
        probe._native.ask_until(pp.now_ns() + 10**8)
        time.sleep(0.001)
    again = probe.energy(start, end, "package-0")
    print(again.lower <= joules <= again.upper)
    probe.energy(start, pp.now_ns())
orphan(afterwards, signal.SIGTERM)
""")
    first, second, third = lines(done)
    assert (first, second) == ("True True", "True")
    assert third.startswith("ChannelGone package-0 ended")


def test_the_shared_probe_is_the_parents(python: Callable) -> None:
    done = python(f"""{FORK}
machine = conftest.Machine()
default.discover = machine.discover
with pp.measure() as m:
    pass
def child():
    with pp.measure() as mine:
        time.sleep(0.002)
    print(mine.total > 0.0, mine._probe is m._probe, samplers(1) > 0)
    print(all("read by process" in mine._probe.info(name).path for name in mine.channels))
fork(child)
with pp.measure() as again:
    pass
print(again.total >= 0.0, again._probe is m._probe)
""")
    assert lines(done) == ["True True True", "True", "child ended with 0", "True True"]


def test_a_fork_while_threads_measure_never_hangs(python: Callable) -> None:
    done = python(f"""{FORK}
stop = False
def work():
    while not stop:
        with probe.measure() as m:
            view = probe.view("package-0")
        probe.energy(before, m.start_ns)
        with probe.region("x"):
            pass
        probe.regions()
threads = [threading.Thread(target=work) for _ in range(3)]
for thread in threads: thread.start()
for _ in range(20):
    pid = os.fork()
    if pid == 0:
        with probe.measure() as m:
            pass
        probe.view("package-0")
        os._exit(0 if m.total >= 0 else 1)
    assert os.waitpid(pid, 0)[1] == 0
stop = True
for thread in threads: thread.join()
print("done")
""")
    assert lines(done) == ["done"]


def test_workers_of_multiprocessing_measure_and_send_back(python: Callable) -> None:
    done = python(f"""{FORK}
import multiprocessing, pickle
machine = conftest.Machine()
default.discover = machine.discover

def work(n):
    with pp.measure() as m:
        time.sleep(0.002)
    return m.total > 0.0, samplers(1) > 0

with pp.measure() as m:
    with multiprocessing.get_context("fork").Pool(3) as pool:
        print(set(pool.map(work, range(9))))
print(m.total > 0.0)
""")
    assert lines(done) == ["{(True, True)}", "True"]


def test_a_child_that_exits_as_usual_leaves_quietly(python: Callable) -> None:
    done = python(f"""{FORK}
for use in (False, True):
    if os.fork() == 0:
        if use:
            probe.measure().begin()
        sys.exit(0)
    print(os.wait()[1])
""")
    assert lines(done) == ["0", "0"]
