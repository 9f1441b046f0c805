# SPDX-License-Identifier: MIT
"""A benchmark on real kernel counters: a folder describes a `power` PMU with the number of the kernel's `msr` PMU, whose
time stamp counter then counts as joules, so many per second whatever is run (as in tests/cpp/one_watt.hpp)."""

from __future__ import annotations

from pathlib import Path

import pytest
from cli_machine import Machine

import powerprobe as pp

MSR_TYPE = Path("/sys/bus/event_source/devices/msr/type")
PMU = "sys/bus/event_source/devices/power"


@pytest.fixture
def found(tmp_path: Path) -> pp.Discovery:
    if not MSR_TYPE.exists():
        pytest.skip(f"this kernel has no msr PMU ({MSR_TYPE})")
    machine = Machine(tmp_path)
    for name, text in {
        "type": MSR_TYPE.read_text(),
        "cpumask": "0\n",
        "format/event": "config:0-7\n",
        "events/energy-pkg": "event=0x00",
        "events/energy-pkg.unit": "Joules",
        "events/energy-pkg.scale": "3e-10",
    }.items():
        machine.write(f"{PMU}/{name}", text)
    try:
        return pp.discover("rapl_perf", root=tmp_path)
    except pp.PowerprobeError as error:
        pytest.skip(f"the msr PMU may not be used here: {error.message}")


def busy() -> None:
    for _ in range(100):
        pass


def test_a_call_takes_as_many_joules_as_idling_for_as_long(found: pp.Discovery) -> None:
    with pp.Probe(discovery=found) as probe:
        result = pp.benchmark(busy, seconds=0.4, baseline=0.1, probe=probe)

    assert result.baseline is not None
    watts = result.baseline.watts["total"].value
    assert 0.2 < watts < 3.0  # a TSC between 0.7 and 10 GHz
    assert result.total.lower <= watts * result.seconds.value <= result.total.upper
    assert result.total.watts == pytest.approx(watts, rel=0.1)
    assert result.total.source == "rapl_perf"
    assert result.total.provenance == "measured"
