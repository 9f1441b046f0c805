# SPDX-License-Identifier: MIT
"""The MSR source over registers that are served one by one: AMD's, which overlap in a file, and Intel's stamped 0x612."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from fuse_msr import MsrFs, Staircase, Table, why_not

import powerprobe as pp

_REASON = why_not()
pytestmark = pytest.mark.skipif(_REASON is not None, reason=_REASON or "")

AMD_UNIT, AMD_CORE, AMD_PACKAGE = 0xC0010299, 0xC001029A, 0xC001029B
UNIT, PACKAGE, STAMPED, DRAM = 0x606, 0x611, 0x612, 0x619


def machine(root: Path, cpuinfo: dict[str, object], cores: list[int]) -> None:
    """The files beside the registers: a processor of one package whose CPUs are on these cores."""
    (root / "proc").mkdir(parents=True)
    (root / "proc/cpuinfo").write_text("".join(f"{key}\t: {value}\n" for key, value in cpuinfo.items()))
    (root / "proc/self").mkdir()
    folder = root / "sys/devices/system/cpu"
    folder.mkdir(parents=True)
    (folder / "online").write_text(f"0-{len(cores) - 1}\n")
    for cpu, core in enumerate(cores):
        topology = folder / f"cpu{cpu}/topology"
        topology.mkdir(parents=True)
        for name, value in {"physical_package_id": 0, "die_id": 0, "core_id": core}.items():
            (topology / name).write_text(f"{value}\n")


AMD = {"vendor_id": "AuthenticAMD", "cpu family": 25, "model": 1, "flags": "fpu msr rapl"}
ICE_LAKE = {"vendor_id": "GenuineIntel", "cpu family": 6, "model": 106, "flags": "fpu msr"}


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[object]:
    served: list[MsrFs] = []

    def start(cpuinfo: dict[str, object], cores: list[int], table: Table) -> Path:
        machine(tmp_path, cpuinfo, cores)
        served.append(MsrFs(tmp_path / "dev", table))
        return tmp_path

    yield start
    for fs in served:
        fs.close()


def check(probe: pp.Probe, watts: dict[str, float]) -> None:
    """Constant loads: every interval, however short, has its energy between its bounds."""
    marks = []
    for _ in range(60):
        marks.append(pp.now_ns())
        time.sleep(0.003)
    starts = np.repeat(marks[:40], 4)
    ends = starts + np.tile([100_000, 1_500_000, 20_000_000, 55_000_000], 40)
    assert set(probe.channels) == set(watts)
    for name, power in watts.items():
        energies = probe.energy(starts, ends, name)
        truth = power * (ends - starts) * 1e-9
        assert (energies.lower <= truth + 1e-9).all(), name
        assert (truth <= energies.upper + 1e-9).all(), name
        assert probe.stats()["channels"][name]["resets"] == 0


def test_amd_packages_and_single_cores(serve) -> None:  # type: ignore[no-untyped-def]
    origin = time.monotonic_ns()
    package, first, second = (Staircase(milliwatts, 16, origin) for milliwatts in (90_000, 8_000, 8_800))
    table: dict[tuple[int, int], object] = {}
    for cpu, core in enumerate((first, second, first, second)):  # CPUs 2 and 3 are the siblings of 0 and 1
        table |= {(cpu, AMD_UNIT): 0xA1003, (cpu, AMD_PACKAGE): package.now, (cpu, AMD_CORE): core.now}
    root = serve(AMD, [4, 12, 4, 12], table)

    with pp.Probe(channels="*", discovery=pp.discover("rapl_msr", root=root)) as probe:
        check(probe, {"package-0": 90.0, "core-0-4": 8.0, "core-0-12": 8.8})


def test_a_counter_that_wraps_under_way(serve) -> None:  # type: ignore[no-untyped-def]
    # 2^-16 J at 90 W: 5.9 million counts a second, so the wrap comes half a second after the start.
    wrapping = Staircase(90_000, 16, time.monotonic_ns(), start=2**32 - 3_000_000)
    root = serve(AMD, [0], {(0, AMD_UNIT): 0xA1003, (0, AMD_PACKAGE): wrapping.now})

    found = pp.discover("rapl_msr", root=root)
    with pp.Probe(channels="package-0", discovery=found) as probe:
        start = pp.now_ns()
        while not probe.stats()["channels"]["package-0"]["wraps"]:
            time.sleep(0.01)
        end = pp.now_ns()
        energy = probe.energy(start, end, "package-0")
    truth = 90.0 * (end - start) * 1e-9
    assert energy.lower <= truth <= energy.upper
    assert energy.upper < 1.5 * truth + 1.0


def test_intels_stamped_register_says_when_it_moved(serve) -> None:  # type: ignore[no-untyped-def]
    origin = time.monotonic_ns()
    package, dram = Staircase(60_000, 14, origin, period_ns=1_040_000), Staircase(12_000, 16, origin)
    table = {
        (0, UNIT): 0xA0E03,
        (0, PACKAGE): package.now,
        (0, STAMPED): package.stamped_now,
        (0, DRAM): dram.now,
    }
    root = serve(ICE_LAKE, [0], table)

    with pp.Probe(discovery=pp.discover("rapl_msr", root=root)) as probe:
        assert probe.info("package-0").stamped
        assert not probe.info("dram-0").stamped
        check(probe, {"package-0": 60.0, "dram-0": 12.0})
        edges = probe.view("package-0")[-50:]
        # Each update was within (t - gap, t]: they came every 1.04 ms of the same clock.
        since = (edges["t_ns"] - origin) % package.period_ns
        assert (since < edges["gap_ns"].astype(np.int64)).all()
        assert np.median(edges["gap_ns"]) < package.period_ns / 2  # though it is looked at once a period only


def test_a_filtered_counter_is_not_believed_about_its_stamps(serve) -> None:  # type: ignore[no-untyped-def]
    package = Staircase(60_000, 14, time.monotonic_ns())
    table = {
        (0, UNIT): 0xA0E03,
        (0, PACKAGE): package.now,
        (0, STAMPED): package.stamped_now,
        (0, 0x10A): 1 << 10,
        (0, 0xBC): 1,
    }
    root = serve(ICE_LAKE, [0], table)

    found = pp.discover("rapl_msr", root=root)

    (info,) = (channel for channel in found.channels if channel.name == "package-0")
    assert not info.stamped
    assert any("filter" in refusal.reason for refusal in found.refusals)
