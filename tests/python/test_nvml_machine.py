# SPDX-License-Identifier: MIT
"""Programs and commands on a machine whose libnvidia-ml.so.1 is a fake: what they measure, what is hidden, and what is refused."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
from cli_machine import powerprobe
from fake_nvml import GPU, INSTANT, Board, Fault, Hang, Script, Updates, Variant, environment

A, B, C = (f"GPU-{text}-d72c-4106-c12f-20bd9faed9f6" for text in ("8932f937", "a932aaaa", "01234567"))
MIG = "MIG-1b2c3d4e-0000-5000-8000-00000000000"
SERVER = [Board(uuid=A), Board(uuid=B, migs=[MIG + "1", MIG + "2"]), Board(uuid=C)]
HARDWARE = Path(__file__).resolve().parents[1] / "hardware/test_nvml.py"
DROPPED = {"POWERPROBE_STRICT", "COLUMNS", "FORCE_COLOR", "NO_COLOR", "CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER"}


def with_boards(*boards: Board, script: Script | None = None, variant: Variant = "", **more: str) -> dict[str, str]:
    played = script or Script(boards=boards)
    usual = {name: value for name, value in environment(played, variant).items() if name not in DROPPED}
    return {**usual, **more}


def program(text: str, env: dict[str, str]) -> Any:
    """What the program prints last, as JSON."""
    command = [sys.executable, "-c", textwrap.dedent(text)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120, env=env)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return json.loads(done.stdout.splitlines()[-1])


# ---- measure()


def test_measure_finds_the_boards_by_itself() -> None:
    told = program(
        """
        import json, time
        import powerprobe as pp
        with pp.measure() as m:
            time.sleep(0.3)
        print(json.dumps({"default": list(m.channels), **m.to_dict()}))
        """,
        with_boards(*SERVER),
    )
    gpus = [name for name in told["default"] if name.startswith("gpu")]
    assert gpus == ["gpu-0", "gpu-1", "gpu-2"]
    assert told["unknown"] == {}
    for name in gpus:
        channel = told["channels"][name]
        assert (channel["provenance"], channel["source"]) == ("measured", "nvml")
        assert channel["lower"] <= 100.0 * told["seconds"] <= channel["upper"]
        assert channel["joules"] == pytest.approx(100.0 * told["seconds"], rel=0.1)
    assert [told["gpus"][name]["uuid"] for name in gpus] == [A, B, C]


@pytest.mark.parametrize(
    ("visible", "expected"),
    [
        (None, [0, 1, 2]),
        ("1", [1]),
        ("2,0", [0, 2]),
        (C, [2]),
        (f"{MIG}2", [1]),
        ("GPU-8932", [0]),
        ("", []),
        ("0,9,1", [0]),
    ],
)
def test_measure_leaves_out_what_cuda_does_not_see(visible: str | None, expected: list[int]) -> None:
    shown = {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}
    told = program(
        """
        import json
        import powerprobe as pp
        try:
            hidden = list(pp.measure(sources="nvml").begin().end().channels)
        except pp.Unavailable as error:
            hidden = [error.message, error.remedy]
        everything = pp.measure(sources="nvml", all_gpus=True).begin().end()
        named = pp.measure(sources="nvml", channels="gpu-2-instant").begin().end()
        print(json.dumps([hidden, list(everything.channels), list(named.channels)]))
        """,
        with_boards(*SERVER, **shown),
    )
    hidden, everything, named = told
    if expected:
        assert hidden == [f"gpu-{gpu}" for gpu in expected]
    else:
        assert "CUDA_VISIBLE_DEVICES='' hides every GPU" in hidden[0] and "all_gpus=True" in hidden[1]
    assert everything == ["gpu-0", "gpu-1", "gpu-2"]
    assert named == ["gpu-2-instant"]


@pytest.mark.parametrize(
    ("variant", "board", "provenance", "path"),
    [
        ("", Board(fields=(), field_missing=("call", 13)), "measured", "nvmlDeviceGetTotalEnergyConsumption"),
        ("without_fields", Board(energy=None), "integrated", "nvmlDeviceGetPowerUsage"),
        (
            "minimal",
            Board(compute_capability=(7, 0), energy=None, power_usage="instant", instant=Updates(period_us=20_000)),
            "integrated",
            "nvmlDeviceGetPowerUsage",
        ),
        ("", Board(energy=None, fields=((INSTANT, GPU),), power_usage="off"), "integrated", "nvml field 186"),
    ],
)
def test_an_old_driver_is_read_with_what_it_has(variant: Variant, board: Board, provenance: str, path: str) -> None:
    told = program(
        """
        import json, time
        import powerprobe as pp
        with pp.Probe(sources="nvml") as probe:
            time.sleep(0.5)
            with probe.measure() as m:
                time.sleep(0.5)
            info = probe.info("gpu-0")
            print(json.dumps([m.joules["gpu-0"] / m.seconds, info.provenance, info.path, m.unknown]))
        """,
        with_boards(board, variant=variant),
    )
    assert told[0] == pytest.approx(100.0, rel=0.1)
    assert told[1] == provenance
    assert told[2].startswith(path)
    assert told[3] == {}


# ---- Commands


def test_list_and_stat_and_doctor_find_the_boards() -> None:
    env = with_boards(*SERVER)
    listed = json.loads(powerprobe("list", "--sources", "nvml", "--json", env=env).stdout)
    assert {channel["name"] for channel in listed["channels"]} >= {"gpu-0", "gpu-1", "gpu-2", "gpu-0-instant"}
    assert [board["uuid"] for board in listed["boards"]] == [A, B, C]
    assert listed["boards"][1]["instances"] == [MIG + "1", MIG + "2"]
    by_name = {channel["name"]: channel for channel in listed["channels"]}
    assert "of which its 2 MIG instances are parts" in by_name["gpu-1"]["path"]
    assert powerprobe("list", env=env).stdout.count("gpu-1-instant") == 1

    done = powerprobe("stat", "--sources", "nvml", "--json", "--", "sleep", "0.3", env=env)
    assert done.returncode == 0
    result = json.loads(done.stderr)
    for name in ("gpu-0", "gpu-1", "gpu-2"):
        channel = result["channels"][name]
        assert channel["lower"] <= 100.0 * result["seconds"] <= channel["upper"]
        assert channel["joules"] == pytest.approx(100.0 * result["seconds"], rel=0.25)

    table = powerprobe("stat", "--sources", "nvml", "--", "sleep", "0.3", env=env)
    assert table.returncode == 0
    assert re.search(r"gpu-2 .*measured", table.stderr)

    doctor = powerprobe("doctor", "--sources", "nvml", env=env)
    assert doctor.returncode == 0
    assert doctor.stdout.startswith("3 energy counters and 6 power readings can be read here, by nvml.")
    assert "Every source can be used." in doctor.stdout


def test_stat_takes_hidden_boards_where_it_is_told_to() -> None:
    env = with_boards(*SERVER, CUDA_VISIBLE_DEVICES=B)
    few = json.loads(powerprobe("stat", "--sources", "nvml", "--json", "--", "true", env=env).stderr)
    every = json.loads(powerprobe("stat", "--sources", "nvml", "--all-gpus", "--json", "--", "true", env=env).stderr)
    assert set(few["gpus"]) == {"gpu-1"}
    assert set(every["gpus"]) == {"gpu-0", "gpu-1", "gpu-2"}


REFUSALS = {
    "the driver is not loaded": (
        Script(init_error=9),
        "the NVIDIA driver is not loaded",
        "sudo modprobe nvidia",
    ),
    "library and driver differ": (
        Script(init_error=18),
        "the library and the driver in the kernel are of different versions: the driver was updated while it was loaded",
        "sudo rmmod nvidia_drm",
    ),
    "no permission": (
        Script(init_error=4),
        "this process may not use the devices /dev/nvidia*",
        "usermod -aG video",
    ),
    "no boards": (Script(boards=()), "the NVIDIA driver finds no GPU", "lspci | grep -i nvidia"),
    "a lost board": (
        Script(boards=[Board(spans=[Fault(code=15)])]),
        "the GPU has fallen off the bus",
        "sudo dmesg | grep -i xid",
    ),
    "a board to be reset": (
        Script(boards=[Board(spans=[Fault(code=16)])]),
        "the GPU needs a reset before it can be used",
        "sudo nvidia-smi --gpu-reset -i 0",
    ),
    "a board that tells nothing": (
        Script(
            boards=[Board(name="GRID T4-8Q", energy=None, instant=None, average=None, power_usage="off", fields=())]
        ),
        "GPU 0 (GRID T4-8Q) has neither an energy counter nor a power reading",
        "measure on the host",
    ),
    "a board that hangs": (
        Script(boards=[Board(spans=[Hang()])]),
        "GPU 0 did not answer within 2 s",
        "nvidia-smi; sudo dmesg",
    ),
}


@pytest.mark.parametrize(("script", "reason", "remedy"), REFUSALS.values(), ids=REFUSALS)
def test_a_refusal_says_what_is_wrong_and_what_would_help(script: Script, reason: str, remedy: str) -> None:
    env = with_boards(script=script)
    data = powerprobe("doctor", "--sources", "nvml", "--json", env=env)
    told = json.loads(data.stdout)
    (refusal,) = told["refusals"]
    assert (data.returncode, told["can_measure"], told["used"]) == (1, False, [])
    assert refusal["reason"] == reason
    assert remedy in refusal["remedy"]
    assert told["summary"] == f"No energy counter can be read here: {reason}."

    shown = powerprobe("doctor", "--sources", "nvml", env=env)
    assert shown.returncode == 1
    assert " ".join(shown.stdout.split()).startswith(told["summary"])
    assert f"what helps: {refusal['remedy']}\n" in shown.stdout
    assert shown.stderr == ""

    for command in (["list"], ["stat", "--", "true"]):
        done = powerprobe(command[0], "--sources", "nvml", *command[1:], env=env)
        assert done.returncode == 3
        assert reason in " ".join(done.stderr.split())
        assert "Traceback" not in done.stderr


def test_without_a_library_there_is_no_driver(tmp_path: Path) -> None:
    for folder in ("sys", "dev", "proc"):
        (tmp_path / folder).mkdir()
    done = powerprobe("doctor", "--sources", "nvml", "--root", tmp_path, "--json")
    (refusal,) = json.loads(done.stdout)["refusals"]
    assert done.returncode == 1
    assert (refusal["reason"], refusal["path"]) == ("no NVIDIA driver here", str(tmp_path / "libnvidia-ml.so.1"))
    assert "--gpus all" in refusal["remedy"]

    (tmp_path / "proc/driver/nvidia").mkdir(parents=True)
    (tmp_path / "proc/driver/nvidia/version").write_text("NVRM version: ...\n")
    (refusal,) = json.loads(powerprobe("doctor", "--sources", "nvml", "--root", tmp_path, "--json").stdout)["refusals"]
    assert refusal["reason"] == "the NVIDIA driver is loaded, but its library is not to be found here"

    (tmp_path / "libnvidia-ml.so.1").write_text("not a library")
    (refusal,) = json.loads(powerprobe("doctor", "--sources", "nvml", "--root", tmp_path, "--json").stdout)["refusals"]
    assert refusal["reason"].startswith("the library cannot be loaded: ")


def test_one_board_of_three_that_cannot_be_read_is_told_beside_the_others() -> None:
    lost = Board(uuid=B, spans=[Fault(code=15)])
    env = with_boards(Board(uuid=A), lost, Board(uuid=C), CUDA_VISIBLE_DEVICES="2", CUDA_DEVICE_ORDER="PCI_BUS_ID")
    done = powerprobe("doctor", "--sources", "nvml", env=env)
    assert done.returncode == 0
    assert done.stdout.startswith("2 energy counters and 4 power readings can be read here")
    assert "CUDA_VISIBLE_DEVICES=2 hides gpu-0" in done.stdout
    assert "the GPU has fallen off the bus" in done.stdout
    result = json.loads(powerprobe("stat", "--sources", "nvml", "--json", "--", "true", env=env).stderr)
    assert set(result["gpus"]) == {"gpu-2"}


# ---- The tests for real boards


NVIDIA_SMI = """
import pynvml
pynvml.nvmlInit()
for i in range(pynvml.nvmlDeviceGetCount()):
    device = pynvml.nvmlDeviceGetHandleByIndex(i)
    print(f"{pynvml.nvmlDeviceGetUUID(device)}, {pynvml.nvmlDeviceGetPowerUsage(device) * 1e-3:.2f}")
"""


@pytest.mark.skipif(not HARDWARE.exists(), reason="the tests for hardware are not here")
def test_the_tests_for_hardware_pass_on_a_fake_board(tmp_path: Path) -> None:
    """Or they would be believed where they test nothing: only what a fake cannot have may be skipped."""
    pytest.importorskip("pynvml")
    wave = [(173_000, 120_000), (311_000, 260_000)]
    board = Board(compute_capability=(8, 9), waves={GPU: wave}, instant=Updates(period_us=100_000, phase_us=30_000))
    env = with_boards(board, board)
    smi = tmp_path / "nvidia-smi"
    smi.write_text(f"#!{sys.executable}\n{NVIDIA_SMI}")
    smi.chmod(0o700)
    env["PATH"] = os.pathsep.join([str(tmp_path), env["PATH"]])
    command = [sys.executable, "-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider", str(HARDWARE)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=300, env=env)
    assert done.returncode == 0, done.stdout
    skipped = re.findall(r"^SKIPPED \[\d+\] \S+: (.*)$", done.stdout, re.MULTILINE)
    assert [why for why in skipped if "neither torch nor cupy" not in why] == [], done.stdout
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed is not None and int(passed[1]) + len(skipped) == 8, done.stdout
