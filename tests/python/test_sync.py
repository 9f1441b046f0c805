# SPDX-License-Identifier: MIT
"""sync: called before the time stamps, and what "auto" does with libraries that stand in for torch, cupy and jax."""

from __future__ import annotations

import asyncio
import functools
import gc
import subprocess
import sys
import threading
import types
import weakref
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest
from conftest import Machine

import powerprobe as pp
from powerprobe import sync as sync_module
from powerprobe.sync import synchronize


class Clock:
    """A sync that notes when it was called and when it returned; raises at the calls that it was told to."""

    def __init__(self, *fails_at: int) -> None:
        self.times: list[tuple[int, int]] = []
        self._fails_at = fails_at

    def __call__(self) -> None:
        begin = pp.now_ns()
        self.times.append((begin, pp.now_ns()))
        if len(self.times) in self._fails_at:
            raise OSError(f"call {len(self.times)} of sync")


class Released:
    """Counts how often a probe watched and was let go."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.begun = self.ended = 0
        watch, unwatch = pp.Probe._watch, pp.Probe._unwatch

        def watching(probe: pp.Probe, since_ns: int) -> None:
            self.begun += 1
            watch(probe, since_ns)

        def unwatching(probe: pp.Probe) -> None:
            self.ended += 1
            unwatch(probe)

        monkeypatch.setattr(pp.Probe, "_watch", watching)
        monkeypatch.setattr(pp.Probe, "_unwatch", unwatching)


# ---- Measurements


def assert_around(clock: Clock, start_ns: int, inside: list[int], end_ns: int) -> None:
    """Each call of sync is over before its stamp, and the second begins after the body."""
    (_, begin_done), (end_called, end_done) = clock.times
    times = [begin_done, start_ns, *inside, end_called, end_done, end_ns]
    assert times == sorted(times)


def test_a_block_syncs_before_each_of_its_two_stamps(probe: pp.Probe) -> None:
    clock = Clock()
    with probe.measure(sync=clock) as m:
        inside = [pp.now_ns()]
    assert_around(clock, m.start_ns, inside, m.end_ns)


def test_it_syncs_before_it_asks_for_the_steps_of_the_counters(
    probe: pp.Probe, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    begin = pp.Probe._begin
    monkeypatch.setattr(pp.Probe, "_begin", lambda self, names: order.append("begin") or begin(self, names))
    with probe.measure(sync=lambda: order.append("sync")):
        order.append("body")
    assert order == ["sync", "begin", "body", "sync"]


def test_the_shared_probe_syncs_too(machine: Machine) -> None:
    clock = Clock()
    with pp.measure(sync=clock) as m:
        assert len(clock.times) == 1
    assert_around(clock, m.start_ns, [], m.end_ns)


def test_begin_and_end_sync_and_an_end_only_once(probe: pp.Probe) -> None:
    clock = Clock()
    m = probe.measure(sync=clock).begin()
    inside = [pp.now_ns()]
    assert m.end() is m
    m.end()
    assert_around(clock, m.start_ns, inside, m.end_ns)


def test_nested_each_has_its_own(probe: pp.Probe) -> None:
    outer, inner = Clock(), Clock()
    with probe.measure(sync=outer) as a, probe.measure(sync=inner) as b:
        pass
    times = [
        outer.times[0][1],
        a.start_ns,
        inner.times[0][0],
        b.start_ns,
        inner.times[1][1],
        b.end_ns,
        outer.times[1][0],
    ]
    assert times == sorted(times)


def test_every_thread_syncs_for_itself(probe: pp.Probe) -> None:
    threads: list[int] = []
    shared = probe.measure(sync=lambda: threads.append(threading.get_ident()))
    own: list[int] = []
    barrier = threading.Barrier(4)

    def work() -> None:
        own.append(threading.get_ident())
        for _ in range(10):
            barrier.wait()
            with shared, probe.region("work", sync=lambda: threads.append(threading.get_ident())):
                barrier.wait()

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert sorted(threads) == sorted(own * 40)
    assert len(probe.regions()) == 40


def test_functions_sync_around_each_call(probe: pp.Probe) -> None:
    clock = Clock()
    reports: list[pp.Measurement] = []
    inside: list[int] = []

    @probe.measure(sync=clock, report=reports.append)
    def work() -> str:
        inside.append(pp.now_ns())
        return "done"

    assert clock.times == []
    assert work() == "done"
    assert_around(clock, reports[0].start_ns, inside, reports[0].end_ns)
    work()
    assert len(clock.times) == 4


def test_async_functions_sync_around_all_that_they_await(probe: pp.Probe) -> None:
    clock = Clock()
    reports: list[pp.Measurement] = []
    inside: list[int] = []

    @probe.measure(sync=clock, report=reports.append)
    async def work() -> str:
        inside.append(pp.now_ns())
        await asyncio.sleep(0)
        inside.append(pp.now_ns())
        return "done"

    assert asyncio.run(work()) == "done"
    assert_around(clock, reports[0].start_ns, inside, reports[0].end_ns)


# ---- What raises


def test_when_the_first_sync_raises_nothing_was_begun(probe: pp.Probe, monkeypatch: pytest.MonkeyPatch) -> None:
    released = Released(monkeypatch)
    clock = Clock(1)
    with pytest.raises(OSError, match="call 1"), probe.measure(sync=clock):
        pytest.fail("the body must not run")
    with pytest.raises(OSError, match="call 1"):
        probe.measure(sync=Clock(1)).begin()
    gc.collect()
    assert (released.begun, released.ended, len(clock.times)) == (0, 0, 1)


def test_when_the_last_sync_raises_it_has_ended_all_the_same(probe: pp.Probe, monkeypatch: pytest.MonkeyPatch) -> None:
    released = Released(monkeypatch)
    reports: list[pp.Measurement] = []
    clock = Clock(2)
    with pytest.raises(OSError, match="call 2"), probe.measure(sync=clock, report=reports.append) as m:
        inside = [pp.now_ns()]
    assert_around(clock, m.start_ns, inside, m.end_ns)
    assert m.total >= 0.0
    assert reports == []

    begun = probe.measure(sync=Clock(2)).begin()
    with pytest.raises(OSError, match="call 2"):
        begun.end()
    assert begun.end().end_ns >= begun.start_ns
    assert (released.begun, released.ended) == (2, 2)


def test_when_the_last_sync_raises_the_functions_raise_and_do_not_report(probe: pp.Probe) -> None:
    reports: list[pp.Measurement] = []

    @probe.measure(sync=Clock(2), report=reports.append)
    def work() -> None: ...

    @probe.measure(sync=Clock(2), report=reports.append)
    async def work_async() -> None: ...

    with pytest.raises(OSError, match="call 2"):
        work()
    with pytest.raises(OSError, match="call 2"):
        asyncio.run(work_async())
    assert reports == []


def test_what_the_body_raises_wins_and_nobody_waits_for_the_device(
    probe: pp.Probe, monkeypatch: pytest.MonkeyPatch
) -> None:
    released = Released(monkeypatch)
    clocks = [Clock(2) for _ in range(3)]

    @probe.measure(sync=clocks[1])
    def fails() -> None:
        raise LookupError("of the body")

    @probe.measure(sync=clocks[2])
    async def fails_async() -> None:
        raise LookupError("of the body")

    with pytest.raises(LookupError, match="of the body"), probe.measure(sync=clocks[0]) as m:
        raise LookupError("of the body")
    with pytest.raises(LookupError, match="of the body"):
        fails()
    with pytest.raises(LookupError, match="of the body"):
        asyncio.run(fails_async())
    assert [len(clock.times) for clock in clocks] == [1, 1, 1]
    assert m.total >= 0.0
    assert (released.begun, released.ended) == (3, 3)


@pytest.mark.parametrize("sync", ["torch", "", 7, b"auto", ["auto"], object()])
def test_what_cannot_be_called_is_a_type_error_that_names_sync(probe: pp.Probe, sync: Any) -> None:
    with pytest.raises(TypeError, match="sync must be a callable"):
        pp.measure(sync=sync)
    with pytest.raises(TypeError, match="sync must be a callable"):
        probe.measure(sync=sync)
    with pytest.raises(TypeError, match="sync must be a callable"):
        probe.region("work", sync=sync)
    with pytest.raises(TypeError, match="sync must be a callable"):
        probe.region("work", 1.0, sync)


# ---- Regions


def test_a_region_syncs_before_each_of_its_two_stamps(probe: pp.Probe) -> None:
    for make in (
        lambda clock: probe.region("work", 3, clock),
        lambda clock: probe.region("work", items=3, sync=clock),
        lambda clock: probe.region(sync=clock, items=3, name="work"),
    ):
        clock = Clock()
        with make(clock):
            inside = [pp.now_ns()]
        regions = probe.regions()
        assert_around(clock, int(regions.start_ns[-1]), inside, int(regions.end_ns[-1]))
    assert regions.names == ("work",) * 3
    assert regions.items.tolist() == [3.0] * 3


def test_none_is_no_sync(probe: pp.Probe) -> None:
    with probe.region("a", 1.0, None), probe.region("b", sync=None), probe.measure(sync=None) as m:
        pass
    assert probe.regions().names == ("b", "a")
    assert m.total >= 0.0


def test_a_region_whose_first_sync_raises_was_not_begun_and_can_be_tried_again(probe: pp.Probe) -> None:
    clock = Clock(1)
    region = probe.region("work", sync=clock)
    with pytest.raises(OSError, match="call 1"), region:
        pytest.fail("the body must not run")
    assert len(probe.regions()) == 0
    with region, probe.region("inside"):
        pass
    assert probe.regions().names == ("inside", "work")
    assert probe.regions().depth.tolist() == [1, 0]
    assert len(clock.times) == 3


def test_a_region_whose_last_sync_raises_has_ended_all_the_same(probe: pp.Probe) -> None:
    clock = Clock(2)
    with pytest.raises(OSError, match="call 2"), probe.region("work", sync=clock):
        inside = [pp.now_ns()]
    regions = probe.regions()
    assert regions.names == ("work",)
    assert_around(clock, int(regions.start_ns[0]), inside, int(regions.end_ns[0]))
    with probe.region("next"):
        pass
    assert probe.regions().depth.tolist() == [0, 0]


def test_a_region_whose_body_raises_does_not_wait_for_the_device(probe: pp.Probe) -> None:
    clock = Clock(2)
    with pytest.raises(LookupError, match="of the body"), probe.region("work", sync=clock):
        raise LookupError("of the body")
    assert len(clock.times) == 1
    assert probe.regions().names == ("work",)


def test_a_region_that_is_not_open_does_not_sync_at_its_exit(probe: pp.Probe) -> None:
    clock = Clock()
    region = probe.region("work", sync=clock)
    with pytest.raises(RuntimeError, match="not open"):
        region.__exit__(None, None, None)
    assert clock.times == []


def test_a_sync_may_mark_regions_and_may_not_enter_its_own(probe: pp.Probe) -> None:
    def inside() -> None:
        with probe.region("wait"):
            pass

    with probe.region("work", sync=inside):
        pass
    assert probe.regions().names == ("wait", "wait", "work")
    region = probe.region("itself", sync=lambda: region.__enter__())
    with pytest.raises(RuntimeError, match="already open"):
        region.__enter__()


def test_a_region_holds_its_callable_once_and_lets_it_go(probe: pp.Probe) -> None:
    class Wait:
        def __call__(self) -> object:
            return self  # what is returned is given back

    wait = Wait()
    before = sys.getrefcount(wait)
    for _ in range(100):
        with probe.region("work", sync=wait):
            assert sys.getrefcount(wait) == before + 1
        with pytest.raises(LookupError), probe.region("work", sync=wait):
            raise LookupError
        probe.region("never entered", sync=wait)
        with pytest.raises(TypeError):
            probe.region(7, sync=wait)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="items"):
            probe.region("work", -1, wait)
    assert sys.getrefcount(wait) == before


def test_a_measurement_that_has_ended_holds_no_longer_what_it_waited_for(probe: pp.Probe) -> None:
    class Array: ...

    array = Array()
    alive = weakref.ref(array)
    m = probe.measure(sync=functools.partial(id, array)).begin()
    m.end()
    del array
    gc.collect()
    assert alive() is None


def test_who_keeps_a_region_that_waits_in_its_own_method_is_freed(probe: pp.Probe) -> None:
    class Step:
        def __init__(self) -> None:
            self.region = probe.region("step", sync=self.wait)

        def wait(self) -> None: ...

    step = Step()
    with step.region:
        pass
    alive = weakref.ref(step)
    del step
    gc.collect()
    assert alive() is None
    assert probe.regions().names == ("step",)


# ---- "auto"


LIBRARIES = ("torch", "cupy", "jax", "jax._src.xla_bridge")


class NoImports:
    """Who imports a library of devices fails, whether it is installed or not."""

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> None:
        assert name.partition(".")[0] not in LIBRARIES, f"{name} is imported"


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the libraries are told, none of which is imported at first; NVIDIA's driver is not loaded."""
    for name in LIBRARIES:
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setattr(sys, "meta_path", [NoImports, *sys.meta_path])
    monkeypatch.setattr(sync_module, "devices_with_context", lambda: None)
    return []


def module(monkeypatch: pytest.MonkeyPatch, name: str, **attributes: object) -> None:
    made = types.ModuleType(name)
    vars(made).update(attributes)
    monkeypatch.setitem(sys.modules, name, made)


def torch(monkeypatch: pytest.MonkeyPatch, calls: list[str], devices: int = 2, initialized: bool = True) -> None:
    def never() -> bool:
        raise AssertionError("asking this costs a search for devices")

    cuda = types.SimpleNamespace(
        is_available=never,
        is_initialized=lambda: initialized,
        device_count=lambda: devices,
        synchronize=lambda device: calls.append(f"torch {device}"),
    )
    module(monkeypatch, "torch", cuda=cuda)


def cupy(monkeypatch: pytest.MonkeyPatch, calls: list[str], devices: int = 2, is_hip: bool = False) -> None:
    class Device:
        def __init__(self, number: int) -> None:
            self.synchronize = lambda: calls.append(f"cupy {number}")

    runtime = types.SimpleNamespace(is_hip=is_hip, getDeviceCount=lambda: devices)
    module(monkeypatch, "cupy", cuda=types.SimpleNamespace(Device=Device, runtime=runtime))


class Array:
    def __init__(self, calls: list[str], name: str, deleted: bool = False, fails: bool = False) -> None:
        self._calls, self._name, self._deleted, self._fails = calls, name, deleted, fails

    def is_deleted(self) -> bool:
        return self._deleted

    def block_until_ready(self) -> None:
        if self._deleted or self._fails:
            raise RuntimeError(f"{self._name} cannot be waited for")
        self._calls.append(self._name)


def jax(
    monkeypatch: pytest.MonkeyPatch, calls: list[str], arrays: dict[str, list[Array]], initialized: bool = True
) -> None:
    def backends() -> dict[str, object]:
        assert initialized, "this would initialize them"
        return dict.fromkeys(arrays)

    def live_arrays(platform: str) -> list[Array]:
        assert initialized, "this would initialize them"
        return arrays[platform]

    module(monkeypatch, "jax._src.xla_bridge", backends_are_initialized=lambda: initialized, backends=backends)
    module(monkeypatch, "jax", live_arrays=live_arrays, effects_barrier=lambda: calls.append("jax effects"))


def test_auto_without_a_library_does_nothing_and_imports_nothing(probe: pp.Probe, calls: list[str]) -> None:
    with probe.measure(sync="auto") as m, probe.region("work", sync="auto"):
        pass
    assert m.total >= 0.0
    assert len(probe.regions()) == 1


def blocks(probe: pp.Probe) -> list[Callable[[], AbstractContextManager[object]]]:
    return [
        lambda: probe.measure(sync="auto"),
        lambda: probe.region("work", sync="auto"),
        lambda: probe.region("work", 1.0, "auto"),
    ]


def test_auto_waits_for_every_library_that_is_in_use_at_both_ends(
    probe: pp.Probe, monkeypatch: pytest.MonkeyPatch, calls: list[str]
) -> None:
    torch(monkeypatch, calls)
    cupy(monkeypatch, calls, devices=1, is_hip=True)
    jax(monkeypatch, calls, {"cpu": [Array(calls, "cpu a")], "cuda": [Array(calls, "cuda b"), Array(calls, "cuda c")]})
    all_of_them = ["torch 0", "torch 1", "cupy 0", "jax effects", "cpu a", "cuda b", "cuda c"]
    for block in blocks(probe):
        calls.clear()
        with block():
            assert calls == all_of_them
            calls.clear()
        assert calls == all_of_them


def test_auto_looks_for_libraries_when_it_is_called(
    probe: pp.Probe, monkeypatch: pytest.MonkeyPatch, calls: list[str]
) -> None:
    with probe.measure(sync="auto"), probe.region("work", sync="auto"):
        assert calls == []
        torch(monkeypatch, calls, devices=1)
    assert calls == ["torch 0", "torch 0"]


def test_auto_leaves_alone_what_is_imported_and_not_in_use(monkeypatch: pytest.MonkeyPatch, calls: list[str]) -> None:
    torch(monkeypatch, calls, initialized=False)
    cupy(monkeypatch, calls)  # for NVIDIA's driver, which is not loaded
    jax(monkeypatch, calls, {"cuda": [Array(calls, "cuda a")]}, initialized=False)
    synchronize()
    assert calls == []


def test_auto_leaves_alone_what_is_only_half_imported(monkeypatch: pytest.MonkeyPatch, calls: list[str]) -> None:
    for name in LIBRARIES:
        module(monkeypatch, name)
    synchronize()
    assert calls == []


@pytest.mark.parametrize("in_use", [[], [1], [0, 3]])
def test_auto_waits_only_for_devices_that_have_a_context(
    monkeypatch: pytest.MonkeyPatch, calls: list[str], in_use: list[int]
) -> None:
    monkeypatch.setattr(sync_module, "devices_with_context", lambda: in_use)
    torch(monkeypatch, calls, devices=4)
    cupy(monkeypatch, calls, devices=4)
    synchronize()
    assert calls == [f"torch {i}" for i in in_use] + [f"cupy {i}" for i in in_use]


def test_an_array_that_another_thread_gave_away_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch, calls: list[str]
) -> None:
    jax(monkeypatch, calls, {"cuda": [Array(calls, "a", deleted=True), Array(calls, "b")]})
    synchronize()
    assert calls == ["jax effects", "b"]


def test_what_a_library_raises_is_raised(probe: pp.Probe, monkeypatch: pytest.MonkeyPatch, calls: list[str]) -> None:
    jax(monkeypatch, calls, {"cuda": [Array(calls, "a", fails=True)]})
    for block in blocks(probe):
        with pytest.raises(RuntimeError, match="a cannot be waited for"), block():
            pytest.fail("the body must not run")


class Driver:
    """Stands for libcuda: devices by whether they have a primary context; not initialized: none."""

    def __init__(self, *contexts: bool, error: int = 0) -> None:
        self._contexts, self._error = contexts, error

    def cuDeviceGetCount(self, count: Any) -> int:  # noqa: N802
        count._obj.value = len(self._contexts)
        return self._error

    def cuDeviceGet(self, device: Any, i: int) -> int:  # noqa: N802
        device._obj.value = i
        return 0

    def cuDevicePrimaryCtxGetState(self, device: Any, flags: Any, is_active: Any) -> int:  # noqa: N802
        is_active._obj.value = int(self._contexts[device.value])
        return 0


def test_the_driver_says_which_devices_have_a_context(monkeypatch: pytest.MonkeyPatch) -> None:
    for driver, devices in (
        (Driver(True, False, True), [0, 2]),
        (Driver(False, False), []),
        (Driver(), []),
        (Driver(True, error=3), []),  # CUDA_ERROR_NOT_INITIALIZED
    ):
        monkeypatch.setattr(sync_module, "_driver", driver)
        assert sync_module.devices_with_context() == devices


def test_the_driver_is_not_loaded_to_ask_it(python: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    # Stand-ins: a library that is there and not loaded, and one that every process has.
    done = python("""
        from powerprobe import sync
        for sync._DRIVER in ("libBrokenLocale.so.1", "libc.so.6"):
            print(sync._loaded_driver() is None)
        print("libBrokenLocale" in open("/proc/self/maps").read())
        import ctypes
        ctypes.CDLL("libBrokenLocale.so.1")  # it is there
    """)
    assert (done.stdout.split(), done.returncode) == (["True", "False", "False"], 0), done.stderr
