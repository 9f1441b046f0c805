# SPDX-License-Identifier: MIT
"""`powerprobe list` and `powerprobe doctor` as subprocesses, on machines made of files."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from cli_machine import COMMAND, Load, Machine, as_nobody, environment, powerprobe
from rich.console import Console

from powerprobe.cli.tables import list_table

CHANNEL = {
    "name",
    "source",
    "domain",
    "path",
    "parent",
    "package",
    "die",
    "core",
    "gpu",
    "reading",
    "window_seconds",
    "provenance",
    "formula",
    "resolution_joules",
    "period_seconds",
    "expected_period_seconds",
    "read_seconds",
    "stamped",
    "others",
    "disagreement",
}
REFUSAL = {"source", "path", "reason", "remedy"}


def server(root: Path) -> Machine:
    machine = Machine(root)
    package = machine.zone("intel-rapl:0", "package-0")
    core = machine.zone("intel-rapl:0:0", "core")
    dram = machine.zone("intel-rapl:0:1", "dram")
    machine.files = {package: 30.0, core: 12.0, dram: 2.0}  # type: ignore[attr-defined]
    return machine


def test_list_shows_the_tree_of_channels(tmp_path: Path) -> None:
    machine = server(tmp_path)
    with Load(machine.files):  # type: ignore[attr-defined]
        done = powerprobe("list", "--root", tmp_path)

    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    package = next(line for line in lines if "package-0" in line)
    core = next(line for line in lines if "core-0" in line)
    assert re.search(
        r"package-0\s+rapl_powercap\s+measured\s+6\d\.\d uJ\s+(\d\S* [mu]s|not seen)\s+\S+ [nu]s\s+-", package
    )
    assert core.index("core-0") == package.index("package-0") + 2
    assert any("dram-0" in line for line in lines)


def test_list_json_has_the_documented_keys(tmp_path: Path) -> None:
    machine = server(tmp_path)
    with Load(machine.files):  # type: ignore[attr-defined]
        result = json.loads(powerprobe("list", "--root", tmp_path, "--json").stdout)

    assert set(result) == {"schema", "channels", "boards", "measured", "refusals"}
    assert result["schema"] == 1
    assert all(set(channel) == CHANNEL for channel in result["channels"])
    channels = {channel["name"]: channel for channel in result["channels"]}
    assert set(channels) == {"package-0", "core-0", "dram-0"}
    assert channels["core-0"]["parent"] == "package-0"
    assert channels["package-0"]["parent"] is None
    assert channels["package-0"]["path"].endswith("energy_uj")
    assert channels["package-0"]["resolution_joules"] == pytest.approx(2**-14, abs=1.1e-6)
    assert channels["package-0"]["period_seconds"] > 0.5e-3
    assert channels["package-0"]["expected_period_seconds"] == 1e-3
    assert channels["package-0"]["core"] is None
    assert result["refusals"]
    assert all(set(refusal) == REFUSAL for refusal in result["refusals"])


def test_the_period_that_was_seen_is_shown() -> None:
    info = SimpleNamespace(
        name="package-0", source="rapl_perf", provenance="measured", quantum_joules=2**-14, window_ns=0
    )
    choice = SimpleNamespace(channel=info, seen_period_ns=1_020_000, read_ns=830.0, others=["rapl_msr"])
    console = Console(width=200)
    with console.capture() as capture:
        console.print(list_table([choice], {"package-0": 0}))  # type: ignore[list-item]

    assert capture.get().split("\n")[1].split() == [
        *("package-0", "rapl_perf", "measured", "61.0", "uJ", "1.02", "ms", "830", "ns", "rapl_msr")
    ]


def test_what_stands_still_was_not_seen_to_move(tmp_path: Path) -> None:
    server(tmp_path)
    result = json.loads(powerprobe("list", "--root", tmp_path, "--json").stdout)

    assert all(channel["period_seconds"] is None for channel in result["channels"])
    assert "not seen" in powerprobe("list", "--root", tmp_path).stdout


def test_the_documents_name_every_key(tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / "docs/json.md").read_text()
    for key in CHANNEL | REFUSAL | {"can_measure", "summary", "used"}:
        assert f"`{key}`" in text


def test_list_takes_only_the_sources_named(tmp_path: Path) -> None:
    server(tmp_path)
    result = json.loads(powerprobe("list", "--root", tmp_path, "--sources", "rapl_powercap", "--json").stdout)
    assert {refusal["source"] for refusal in result["refusals"]} <= {"rapl_powercap"}

    done = powerprobe("list", "--sources", "rapl_magic")
    assert done.returncode == 2
    assert "rapl_magic" in done.stderr
    assert "rapl_powercap" in done.stderr


def test_doctor_says_what_is_used_and_succeeds(tmp_path: Path) -> None:
    server(tmp_path)
    done = powerprobe("doctor", "--root", tmp_path)

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("3 energy counters can be read here, by rapl_powercap.")
    assert "Not available:" in done.stdout


def test_doctor_without_a_counter_says_why_and_fails(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    done = powerprobe("doctor", "--root", tmp_path)

    assert done.returncode == 1
    assert done.stdout.startswith("No energy counter can be read here: ")
    assert "Used:\n" not in done.stdout or "estimated" in done.stdout
    # The command stands on one line, whole, to be copied.
    assert any(re.search(r"what helps: sudo modprobe intel_rapl_msr$", line) for line in done.stdout.splitlines())

    result = json.loads(powerprobe("doctor", "--root", tmp_path, "--json").stdout)
    assert set(result) == {"schema", "can_measure", "summary", "used", "remarks", "refusals"}
    assert result["can_measure"] is False
    assert result["summary"] == done.stdout.splitlines()[0]
    assert all(use["provenance"] == "estimated" for use in result["used"])

    machine.zone("intel-rapl:0", "package-0")
    assert json.loads(powerprobe("doctor", "--root", tmp_path, "--json").stdout)["can_measure"] is True


def test_doctor_in_a_virtual_machine_names_kvm(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    text = (tmp_path / "proc/cpuinfo").read_text()
    machine.write("proc/cpuinfo", text.replace("fpu", "fpu hypervisor"))
    (tmp_path / "sys/bus/event_source/devices").mkdir(parents=True)

    assert "KVM answers RAPL reads with 0" in powerprobe("doctor", "--root", tmp_path).stdout.splitlines()[0]


def test_doctor_names_missing_permission_first(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can run something as another user")
    machine = Machine(tmp_path)
    machine.zone("intel-rapl:0", "package-0").chmod(0o400)
    done = as_nobody("doctor", "--root", tmp_path)

    assert done.returncode == 1
    assert "may not read the counter" in done.stdout.splitlines()[0]
    refused = re.findall(r"^  (\w+)  /", done.stdout, re.MULTILINE)
    assert refused[0] == "rapl_powercap"
    assert len(refused) > 1
    assert re.search("what helps: .*chgrp", done.stdout)


def test_alike_refusals_are_shown_once(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    machine.zone("intel-rapl:0", "package-0")
    for i in range(3):
        machine.zone(f"intel-rapl:0:{i}", "mystery")
    text = powerprobe("doctor", "--root", tmp_path).stdout

    assert text.count("a zone called 'mystery'") == 1
    assert "(and 2 more like it)" in text


def test_a_pipe_that_closes_early_is_no_traceback(tmp_path: Path) -> None:
    server(tmp_path)
    process = subprocess.Popen(
        [*COMMAND, "list", "--root", str(tmp_path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment()
    )
    assert process.stdout is not None
    process.stdout.close()
    _, errors = process.communicate(timeout=30)
    assert errors == b""


@pytest.mark.parametrize("command", [[], ["list"], ["doctor"], ["stat"]])
def test_help_is_there(command: list[str]) -> None:
    done = powerprobe(*command, "--help")

    assert done.returncode == 0
    assert "Usage: powerprobe" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 100


def test_the_version_is_shown() -> None:
    done = powerprobe("--version")
    assert re.match(r"powerprobe, version \d+\.\d+", done.stdout)


def test_an_unknown_command_is_wrong_usage() -> None:
    assert powerprobe("measure").returncode == 2


@pytest.mark.parametrize("name", ["click", "rich"])
def test_without_its_libraries_it_says_what_to_install(name: str, tmp_path: Path) -> None:
    program = f"import sys; sys.modules[{name!r}] = None; from powerprobe.cli import main; sys.exit(main(['list']))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)

    assert done.returncode == 3
    assert done.stderr == (
        f"powerprobe: the command line needs the package {name}, which is not installed; install it with: "
        f"{sys.executable} -m pip install 'click>=8.1' 'rich>=13'\n"
    )


def test_what_to_install_is_what_the_package_declares() -> None:
    from powerprobe.cli import NEEDS

    text = (Path(__file__).parents[2] / "pyproject.toml").read_text()
    declared = re.search(r"^cli = (\[.*\])$", text, re.MULTILINE)
    assert declared is not None
    assert json.loads(declared[1]) == list(NEEDS.values())
