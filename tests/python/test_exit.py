# SPDX-License-Identifier: MIT
"""How a program ends: at once and quietly, whatever runs, and ctrl-C gets through every wait."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable

import pytest

SETUP = """
import sys, threading
import conftest, powerprobe as pp
from powerprobe import default
from truth import MS, Load, counter, steady

default.discover = conftest.Machine().discover
probe = pp.Probe(sources=pp.replay([steady()])).start()
"""


@pytest.mark.parametrize(
    "rest",
    [
        "",
        "view = probe.view('package-0')",
        "m = probe.measure().begin()",
        "with pp.measure() as m: pass",
        "with pp.measure() as m: pass\nview = m._probe.view('package-0')",
        "region = probe.region('open'); region.__enter__()",
        "threading.Thread(target=lambda: probe.energy(pp.now_ns(), pp.now_ns())).start()",
        "cycle = [probe]; cycle.append(cycle); del probe",
    ],
)
def test_a_program_ends_quietly_with_a_probe_that_runs(python: Callable, rest: str) -> None:
    done = python(f"{SETUP}\n{rest}\nprint('end')")
    assert (done.returncode, done.stdout, done.stderr) == (0, "end\n", "")


def test_a_daemon_thread_that_waits_does_not_hold_the_exit_up(python: Callable) -> None:
    done = python(f"""{SETUP}
waiting = threading.Event()
def wait():
    while True:
        waiting.set()
        probe.energy(pp.now_ns(), pp.now_ns())
threading.Thread(target=wait, daemon=True).start()
waiting.wait()
print("end")
""")
    assert (done.returncode, done.stdout) == (0, "end\n")


def test_sys_exit_inside_a_block_keeps_its_status(python: Callable) -> None:
    done = python(f"{SETUP}\nwith pp.measure(), probe.region('work'):\n    sys.exit(7)")
    assert (done.returncode, done.stderr) == (7, "")


def test_an_exception_inside_a_block_is_the_one_that_is_shown(python: Callable) -> None:
    done = python(
        f"{SETUP}\nwith pp.measure(), probe.measure(), probe.region('work'):\n    raise LookupError('of the body')"
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "LookupError: of the body"
    assert "During handling" not in done.stderr


def test_a_measurement_can_still_be_read_while_the_interpreter_exits(python: Callable) -> None:
    done = python(f"""{SETUP}

with pp.measure() as m:
    pass

class Last:
    def __del__(self):
        print(m.total >= 0.0, len(m.unknown))
last = Last()
""")
    assert (done.returncode, done.stdout, done.stderr) == (0, "True 0\n", "")


WAITS = {
    "energy": "probe.energy(pp.now_ns(), pp.now_ns(), settle=1e9)",
    "value": "m = probe.measure().begin().end(); m.total; m._values = None",
    "regions": "\n        with probe.region('work'): pass\n        probe.regions()",
}


@pytest.mark.parametrize("wait", WAITS.values(), ids=WAITS)
def test_ctrl_c_gets_through_a_wait(wait: str) -> None:
    # A counter that steps once an hour: whoever asks waits until the sampler gives up, again and again.
    program = f"""{SETUP}
import contextlib
probe = pp.Probe(sources=pp.replay([counter(Load([(1, 1)]), [0, 3600 * 1000 * MS])])).start()
print("waiting", flush=True)
while True:
    with contextlib.suppress(pp.SettleTimeout, pp.OutOfRange):
        {wait}
"""
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
    )
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "waiting\n"
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert err.splitlines()[-1] == "KeyboardInterrupt"
    assert process.returncode == -signal.SIGINT
