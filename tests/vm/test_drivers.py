# SPDX-License-Identifier: MIT
"""The real perf, MSR and powercap drivers over registers of exactly known energy: the truth lies in every bound."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

Ask = Callable[..., dict[str, Any]]

TWO_PACKAGES = ("--smp", "4,sockets=2,cores=2,threads=1")
# Ice Lake-SP as the drivers know it, with the units and domains of a server.
ICE_LAKE = ("--cpu", "Icelake-Server,model=106")
SERVER = "dram_esu=16,zero=pp0+pp1+psys"
SOURCES = ("rapl_perf", "rapl_msr", "rapl_powercap")


def check(answer: dict[str, Any], expected: set[str]) -> None:
    names = {name for name in answer if name not in ("roots", "disagreements")}
    assert expected <= names, answer
    for name in names:
        seen = answer[name]
        assert seen["intervals"] > 50, (name, seen)
        assert (seen["too_low"], seen["too_high"]) == (0, 0), (name, seen)
        quantum = 1.0 if name.startswith("psys") else 0.0
        assert abs(seen["joules"] - seen["true"]) <= 0.02 * seen["true"] + 2.0 * quantum, (name, seen)
        assert seen["stats"]["resets"] == 0, (name, seen)


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize(
    ("preset", "options", "expected"),
    [
        ("skx", TWO_PACKAGES, {"package-0", "package-1", "dram-0", "dram-1"}),
        ("spr", (), {"package-0", "dram-0"}),
        ("skl", (), {"package-0", "core-0", "dram-0"}),
        ("zen3", TWO_PACKAGES, {"package-0", "package-1"}),
    ],
)
def test_every_bound_contains_the_truth(
    ask: Ask, source: str, preset: str, options: tuple[str, ...], expected: set[str]
) -> None:
    check(ask(f"channels {source} '*' 4", "--preset", preset, *options), expected)


@pytest.mark.parametrize("source", SOURCES)
def test_a_wrap_is_not_seen(ask: Ask, source: str) -> None:
    # It wraps 33 s after the guest was switched on, which takes 10 s to boot and some to start.
    answer = ask(f"channels {source} package-0 40", "--rapl", "pkg=100,start_pkg=0xfcc00000")
    check(answer, {"package-0"})
    wraps = answer["package-0"]["stats"]["wraps"]
    assert wraps == (0 if source == "rapl_perf" else 1), answer  # perf unwraps by itself


@pytest.mark.parametrize("kernel", ["6.1", "trixie-backports"])
def test_hours_above_200_watts_with_nobody_asking(ask: Ask, kernel: str) -> None:
    # 1500 s of virtual time; the same counter unread says 713 J.
    answer = ask(
        "idle rapl_perf package-0 1500",
        "--smp",
        "1",
        "--icount",
        "shift=0,sleep=off",
        "--rapl",
        "pkg=350",
        "--kernel",
        kernel,
    )
    assert answer["state"] == ""
    assert answer["lower"] <= 1.000001 * answer["true"]
    assert answer["upper"] >= 0.999999 * answer["true"]
    assert abs(answer["joules"] / answer["true"] - 1.0) < 1e-3, answer
    assert answer["true"] > 500_000.0


def test_the_stamped_register_locates_jittering_edges(ask: Ask) -> None:
    answer = ask("channels rapl_msr package-0 6", *ICE_LAKE, "--rapl", f"{SERVER},stamp=1,jitter_us=700")
    check(answer, {"package-0"})
    seen = answer["package-0"]
    assert seen["stamped"] == 1.0
    # Polls are a millisecond apart or more; the stamps locate each step much better.
    assert seen["median_gap_ns"] < 400_000, seen


def test_without_stamps_the_register_is_not_believed(ask: Ask) -> None:
    assert ask("channels rapl_msr package-0 2", *ICE_LAKE, "--rapl", SERVER)["package-0"]["stamped"] == 0.0


def test_single_cores_of_amd(ask: Ask) -> None:
    answer = ask("channels rapl_msr core-* 4", "--preset", "zen3", "--smp", "2,sockets=1,cores=2,threads=1")
    check(answer, {"core-0-0", "core-0-1"})
    answer = ask("channels rapl_perf core-* 4", "--preset", "zen3", "--kernel", "trixie-backports")
    check(answer, {"core-0-0"})


@pytest.mark.parametrize("source", SOURCES)
def test_stat_agrees_with_the_power_that_is_set(guest: Any, source: str) -> None:
    done = guest(
        f"python3 -m powerprobe stat --json --sources {source} -o /share/stat.json -- sleep 2; cat /share/stat.json"
    )
    report = json.loads(done.stdout)
    package = report["channels"]["package-0"]
    watts = package["joules"] / report["seconds"]
    assert report["exit_status"] == 0
    assert package["lower"] <= package["joules"] <= package["upper"]
    assert abs(watts - 100.0) < 2.0, report  # the guest's default


def test_measure_adds_roots_only(ask: Ask) -> None:
    report = ask("measure 2", "--preset", "skl")
    inside = {"core-0", "uncore-0"} & report["channels"].keys()
    assert inside
    roots = [name for name in report["channels"] if name == "psys"] or ["package-0", "dram-0"]
    assert report["total"]["joules"] == pytest.approx(sum(report["channels"][name]["joules"] for name in roots))


def test_an_unprivileged_user_is_told_what_would_help(guest: Any) -> None:
    done = guest("chmod -R a+rX /share; su rig -c 'PYTHONPATH=/share/site python3 -m powerprobe doctor --json'")
    refusals = json.loads(done.stdout)["refusals"]
    by_source = {r["source"]: r for r in refusals}
    assert set(by_source) >= set(SOURCES), refusals
    assert all(by_source[source]["remedy"] for source in SOURCES), refusals
    done = guest("su rig -c 'PYTHONPATH=/share/site python3 -m powerprobe stat --strict -- true'")
    assert done.returncode == 3, done
    assert "Traceback" not in done.stderr


def test_a_machine_without_counters_estimates_and_says_so(guest: Any) -> None:
    done = guest("python3 -m powerprobe stat --json -- sleep 1", "--rapl", "off")
    report = json.loads(done.stderr[done.stderr.index("{") : done.stderr.rindex("}") + 1])
    assert report["total"]["provenance"] == "estimated"
    assert {r["source"] for r in report["refusals"]} >= set(SOURCES)
