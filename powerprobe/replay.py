# SPDX-License-Identifier: MIT
"""The scripted source: counters that play what a program or a file says, for tests of code that measures."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

from . import _core
from .errors import BadArgument


def replay(
    channels: str | os.PathLike[str] | Iterable[Mapping[str, object]],
    faults: Iterable[Mapping[str, object]] | None = None,
    rate: float | None = None,
    stepped: bool | None = None,
    start_ns: int | None = None,
) -> _core.Source:
    """A source for one Probe whose counters are known beforehand, to the count.

        watt = {"name": "package-0", "joules_per_count": 1e-6, "steps": [(ms * 1_000_000, ms * 1000) for ms in range(5000)]}
        with Probe(sources=replay([watt])) as probe: ...

    Args:
        channels: one dict for each counter. It must have

            - `name`: "package-0", "dram-1", "core-0", "psys", "gpu-0", "gpu-0-instant", ...: the domain, then the package or
              the GPU (of a single core, also the core; of a power reading, which). `domain`, `package`, `die`, `core`, `gpu`
              and `reading` are taken from it unless they are given.
            - `joules_per_count`
            - `steps`: (time_ns, count) or (time_ns, count, stamp), the first at time 0, times rising: from time_ns on
              the raw counter shows count, the last for good. Wraps and resets are counts that fall.

            and can have any other attribute of `ChannelInfo` that describes a counter: `modulus`, `update_period_ns`,
            `stale_ns`, `max_watts`, `quantum_joules`, `provenance`, `low_watts`, `high_watts`, `formula`, `path`,
            `source`, `cpu`, those of GPUs (`gpu`, `reading`, `window_ns`, `least_pause_ns`, `spill_joules`, `blind_joules`,
            `uuid`, `pci`, `model`, `instances`, `speed`), `guide` (which of these dicts, counted from 0, says how the power
            went between this one's steps), and for hardware stamps `stamp_tick_ns` and `stamp_modulus`. The bounds rest
            on `stale_ns`, in real time; without it, it is the longest time between two steps.

            Or the path of a JSON file with one object that has these arguments as keys (`channels` at least); arguments
            that are given as well come before those in the file.
        faults: what goes wrong with readings, one dict for each fault: `begin_ns` and `end_ns` (times of the script),
            `channel` (without it: all), `status` ("retry", "gone", "fatal"), `error` (errno), `sleep_ns` (real time by
            which such readings take longer). Default: none.
        rate: how many times as fast as real time the script runs. Default: 1.
        stepped: True takes one step at each reading, whatever the time, so that every run is the same. Default: False.
        start_ns: when the script starts, on the clock of `now_ns()`; until then the first steps hold. Default: now.

    Raises:
        BadArgument, TypeError: a script that cannot be; the message names the argument and the key.
        OSError: the file cannot be read.
    """
    script: Mapping[str, object] = {}
    if isinstance(channels, (str, os.PathLike)):
        script = _load(os.fspath(channels))
    else:
        script = {"channels": channels}
    given = {"faults": faults, "rate": rate, "stepped": stepped, "start_ns": start_ns}
    arguments = {**script, **{name: value for name, value in given.items() if value is not None}}
    speed = arguments.get("rate", 1.0)
    entries = [
        _with_stale(_with_place(dict(channel)), speed) for channel in _dicts("channels", arguments.pop("channels"))
    ]
    troubles = [dict(fault) for fault in _dicts("faults", arguments.pop("faults", ()))]
    return _core.replay(entries, troubles, **arguments)  # type: ignore[arg-type]  # checked by the native half


_LONGEST_STALE_NS = 2_000_000_000  # kLongestNs of csrc/core/sampler.cpp

_OF_A_GPU = ("gpu", "vram", "module")

_KEYS = {"channels", "faults", "rate", "stepped", "start_ns"}


def _load(path: str) -> dict[str, object]:
    import json

    with open(path, encoding="utf-8") as file:
        try:
            script = json.load(file)
        except ValueError as error:
            raise BadArgument(f"channels: {path} is not JSON: {error}", path) from error
    if not isinstance(script, dict) or "channels" not in script or not script.keys() <= _KEYS:
        raise BadArgument(f"channels: {path} must hold one object with the keys channels, faults, rate, stepped", path)
    return script


def _dicts(name: str, value: object) -> Sequence[Mapping[str, object]]:
    if isinstance(value, Mapping) or not isinstance(value, Iterable):
        raise TypeError(f"{name} must be a list of dicts, not {type(value).__name__}")
    entries = list(value)
    for entry in entries:
        if not isinstance(entry, Mapping):
            raise TypeError(f"{name} must be a list of dicts, but has a {type(entry).__name__} in it")
    return entries


def _with_place(channel: dict[str, object]) -> dict[str, object]:
    """Fills in domain, package, die, core, gpu and reading from a name: "package-0-die-1", "core-0-7", "gpu-0-instant"."""
    name = channel.get("name")
    if isinstance(name, str):
        domain, *numbers = name.split("-")
        place: dict[str, object] = dict(
            zip(("package", "core"), (int(part) for part in numbers if part.isdecimal()), strict=False)
        )
        if "die" in numbers and "core" in place:
            place["die"] = place.pop("core")
        if domain in _OF_A_GPU and "package" in place:
            place["gpu"] = place.pop("package")
            place["reading"] = next((part for part in numbers if part in ("instant", "average")), "")
        channel = {"domain": domain, **place, **channel}
    return channel


def _with_stale(channel: dict[str, object], rate: object) -> dict[str, object]:
    """Fills in how old a value can be: as old as the time between two steps, but no older than a sampler accepts."""
    steps = channel.get("steps", ())
    if not isinstance(steps, Iterable):
        raise TypeError(f"channels: 'steps' must be a list, not {type(steps).__name__}")
    channel = {**channel, "steps": (steps := list(steps))}
    if "stale_ns" in channel or not isinstance(rate, (int, float)) or not rate > 0:
        return channel  # what is wrong here the native half names
    try:
        longest = max((later[0] - step[0] for step, later in pairwise(steps)), default=0)
    except (TypeError, IndexError):
        return channel
    return {**channel, "stale_ns": min(int(longest / rate), _LONGEST_STALE_NS)}
