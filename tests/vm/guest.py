# SPDX-License-Identifier: MIT
"""Runs inside the guest: measures through one source and compares with the exact energy of the emulated registers.

The emulation answers, besides the RAPL registers, at these addresses of /dev/cpu/N/msr: BASE + 0x10 + d the power of domain d in
microwatts, BASE + 0x40 + d its exact energy until now in nanojoules. Prints one JSON object.
"""

from __future__ import annotations

import json
import os
import struct
import sys
import time

import powerprobe as pp

BASE = 0x4D560000
DOMAINS = {"package": 0, "dram": 1, "core": 2, "uncore": 3, "psys": 4}
SINGLE_CORE = 5


class Truth:
    """The exact energy of one channel."""

    def __init__(self, info: pp.ChannelInfo) -> None:
        self.domain = SINGLE_CORE if info.core >= 0 else DOMAINS[info.domain]
        self.file = os.open(f"/dev/cpu/{max(info.cpu, 0)}/msr", os.O_RDONLY)

    def read(self) -> tuple[int, float, int]:
        """Before, joules, after: the energy is that of some instant between the two."""
        before = pp.now_ns()
        (nanojoules,) = struct.unpack("<Q", os.pread(self.file, 8, BASE + 0x40 + self.domain))
        return before, nanojoules * 1e-9, pp.now_ns()


def channels(source: str, pattern: str, seconds: float) -> dict[str, object]:
    """Intervals of all lengths on every channel of a source: each must contain the truth."""
    found = pp.discover(source)
    result: dict[str, object] = {}
    with pp.Probe(channels=pattern, discovery=found, history=seconds + 60.0) as probe:
        truths = {name: Truth(probe.info(name)) for name in probe.channels}
        looks: dict[str, list[tuple[int, float, int]]] = {name: [] for name in probe.channels}
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            for name, truth in truths.items():
                looks[name].append(truth.read())
            time.sleep(0.05)
        time.sleep(0.5)
        for name, seen in looks.items():
            pairs = [(a, b) for i, a in enumerate(seen) for b in seen[i + 1 :: 7]]
            inner = probe.energy([a[2] for a, _ in pairs], [b[0] for _, b in pairs], name, settle=5.0)
            outer = probe.energy([a[0] for a, _ in pairs], [b[2] for _, b in pairs], name, settle=5.0)
            true = [b[1] - a[1] for a, b in pairs]
            first, last = seen[0], seen[-1]
            whole = probe.energy(first[2], last[0], name)
            edges = probe.view(name)
            stamped = (edges["flags"] & pp.EDGE_FLAGS["stamped"]) != 0
            result[name] = {
                "source": probe.info(name).source,
                "intervals": len(pairs),
                "too_low": sum(bool(upper < t) for upper, t in zip(outer.upper, true, strict=True)),
                "too_high": sum(bool(lower > t) for lower, t in zip(inner.lower, true, strict=True)),
                "joules": float(whole.joules),
                "true": last[1] - first[1],
                "stamped": float(stamped.mean()),
                "median_gap_ns": float(sorted(edges["gap_ns"][len(edges) // 2 :])[len(edges) // 4]),
                "stats": probe.stats()["channels"][name],
            }
            del edges
        result["roots"] = list(probe.tree.roots) if hasattr(probe, "tree") else list(probe._tree.roots)
    result["disagreements"] = [c.disagreement for c in found.choices if c.disagreement]
    return result


def idle(source: str, channel: str, seconds: float) -> dict[str, object]:
    """One long measurement during which nobody asks: only the keep-alive reads."""
    probe = pp.Probe(channels=channel, sources=source).start()
    truth = Truth(probe.info(channel))
    native = probe._native
    begin, start = probe._native.mark(), truth.read()
    begin.wait(5.0)
    native.release()  # what start() asked for: nobody asks from here on
    time.sleep(seconds)
    native.ask()
    native.wait_in_step(5.0)
    end, stop = native.mark(), truth.read()
    end.wait(5.0)
    index = list(probe.channels).index(channel)
    state, joules, lower, upper, _ = native.between(begin, end)[index]
    result = {"state": state, "joules": joules, "lower": lower, "upper": upper, "true": stop[1] - start[1]}
    result["stats"] = probe.stats()["channels"][channel]
    result["polls"] = sum(s["polls"] for s in probe.stats()["samplers"])
    probe.close()
    return result


def both(seconds: float) -> dict[str, object]:
    """measure() with whatever this machine offers."""
    with pp.measure() as m:
        time.sleep(seconds)
    return m.to_dict()


if __name__ == "__main__":
    name, *arguments = sys.argv[1:]
    question = {"channels": channels, "idle": idle, "measure": both}[name]
    print(json.dumps(question(*(float(a) if a.replace(".", "", 1).isdigit() else a for a in arguments))))
