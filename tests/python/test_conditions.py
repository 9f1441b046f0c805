# SPDX-License-Identifier: MIT
"""What is noticed of a machine made of files."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from powerprobe.conditions import Conditions, megahertz, worries

CALM = Conditions(seconds=100.0, own_seconds=5.0, busy_seconds=50.0, stolen_seconds=1.0, throttled=7)
LATER = dataclasses.replace(CALM, seconds=110.0, own_seconds=14.5, busy_seconds=60.0)


def write(root: Path, name: str, text: str) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.fixture
def root(tmp_path: Path) -> str:
    write(tmp_path, "proc/stat", "cpu  100 20 300 9999 50 6 7 8 0 0\ncpu0 1 1 1 1 1 1 1 1 1 1\n")
    for cpu in (0, 11):
        folder = f"sys/devices/system/cpu/cpu{cpu}"
        write(tmp_path, f"{folder}/thermal_throttle/core_throttle_count", f"{cpu}\n")
        write(tmp_path, f"{folder}/thermal_throttle/package_throttle_count", "2\n")
        write(tmp_path, f"{folder}/cpufreq/scaling_cur_freq", f"{1_000_000 + cpu}\n")
    return str(tmp_path)


def test_counts_come_from_all_cpus(root: str) -> None:
    now = Conditions.now(root)

    assert now.busy_seconds == pytest.approx(4.33)
    assert now.stolen_seconds == pytest.approx(0.08)
    assert now.throttled == 15
    assert now.own_seconds > 0.0
    assert megahertz(root) == pytest.approx(1000.011)


def test_what_a_machine_does_not_tell_is_not_known(tmp_path: Path) -> None:
    now = Conditions.now(str(tmp_path))
    assert (now.busy_seconds, now.stolen_seconds, now.throttled) == (None, None, None)
    assert megahertz(str(tmp_path)) is None
    assert worries(now, Conditions.now(str(tmp_path)), [None, None]) == []

    write(tmp_path, "proc/stat", "garbage\n")
    write(tmp_path, "sys/devices/system/cpu/cpu0/thermal_throttle/core_throttle_count", "many\n")
    assert Conditions.now(str(tmp_path)).throttled is None


def test_a_calm_machine_gives_no_worries() -> None:
    assert worries(CALM, LATER, [2000.0, 2050.0, None]) == []


def test_each_disturbance_is_named_with_its_figure() -> None:
    def only(frequencies: tuple[float, ...] = (), **after: object) -> str:
        (sentence,) = worries(CALM, dataclasses.replace(LATER, **after), frequencies)  # type: ignore[arg-type]
        return sentence

    assert "slowed down for their temperature 3 times" in only(throttled=10)
    assert "2000 to 3000 MHz" in only((2000.0, 3000.0, 2500.0))
    assert "other processes used 0.25 CPUs" in only(busy_seconds=62.0)
    assert "the hypervisor gave 0.30 CPUs" in only(stolen_seconds=4.0)
