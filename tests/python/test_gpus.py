# SPDX-License-Identifier: MIT
"""What boards say of themselves while something is measured, by the real pynvml over a fake NVML and scripted counters."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from fake_nvml import Board, Fake, Fault, Hang, Process, Script, Throttle, library
from hypothesis import given
from hypothesis import strategies as st
from truth import MS, steady

import powerprobe as pp
from powerprobe import answers, gpus
from powerprobe.boards import in_words

UUID = "GPU-8932f937-d72c-4106-c12f-20bd9faed9f6"
POWER, THERMAL = 0, 1
POWER_CAP, THERMAL_SLOWDOWN, IDLE = 0x4, 0x40, 0x1


@pytest.fixture
def nvml(monkeypatch: pytest.MonkeyPatch) -> Iterator[Fake]:
    """The library that pynvml has loaded, with one board, and a thread that has asked it nothing yet."""
    pynvml = pytest.importorskip("pynvml")
    fake = library(Script(boards=[Board(uuid=UUID)]))
    monkeypatch.setattr(pynvml, "nvmlLib", fake.lib)
    monkeypatch.setattr(pynvml, "_nvmlGetFunctionPointer_cache", {})
    gpus._start_afresh()
    yield fake
    fake.release()
    gpus._start_afresh()


@pytest.fixture(autouse=True)
def always_fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpus, "_FRESH", 0.0)


def board(**more: object) -> Board:
    return Board(uuid=UUID, **more)


def gpu(**more: object) -> dict[str, object]:
    return steady(100, "gpu-0", uuid=UUID, pci="00000000:65:00.0", model="NVIDIA H100", **more)


@pytest.fixture
def probe() -> Iterator[pp.Probe]:
    with pp.Probe(sources=pp.replay([gpu(), steady(2)]), all_gpus=True) as running:
        yield running


def measured(probe: pp.Probe, meanwhile: Callable[[], object] = lambda: None) -> dict[str, object]:
    with probe.measure() as m:
        m._boards.told(30.0)  # the begin has been answered
        meanwhile()
    return m.gpus["gpu-0"]


# ---- A measurement


def test_a_board_tells_its_limits_clocks_and_driver(nvml: Fake, probe: pp.Probe) -> None:
    told = measured(probe)

    assert told == {
        "uuid": UUID,
        "pci": "00000000:65:00.0",
        "model": "NVIDIA H100",
        "driver": "550.54.15",
        "power_limit": 700.0,
        "power_limit_end": 700.0,
        "clocks": {"graphics": 1980, "sm": 1980, "memory": 2619},
        "throttled": False,
        "throttle_reasons": [],
        "mismatch": None,
        "unknown": "",
    }


def test_a_limit_that_changes_is_told_for_both_ends(nvml: Fake, probe: pp.Probe) -> None:
    lower = Script(boards=[board(limits_mw=(200_000, 700_000, 700_000, 350_000, 350_000))])
    told = measured(probe, lambda: nvml.play(lower))
    assert (told["power_limit"], told["power_limit_end"]) == (700.0, 350.0)


def test_what_holds_at_an_end_slows_the_board_down(nvml: Fake, probe: pp.Probe) -> None:
    nvml.play(Script(boards=[board(spans=[Throttle(mask=THERMAL_SLOWDOWN | IDLE, policy=7)])]))
    told = measured(probe)
    assert told["throttled"] is True
    assert told["throttle_reasons"] == ["thermal slowdown by the hardware"]


@pytest.mark.parametrize(("begin_ms", "end_ms"), [(100, 200), (200, 400)])
def test_each_end_counts(nvml: Fake, probe: pp.Probe, begin_ms: int, end_ms: int) -> None:
    nvml.play(Script(boards=[board(spans=[Throttle(from_ms=begin_ms, to_ms=end_ms, mask=POWER_CAP, policy=7)])]))
    nvml.freeze(150 * MS)
    assert measured(probe, lambda: nvml.freeze(300 * MS))["throttle_reasons"] == ["power cap"]


def test_what_was_in_between_the_counted_time_tells(nvml: Fake, probe: pp.Probe) -> None:
    nvml.play(Script(boards=[board(spans=[Throttle(from_ms=100, to_ms=200, mask=POWER_CAP, policy=POWER)])]))
    nvml.freeze(50 * MS)
    told = measured(probe, lambda: nvml.freeze(300 * MS))
    assert told["throttled"] is True
    assert told["throttle_reasons"] == ["power cap"]


def test_what_was_before_does_not_count(nvml: Fake, probe: pp.Probe) -> None:
    nvml.play(Script(boards=[board(spans=[Throttle(from_ms=100, to_ms=200, mask=POWER_CAP, policy=THERMAL)])]))
    nvml.freeze(250 * MS)
    told = measured(probe, lambda: nvml.freeze(300 * MS))
    assert told["throttled"] is False


def test_a_board_that_does_not_count_is_not_said_to_have_run_freely(nvml: Fake, probe: pp.Probe) -> None:
    nvml.play(Script(boards=[board(spans=[Fault(code=3, function="nvmlDeviceGetViolationStatus")])]))
    told = measured(probe)
    assert told["throttled"] is None
    assert told["throttle_reasons"] == []


@pytest.mark.parametrize(
    ("function", "key"),
    [
        ("nvmlDeviceGetEnforcedPowerLimit", "power_limit"),
        ("nvmlDeviceGetClockInfo", "clocks"),
    ],
)
def test_what_a_driver_does_not_answer_is_none(nvml: Fake, probe: pp.Probe, function: str, key: str) -> None:
    nvml.play(Script(boards=[board(spans=[Fault(code=3, function=function)])]))
    told = measured(probe)
    assert told[key] is None
    assert told["driver"] == "550.54.15"
    assert told["unknown"] == ""


def test_an_older_driver_names_the_reasons_otherwise(nvml: Fake, probe: pp.Probe) -> None:
    spans = [
        Fault(code=13, function="nvmlDeviceGetCurrentClocksEventReasons"),
        Throttle(mask=POWER_CAP, policy=7),
    ]
    nvml.play(Script(boards=[board(spans=spans)]))
    assert measured(probe)["throttle_reasons"] == ["power cap"]


def test_a_lost_board_says_so_and_what_is_known_stays(nvml: Fake, probe: pp.Probe) -> None:
    nvml.play(Script(boards=[Board(uuid="GPU-another")]))
    told = measured(probe)
    assert told["throttled"] is None and told["driver"] is None
    assert told["model"] == "NVIDIA H100"
    assert told["unknown"].startswith("NVML: ")


def test_a_driver_that_was_reloaded_is_asked_again(nvml: Fake, probe: pp.Probe) -> None:
    measured(probe)
    while nvml.lib.nvmlShutdown() == 0:  # as a reloaded driver: no client is initialized any more
        pass
    assert measured(probe)["unknown"] == ""


def test_without_the_package_it_says_what_to_install(probe: pp.Probe, monkeypatch: pytest.MonkeyPatch) -> None:
    gpus._start_afresh()
    monkeypatch.setitem(sys.modules, "pynvml", None)
    told = measured(probe)
    assert told["power_limit"] is None and told["throttled"] is None
    assert "nvidia-ml-py" in told["unknown"]
    json.dumps(told)


def test_without_a_uuid_there_is_nobody_to_ask(nvml: Fake) -> None:
    with pp.Probe(sources=pp.replay([steady(3, "gpu-0")]), all_gpus=True) as probe:
        assert "UUID" in measured(probe)["unknown"]


def test_without_a_board_nothing_is_loaded(python: Callable) -> None:
    done = python("""
        import sys
        import powerprobe as pp
        from truth import steady
        with pp.Probe(sources=pp.replay([steady()])) as probe:
            with probe.measure() as m:
                pass
            print(m.gpus, "gpus" in m.to_dict(), {"pynvml", "powerprobe.gpus"} & set(sys.modules))
    """)
    assert (done.stdout, done.stderr) == ("{} True set()\n", "")


def test_before_its_end_there_is_no_answer(nvml: Fake, probe: pp.Probe) -> None:
    with probe.measure() as m, pytest.raises(pp.OutOfRange):
        _ = m.gpus


# ---- A library that hangs


def test_a_call_that_hangs_holds_up_nobody(nvml: Fake, probe: pp.Probe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("powerprobe.measurement._TOLD", 0.01)
    monkeypatch.setattr(answers, "_PATIENCE", 0.05)
    nvml.play(Script(boards=[board(spans=[Hang(function="nvmlDeviceGetEnforcedPowerLimit")])]))
    with probe.measure() as m:
        pass
    assert m.joules["gpu-0"] >= 0.0
    assert m.gpus["gpu-0"]["power_limit"] is None
    assert m.gpus["gpu-0"]["unknown"] == "NVML has not answered yet"

    poll(gpus._thread.is_hung)
    with probe.measure() as later:
        pass
    assert later.gpus["gpu-0"]["throttled"] is None
    assert "hanging" in gpus.facts([UUID])[0]["unknown"]
    told: list[object] = []
    threading.Thread(target=lambda: told.append(m._boards.told(3600.0)), daemon=True).start()
    poll(lambda: bool(told))

    nvml.release()
    poll(lambda: not gpus._thread.is_hung())
    poll(lambda: m.gpus["gpu-0"]["unknown"] == "")
    assert m.gpus["gpu-0"]["power_limit"] == 700.0
    assert nvml.calls("nvmlDeviceGetEnforcedPowerLimit") == 1  # all that was asked meanwhile was the same question


def test_an_error_of_any_kind_is_an_answer() -> None:
    thread = answers.Answerer("the oracle")
    wrong = thread.ask(lambda: 1 // 0)
    right = thread.ask(lambda: 42)
    assert right.wait(30.0) and wrong.is_done()
    assert (wrong.value, wrong.reason) == (None, "integer division or modulo by zero")
    assert (right.value, right.reason) == (42, "")


def test_an_exit_does_not_wait_for_a_call_that_hangs(python: Callable) -> None:
    pytest.importorskip("pynvml")
    done = python(f"""
        import pynvml
        import powerprobe as pp
        from fake_nvml import Board, Hang, Script, library
        from powerprobe import gpus
        from truth import steady

        fake = library(Script(boards=[Board(uuid={UUID!r}, spans=[Hang()])]))
        pynvml.nvmlLib = fake.lib
        with pp.Probe(sources=pp.replay([steady(3, "gpu-0", uuid={UUID!r})]), all_gpus=True) as probe:
            with probe.measure() as m:
                pass
        while not fake.calls("nvmlDeviceGetHandleByUUID"):
            pass
        print("end")
    """)
    assert (done.returncode, done.stdout, done.stderr) == (0, "end\n", "")


def test_a_board_is_not_asked_more_often_than_it_has_to_be(
    nvml: Fake, probe: pp.Probe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpus, "_FRESH", 3600.0)
    for _ in range(20):
        told = measured(probe)
    assert told["driver"] == "550.54.15"
    assert nvml.calls("nvmlDeviceGetEnforcedPowerLimit") == 1


def test_a_child_of_a_fork_asks_for_itself(python: Callable) -> None:
    pytest.importorskip("pynvml")
    done = python(f"""
        import os, pynvml
        from fake_nvml import Board, Script, library
        from powerprobe import gpus
        from powerprobe.answers import Answer

        pynvml.nvmlLib = library(Script(boards=[Board(uuid={UUID!r})])).lib
        print(gpus.facts([{UUID!r}], 30.0)[0]["driver"], flush=True)
        gpus._states[{UUID!r}] = Answer("asked by the parent")  # which the child's thread will never hear of
        if (pid := os.fork()) == 0:
            assert gpus._state_of({UUID!r}).wait(30.0)
            print(gpus.facts([{UUID!r}], 30.0)[0]["driver"], flush=True)
            os._exit(0)
        os.waitpid(pid, 0)
    """)
    assert (done.stdout, done.stderr) == ("550.54.15\n550.54.15\n", "")


def poll(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


# ---- All that a board tells


def test_facts_of_a_board(nvml: Fake) -> None:
    processes = [Process(pid=4711, memory_bytes=1 << 30), Process(pid=12, memory_bytes=5, kind="graphics")]
    nvml.play(Script(boards=[board(processes=processes, spans=[Throttle(mask=POWER_CAP | IDLE, policy=7)])]))
    (told,) = gpus.facts([UUID], 30.0)

    assert told["model"] == "NVIDIA H100 80GB HBM3"
    assert (told["power_limit"], told["power_limit_default"]) == (700.0, 700.0)
    assert told["power_limit_range"] == [200.0, 700.0]
    assert told["clocks_max"] == {"graphics": 1980, "sm": 1980, "memory": 2619}
    assert told["reasons"] == ["idle", "power cap"]
    assert [(each["pid"], each["memory"]) for each in told["processes"]] == [(12, 5), (4711, 1 << 30)]
    assert (told["temperature"], told["persistence"], told["mig"]) == (40, True, False)
    assert told["unknown"] == ""
    json.dumps(told)


def test_every_answer_may_be_missing(nvml: Fake) -> None:
    pynvml = pytest.importorskip("pynvml")
    whole = gpus.facts([UUID], 30.0)[0]
    asked = {name for name in pynvml._nvmlGetFunctionPointer_cache if name.startswith("nvmlDeviceGet")}
    for name in asked - {"nvmlDeviceGetHandleByUUID"}:
        nvml.play(Script(boards=[board(spans=[Fault(code=999, function=name)])]))
        told = gpus.facts([UUID], 30.0)[0]
        assert told["unknown"] == ""
        assert set(told) == set(whole)
    assert len(asked) > 8


def test_reasons_in_words() -> None:
    assert in_words(0) == []
    assert in_words(0x1 | 0x80 | 1 << 40) == ["idle", "power brake"]


# ---- Counter against power readings

joules = st.floats(0.0, 1e6)
spans = st.floats(0.0, 1e3)


@given(joules, joules, spans, spans, spans, spans)
def test_only_what_no_bounds_explain_is_a_mismatch(
    counted: float, integrated: float, a: float, b: float, c: float, d: float
) -> None:
    counter_, readings = (counted, counted - a, counted + b), (integrated, integrated - c, integrated + d)
    found = gpus.mismatch(counter_, readings)
    apart = max(counter_[1] - readings[2], readings[1] - counter_[2])
    assert (found is not None) == (integrated > 0 and apart > 0.05 * integrated)
    if found is not None:
        assert found == pytest.approx((counted - integrated) / integrated)


@pytest.mark.parametrize(("other", "expected"), [(100, None), (104, None), (200, -0.5), (80, 0.25)])
def test_a_counter_that_disagrees_with_its_power_readings_is_remarked_on(
    nvml: Fake, other: int, expected: float | None
) -> None:
    readings = steady(other, "gpu-0-instant", provenance="integrated")
    with pp.Probe(sources=pp.replay([gpu(), readings]), all_gpus=True) as probe:
        assert probe.channels == ("gpu-0",)
        with probe.measure() as short:
            threading.Event().wait(0.2)
        with probe.measure() as m:
            threading.Event().wait(1.0)
    assert short.gpus["gpu-0"]["mismatch"] is None
    told = m.gpus["gpu-0"]["mismatch"]
    assert told == (expected if expected is None else pytest.approx(expected, abs=0.02))
    assert ("than its power readings" in str(m)) == (expected is not None)
    assert m.to_dict()["gpus"]["gpu-0"]["mismatch"] == told


def test_the_averaged_readings_are_compared_where_there_are_no_others(nvml: Fake) -> None:
    scripts = [gpu(), steady(50, "gpu-0-average", provenance="integrated"), steady(7, "vram-0")]
    with pp.Probe(sources=pp.replay(scripts), all_gpus=True) as probe:
        assert probe._readings_beside("gpu-0") == "gpu-0-average"
        assert probe._readings_beside("vram-0") is None
    scripts[0] = gpu(reading="instant", provenance="integrated")
    with pp.Probe(sources=pp.replay(scripts), all_gpus=True) as probe:
        assert probe._readings_beside("gpu-0") is None


def test_a_throttled_board_has_a_line_in_the_table(nvml: Fake, probe: pp.Probe) -> None:
    nvml.play(Script(boards=[board(spans=[Throttle(mask=POWER_CAP, policy=POWER)])]))
    with probe.measure() as m:
        pass
    poll(lambda: m.gpus["gpu-0"]["unknown"] == "")
    assert str(m).splitlines()[-1] == "gpu-0 was throttled: power cap (limit 700 W)"
