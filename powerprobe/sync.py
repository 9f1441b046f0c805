# SPDX-License-Identifier: MIT
"""Waiting until the devices have done what they were given: what `sync=` means. Runs in the thread that measures.

Libraries of GPUs return before the work is done, so a time stamp alone would lie before the energy that it is to enclose.
Nothing here imports such a library or makes it begin to use a device.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable, Iterable
from typing import Any, Literal, TypeAlias

Sync: TypeAlias = Callable[[], object] | Literal["auto"]


def as_callable(sync: Sync | None) -> Callable[[], object] | None:
    """What to call before a time stamp; None: nothing.

    Raises:
        TypeError: it is nothing of what sync may be.
    """
    if isinstance(sync, str) and sync == "auto":
        return synchronize
    if sync is None or callable(sync):
        return sync
    raise TypeError(f'sync must be a callable without arguments, "auto" or None, not {sync!r}')


def synchronize() -> None:
    """What "auto" calls: waits for the work of torch, cupy and jax, for each that this process has imported and put to use.

    torch and cupy: all streams of every device that has a context. jax: all arrays that are alive, on all platforms, and
    side effects of this thread; jax has no way to wait for results that nobody holds any more.

    Raises:
        What the libraries raise, which may be the error of work that was given to them before.
    """
    # Attributes that are there only once a module is complete: another thread may be importing it right now.
    if (cuda := getattr(sys.modules.get("torch"), "cuda", None)) is not None:
        _synchronize_torch(cuda)
    if (cuda := getattr(sys.modules.get("cupy"), "cuda", None)) is not None:
        _synchronize_cupy(cuda)
    if hasattr(sys.modules.get("jax"), "live_arrays"):
        _synchronize_jax(sys.modules["jax"])


def _synchronize_torch(cuda: Any) -> None:
    if not cuda.is_initialized():
        return
    devices = devices_with_context()
    for device in range(cuda.device_count()) if devices is None else devices:
        cuda.synchronize(device)


def _synchronize_cupy(cuda: Any) -> None:
    # cupy does not say whether it was used. Without NVIDIA's driver it was not, unless it is cupy for AMD's.
    devices: Iterable[int] | None = devices_with_context()
    if devices is None:
        devices = range(cuda.runtime.getDeviceCount()) if cuda.runtime.is_hip else ()
    for device in devices:
        cuda.Device(device).synchronize()


def _synchronize_jax(jax: Any) -> None:
    # All public ways to ask which platforms there are initialize them.
    bridge = sys.modules["jax._src.xla_bridge"]
    if not bridge.backends_are_initialized():
        return
    jax.effects_barrier()
    for platform in list(bridge.backends()):
        for array in jax.live_arrays(platform):
            try:
                array.block_until_ready()
            except RuntimeError:
                if not array.is_deleted():  # else another thread gave it away meanwhile
                    raise


def devices_with_context() -> list[int] | None:
    """The CUDA devices that this process has put to use, as its libraries number them. None: NVIDIA's driver is not loaded.

    To synchronize any other would make it a context, of hundreds of megabytes.
    """
    driver = _loaded_driver()
    if driver is None:
        return None
    count, device, flags, is_active = (ctypes.c_int() for _ in range(4))
    if driver.cuDeviceGetCount(ctypes.byref(count)) != 0:  # not initialized, so nobody has a context
        return []
    found = []
    for i in range(count.value):
        if (
            driver.cuDeviceGet(ctypes.byref(device), i) == 0
            and driver.cuDevicePrimaryCtxGetState(device, ctypes.byref(flags), ctypes.byref(is_active)) == 0
            and is_active.value
        ):
            found.append(i)
    return found


_DRIVER = "libcuda.so.1"
_driver: Any = None  # once loaded it stays


def _loaded_driver() -> Any:
    global _driver
    if _driver is None:
        try:
            _driver = ctypes.CDLL(_DRIVER, mode=os.RTLD_NOLOAD)
        except OSError:
            return None
    return _driver
