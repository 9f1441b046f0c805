# SPDX-License-Identifier: MIT
"""`list`, `doctor` and `stat` on a machine with GPUs: a folder with a fake NVML in it."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from cli_machine import Machine, environment, powerprobe, recording
from fake_nvml import GPU, GPU_IS_LOST, Board, Energy, Fault, Hang, Process, Script, Throttle
from fake_nvml import environment as with_nvml
from rich.console import Console
from truth import MS, Load, counter, steady

import powerprobe as pp
from powerprobe.cli.gpus import boards_table, disagreements, merged, seen_table
from powerprobe.cli.seen import Seen, reading_times, seen
from powerprobe.windows import Window

Play = Callable[..., dict[str, str]]

POWER_CAP, IDLE = 0x4, 0x1
A, B = "GPU-8932f937-d72c-4106-c12f-20bd9faed9f6", "GPU-01234567-d72c-4106-c12f-20bd9faed9f6"


@pytest.fixture
def play(tmp_path: Path) -> Play:
    """Puts boards into the machine at tmp_path; returns the environment in which a command finds them."""
    Machine(tmp_path)

    def plays(*boards: Board, **more: str) -> dict[str, str]:
        env = with_nvml(Script(boards=boards))
        shutil.copy(Path(env["LD_LIBRARY_PATH"].split(os.pathsep)[0]) / "libnvidia-ml.so.1", tmp_path)
        names = ("LD_LIBRARY_PATH", "FAKE_NVML_SCRIPT")
        return environment(**{name: env[name] for name in names}, **more)

    return plays


def boards() -> tuple[Board, Board]:
    throttle = Throttle(mask=POWER_CAP | IDLE, policy=0)
    return (
        Board(uuid=A, spans=[throttle], processes=[Process(pid=4711, memory_bytes=5)]),
        Board(uuid=B, name="NVIDIA A100-SXM4-80GB"),
    )


# ---- list


def test_list_shows_boards_their_readings_and_what_nvml_tells(tmp_path: Path, play: Play) -> None:
    pytest.importorskip("pynvml")
    done = powerprobe("list", "--root", tmp_path, env=play(*boards()))

    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    board = next(line for line in lines if re.match(r" *gpu-0 +nvml", line))
    instant = next(line for line in lines if "gpu-0-instant" in line)
    assert instant.index("gpu-0-instant") == board.index("gpu-0") + 2
    assert re.search(r"integrated +1\.00 uJ +\S+.* 25\.0 ms ", instant)
    assert re.search(
        r"gpu-0 +NVIDIA H100 80GB HBM3 +00000000:\S+ +GPU-8932f937 +700 W +1980 of 1980 MHz +idle, power cap +4711\S* +550",
        done.stdout,
    )
    assert re.search(r"gpu-1 +NVIDIA A100-SXM4-80GB +\S+ +GPU-01234567 .* nothing +none ", done.stdout)


def test_list_without_pynvml_shows_what_is_known_and_what_to_install(tmp_path: Path, play: Play) -> None:
    env = play(*boards())
    (tmp_path / "pynvml.py").write_text("raise ModuleNotFoundError(\"No module named 'pynvml'\", name='pynvml')\n")
    env["PYTHONPATH"] = os.pathsep.join(filter(None, [str(tmp_path), env.get("PYTHONPATH")]))
    done = powerprobe("list", "--root", tmp_path, env=env)

    assert (done.returncode, done.stderr) == (0, "")
    assert re.search(r"gpu-0 +NVIDIA H100 80GB HBM3 +\S+ +GPU-8932f937$", done.stdout, re.MULTILINE)
    assert done.stdout.count("nvidia-ml-py") == 1


LIST = {
    *("name", "model", "pci", "uuid", "instances", "visible", "driver", "power_limit", "power_limit_default"),
    *(
        "power_limit_range",
        "clocks",
        "clocks_max",
        "reasons",
        "processes",
        "temperature",
        "persistence",
        "mig",
        "unknown",
    ),
}
MEASURED = {
    *("name", "period_seconds", "period_low_seconds", "period_high_seconds", "step_joules", "window_seconds"),
    *("window_low_seconds", "window_high_seconds", "window_unknown", "mismatch"),
}
STAT = {
    *("uuid", "pci", "model", "driver", "power_limit", "power_limit_end", "clocks", "throttled", "throttle_reasons"),
    *("mismatch", "unknown"),
}


def test_list_json_has_the_documented_keys(tmp_path: Path, play: Play) -> None:
    pytest.importorskip("pynvml")
    env = play(*boards(), CUDA_VISIBLE_DEVICES="1", CUDA_DEVICE_ORDER="PCI_BUS_ID")
    result = json.loads(powerprobe("list", "--root", tmp_path, "--json", env=env).stdout)

    first, second = result["boards"]
    assert set(first) == set(second) == LIST
    assert (first["name"], first["uuid"], first["visible"], second["visible"]) == ("gpu-0", A, False, True)
    assert first["power_limit_range"] == [200.0, 700.0]
    assert result["measured"] is None
    channels = {channel["name"]: channel for channel in result["channels"]}
    instant = channels["gpu-0-instant"]
    assert (instant["gpu"], instant["reading"], instant["window_seconds"]) == (0, "instant", 0.025)
    assert (channels["gpu-1"]["reading"], channels["gpu-1"]["window_seconds"]) == (None, None)


def test_the_documents_name_every_key() -> None:
    text = (Path(__file__).parents[2] / "docs/json.md").read_text()
    for key in LIST | MEASURED | STAT | {"boards", "measured", "gpus", "remarks", "gpu", "reading"}:
        assert f"`{key}`" in text


def test_a_machine_without_boards_has_none(tmp_path: Path) -> None:
    Machine(tmp_path).zone("intel-rapl:0", "package-0")
    result = json.loads(powerprobe("list", "--root", tmp_path, "--json").stdout)
    assert result["boards"] == []
    assert "board" not in powerprobe("list", "--root", tmp_path).stdout


# ---- list --measure


def test_measure_sees_how_boards_move_and_over_what_they_average(tmp_path: Path, play: Play) -> None:
    chance = random.Random(1)
    wave = [(chance.randint(50_000, 500_000), chance.randint(80_000, 600_000)) for _ in range(50)]
    board = Board(uuid=A, waves={GPU: wave}, energy=Energy(period_us=50_000))
    env = play(board)
    done = powerprobe("list", "--measure", "--json", "--root", tmp_path, env=env)
    measured = {each["name"]: each for each in json.loads(done.stdout)["measured"]}

    assert list(measured) == ["gpu-0", "gpu-0-instant", "gpu-0-average"]
    assert all(set(each) == MEASURED for each in measured.values())
    assert measured["gpu-0"]["period_seconds"] == pytest.approx(0.05, rel=0.2)
    assert measured["gpu-0"]["window_seconds"] is measured["gpu-0"]["window_unknown"] is None
    average = measured["gpu-0-average"]
    assert average["window_low_seconds"] <= 1.0 <= average["window_high_seconds"]
    assert average["window_seconds"] == pytest.approx(1.0, rel=0.15)
    instant = measured["gpu-0-instant"]
    assert instant["window_low_seconds"] <= 0.025 <= instant["window_high_seconds"] < 0.3
    assert measured["gpu-0"]["mismatch"] is None


def test_measure_says_where_the_power_does_not_tell(tmp_path: Path, play: Play) -> None:
    done = powerprobe("list", "--measure", "1.5", "--root", tmp_path, env=play(Board(uuid=A)))
    assert (done.returncode, done.stderr) == (0, "")
    row = next(line for line in done.stdout.splitlines() if "not told" in line)
    assert re.search(r"gpu-0-instant .* not told: the power did not change meanwhile", row)


def test_measure_without_a_board_is_an_error(tmp_path: Path) -> None:
    Machine(tmp_path).zone("intel-rapl:0", "package-0")
    done = powerprobe("list", "--measure", "1", "--root", tmp_path)
    assert done.returncode == 3
    assert "no GPU" in done.stderr


@pytest.mark.parametrize("text", ["0", "-1", "soon"])
def test_a_time_that_is_none_is_wrong_usage(text: str, tmp_path: Path) -> None:
    assert powerprobe("list", f"--measure={text}", "--root", tmp_path).returncode == 2


def test_a_counter_that_disagrees_with_its_readings_is_seen() -> None:
    scripts = [
        steady(100, "gpu-0"),
        steady(150, "gpu-0-instant", provenance="integrated"),
        steady(5, "vram-0", reading="instant", provenance="integrated"),
    ]
    with pp.Probe("*", pp.replay(scripts), period=1e-3) as probe:
        start = pp.now_ns()
        while pp.now_ns() < start + 300 * MS:
            probe.energy(start, pp.now_ns())
        by_name = {name: seen(probe, name) for name in probe.channels}
    board = by_name["gpu-0"]
    assert board.mismatch == pytest.approx(-1 / 3, abs=0.02)
    assert disagreements([board]) == ["gpu-0: the counter says 33.3% less than the power readings"]
    assert board.step == pytest.approx(0.1, rel=0.01)
    assert by_name["gpu-0-instant"].mismatch is None
    assert isinstance(by_name["gpu-0-instant"].window, str)
    assert by_name["vram-0"].window is not None


def test_a_board_without_a_counter_has_nothing_to_compare_with() -> None:
    scripts = [
        steady(100, "gpu-0", reading="instant", provenance="integrated"),
        steady(100, "gpu-0-average", provenance="integrated"),
    ]
    with pp.Probe("*", pp.replay(scripts), period=1e-3) as probe:
        start = pp.now_ns()
        while pp.now_ns() < start + 50 * MS:
            probe.energy(start, pp.now_ns())
        assert {seen(probe, name).window for name in probe.channels} == {"its board has no counter to compare with"}


def test_what_does_not_move_was_not_seen() -> None:
    with pp.Probe("*", pp.replay([counter(Load([(1, 1)]), [0], name="gpu-0")]), period=1e-3) as probe:
        assert seen(probe, "gpu-0") == Seen("gpu-0", None, None, None, None)
    assert "not seen" in shown(seen_table([Seen("gpu-0", None, None, None, None)]))


def test_a_look_that_saw_no_step_is_none() -> None:
    edges = np.zeros(5, pp.EDGE_DTYPE)
    edges["t_ns"] = np.array([10, 20, 30, 40, 50]) * MS
    edges["joules"] = [0.0, 0.0, 1.0, 1.0, 2.0]
    probe = SimpleNamespace(
        channels=("gpu-0",),
        info=lambda _: SimpleNamespace(gpu=0, reading=""),
        view=lambda _: edges,
        _readings_beside=lambda _: None,
    )
    told = seen(probe, "gpu-0")  # type: ignore[arg-type]
    assert told == Seen("gpu-0", pytest.approx((0.02, 0.02, 0.02)), 1.0, None, None)


def test_readings_are_put_back_to_where_they_were_made() -> None:
    times = np.array([0, 100, 200]) * MS
    shown_ = SimpleNamespace(path="nvml field 186, 0", window_ns=25 * MS, update_period_ns=100 * MS)
    kept = SimpleNamespace(path="nvmlDeviceGetSamples, 0", window_ns=24 * MS, update_period_ns=20 * MS)
    assert (reading_times(times, shown_) / MS).tolist() == [[62.5], [162.5]]
    assert (reading_times(times, kept) / MS).tolist() == [[12, 112], [112, 212]]


def shown(table: object) -> str:
    console = Console(width=200)
    with console.capture() as capture:
        console.print(table)
    return capture.get()


def test_what_was_seen_as_a_table() -> None:
    rows = [
        Seen("gpu-0", (0.02, 0.1, 0.11), 12.5, None, None),
        Seen("gpu-0-instant", (0.09, 0.1, 0.11), 12.5, Window(0.025, 0.01, 0.06), None),
        Seen("gpu-0-average", (0.09, 0.1, 0.11), 12.5, "too few", None),
    ]
    text = shown(seen_table(rows))
    assert re.search(r"gpu-0 +100 ms +20\.0 ms … 110 ms +12\.5 J +-\s*\n", text)
    assert "25.0 ms [10.0 ms, 60.0 ms]" in text
    assert "not told: too few" in text


def test_a_board_that_tells_little_has_dashes() -> None:
    told = dict.fromkeys(LIST) | {"name": "gpu-0", "unknown": "", "power_limit": 300.0, "power_limit_default": 350.0}
    told["processes"] = [{"pid": n, "name": f"/usr/bin/train{n}", "memory": None} for n in range(5)]
    assert shown(boards_table([told])).splitlines()[1].split() == [
        *("gpu-0", "-", "-", "-", "300", "of", "350", "W", "-", "-"),
        *("0", "train0,", "1", "train1,", "2", "train2", "and", "2", "more", "-"),
    ]


# ---- doctor


def test_doctor_says_what_is_hidden_and_what_sees_only_part_of_the_time(tmp_path: Path, play: Play) -> None:
    env = play(*boards(), CUDA_VISIBLE_DEVICES="-1")
    done = powerprobe("doctor", "--root", tmp_path, env=env)

    assert done.returncode == 0
    assert done.stdout.startswith("2 energy counters and ")
    assert "power readings can be read here, by nvml." in done.stdout
    assert "CUDA_VISIBLE_DEVICES=-1 hides gpu-0 and gpu-1: " in done.stdout
    assert "The sensor of gpu-0 and gpu-1 looks at the power only part of the time" in done.stdout
    remarks = json.loads(powerprobe("doctor", "--root", tmp_path, "--json", env=env).stdout)["remarks"]
    assert len(remarks) == 2
    shown_ = json.loads(powerprobe("doctor", "--root", tmp_path, "--json", env=play(*boards())).stdout)["remarks"]
    assert len(shown_) == 1


def test_doctor_has_the_refusals_of_nvml(tmp_path: Path) -> None:
    Machine(tmp_path)
    refusals = json.loads(powerprobe("doctor", "--root", tmp_path, "--json").stdout)["refusals"]
    assert [each["path"] for each in refusals if each["source"] == "nvml"] == [str(tmp_path / "libnvidia-ml.so.1")]


# ---- stat


def test_stat_says_that_a_board_was_throttled(tmp_path: Path, play: Play) -> None:
    pytest.importorskip("pynvml")
    env = play(*boards())
    done = powerprobe("stat", "--root", tmp_path, "--", "sleep", "0.3", env=env)
    assert re.search(r"^ +gpu-0 was throttled: power cap \(limit 700 W\)$", done.stderr, re.MULTILINE)
    assert "gpu-1 was throttled" not in done.stderr
    assert "No energy counter of the processor" in done.stderr

    result = json.loads(powerprobe("stat", "-r2", "--json", "--root", tmp_path, "--", "true", env=env).stderr)
    assert set(result["gpus"]) == {"gpu-0", "gpu-1"}
    assert set(result["gpus"]["gpu-0"]) == set(result["runs"][0]["gpus"]["gpu-1"]) == STAT
    assert result["gpus"]["gpu-0"]["throttle_reasons"] == ["power cap"]


def test_a_board_that_does_not_answer_is_said_to_be_missing_and_those_of_others_are_not(
    tmp_path: Path, play: Play
) -> None:
    lost, of_others = Board(spans=[Fault(code=GPU_IS_LOST)]), Board(spans=[Fault(code=4)])
    env = play(Board(), lost, of_others)
    sentence = "GPU 1 is missing here: the GPU has fallen off the bus"
    done = powerprobe("stat", "--root", tmp_path, "--", "true", env=env)
    assert sentence in done.stderr and "GPU 2" not in done.stderr
    assert "may not use the devices" not in done.stderr  # no reason why the processor has no counter
    assert re.search(r"command .*part of cpu$", done.stderr, re.MULTILINE)
    assert sentence in powerprobe("list", "--root", tmp_path, env=env).stdout
    bench = ["bench", "-r", "2", "--baseline", "0", "--export-json", "-", "--root", str(tmp_path), "true"]
    assert sentence in json.loads(powerprobe(*bench, env=env).stdout)["warnings"]


def test_why_a_board_is_unknown_is_said(tmp_path: Path, play: Play) -> None:
    env = play(Board(), Board(spans=[Hang(from_ms=600)]), Board(spans=[Fault(from_ms=600, code=GPU_IS_LOST)]))
    done = powerprobe("stat", "--root", tmp_path, "--", "sleep", "1.5", env=env)
    assert "gpu-1 is unknown: no edge came in time: reading it hangs (Connection timed out)" in done.stderr
    assert "gpu-2 is unknown: the channel ended before: reading it fails (No such device)" in done.stderr


def test_stat_without_boards_has_none(tmp_path: Path) -> None:
    done = powerprobe("stat", "--json", "--replay", recording(tmp_path, {"package-0": 3.0}), "--", "true")
    assert json.loads(done.stderr)["gpus"] == {}


def of_run(**more: object) -> dict[str, dict[str, object]]:
    usual = {"power_limit": 700.0, "throttled": False, "throttle_reasons": [], "mismatch": None, "unknown": ""}
    return {"gpu-0": {**usual, **more}}


def test_what_happened_in_any_run_happened() -> None:
    calm = of_run()
    hot = of_run(throttled=True, throttle_reasons=["power cap"], mismatch=-0.2, power_limit=350.0)
    assert merged([calm, calm]) == calm
    one = merged([calm, hot, of_run(mismatch=0.1, throttle_reasons=["power brake"], throttled=True), calm])["gpu-0"]
    assert (one["throttled"], one["throttle_reasons"]) == (True, ["power brake", "power cap"])
    assert (one["mismatch"], one["power_limit"]) == (-0.2, 700.0)
    assert merged([calm, of_run(throttled=None, unknown="hangs")])["gpu-0"]["throttled"] is None
    assert merged([of_run(throttled=None, unknown="hangs"), calm])["gpu-0"]["unknown"] == "hangs"


def test_bench_warns_of_boards_that_were_throttled(tmp_path: Path, play: Play) -> None:
    pytest.importorskip("pynvml")
    pytest.importorskip("scipy")
    bench = ["bench", "-r", "2", "--baseline", "0", "--export-json", "-", "--root", str(tmp_path), "sleep 0.1"]
    result = json.loads(powerprobe(*bench, env=play(*boards())).stdout)
    assert "1: gpu-0 was throttled: power cap (limit 700 W)" in result["warnings"]
    assert set(result["commands"][0]["gpus"]["gpu-0"]) == STAT
