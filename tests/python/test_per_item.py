# SPDX-License-Identifier: MIT
"""Joules per step, token or image: of a measurement, whose number is often known only afterwards, and of regions."""

from __future__ import annotations

import json
import math
import time
from typing import Any

import numpy as np
import pytest
from truth import MS, Load, counter, steady

import powerprobe as pp


def wait_for_a_step(probe: pp.Probe) -> None:
    probe.energy(pp.now_ns(), pp.now_ns())


def test_each_energy_has_its_per_item(probe: pp.Probe) -> None:
    with probe.measure(items=4) as m:
        wait_for_a_step(probe)
    assert m.items == 4.0
    assert m.joules_per_item == {name: joules / 4.0 for name, joules in m.joules.items()}
    assert m.lower_per_item == {name: joules / 4.0 for name, joules in m.lower.items()}
    assert m.upper_per_item == {name: joules / 4.0 for name, joules in m.upper.items()}
    assert m.total_per_item == m.total / 4.0 > 0.0
    assert (m.total_lower_per_item, m.total_upper_per_item) == (m.total_lower / 4.0, m.total_upper / 4.0)


def test_the_truth_per_item_lies_within_the_bounds() -> None:
    start_ns = pp.now_ns()
    load = Load([(20 * MS, 3), (5 * MS, 70), (1, 2)])
    with pp.Probe(sources=pp.replay([counter(load)], start_ns=start_ns)) as probe:
        with probe.measure() as m:
            for _ in range(5):
                wait_for_a_step(probe)
                m.items += 3
        truth = load.joules(m.start_ns - start_ns, m.end_ns - start_ns) / 15
        assert m.total_lower_per_item <= truth <= m.total_upper_per_item


def test_it_can_be_set_inside_afterwards_and_anew(probe: pp.Probe) -> None:
    with probe.measure() as m:
        assert m.items == 0.0
        m.items = 2
    assert m.total_per_item == m.total / 2.0
    m.items = np.int64(8)
    assert m.total_per_item == m.total / 8.0
    assert type(m.to_dict()["items"]) is float
    m.items = 0
    assert math.isnan(m.total_per_item)


def test_each_measurement_of_one_object_counts_for_itself(probe: pp.Probe) -> None:
    block = probe.measure(items=1)
    with block as first:
        first.items += 3
    with block as second:
        second.items += 5
    assert (first.items, second.items) == (4.0, 6.0)


def test_without_items_it_is_not_known(probe: pp.Probe) -> None:
    with probe.measure() as m:
        pass
    assert all(math.isnan(each) for each in (m.total_per_item, m.total_lower_per_item, m.total_upper_per_item))
    assert all(math.isnan(each) for each in m.joules_per_item.values())


def test_before_the_end_there_is_no_answer(probe: pp.Probe) -> None:
    m = probe.measure(items=1).begin()
    with pytest.raises(pp.OutOfRange, match="not ended"):
        _ = m.total_per_item
    m.end()


@pytest.mark.parametrize("items", [-1, -0.5, math.nan, math.inf])
def test_a_number_that_cannot_be_is_named(probe: pp.Probe, items: float) -> None:
    with pytest.raises(pp.BadArgument, match="items"):
        probe.measure(items=items)
    m = probe.measure(items=7).begin()
    with pytest.raises(pp.BadArgument, match="items"):
        m.items = items
    assert m.end().items == 7.0


@pytest.mark.parametrize("items", ["4", True, [1], None])
def test_a_wrong_type_is_named(probe: pp.Probe, items: Any) -> None:
    with pytest.raises(TypeError, match="items"):
        pp.measure(items=items)
    with pytest.raises(TypeError, match="items"):
        probe.measure().begin().end().items = items


def test_the_table_has_a_line_for_it() -> None:
    scripts = [steady(5, "package-0", provenance="estimated", low_watts=2.0, high_watts=11.0)]
    with pp.Probe(sources=pp.replay(scripts)) as probe, probe.measure() as m:
        time.sleep(0.05)  # so long that a step at each end is little of it
    assert "per item" not in str(m)
    m.items = m.total / 0.82e-3  # so many that each takes 0.82 mJ
    low, high = (820.0 * watts / 5.0 for watts in (2.0, 11.0))
    line = next(line for line in str(m).splitlines() if "per item" in line)
    joules, unit, *_ = line.split()
    lower, upper = line[line.index("[") + 1 : line.index("]")].split(", ")
    assert (float(joules), unit) == (pytest.approx(820.0, abs=0.1), "uJ")
    assert (float(lower), float(upper)) == (pytest.approx(low, rel=0.1), pytest.approx(high, rel=0.1))
    assert line.endswith(f"{m.items:.15g} items")
    m.items = 12_345_678
    assert "], 12345678 items" in str(m)
    m.items = 0
    assert "per item" not in str(m)


def test_to_dict_has_it_when_there_are_items(probe: pp.Probe) -> None:
    with probe.measure() as m:
        wait_for_a_step(probe)
    without = m.to_dict()
    m.items = 10
    entry = json.loads(json.dumps(m.to_dict(), allow_nan=False))
    more = {"joules_per_item", "lower_per_item", "upper_per_item"}
    assert entry.keys() - without.keys() == {"items"}
    assert entry["items"] == 10
    assert entry["total"].keys() - without["total"].keys() == more
    assert entry["total"]["upper_per_item"] == m.total_upper_per_item
    for name, channel in entry["channels"].items():
        assert channel.keys() - without["channels"][name].keys() == more
        assert channel["lower_per_item"] == m.lower_per_item[name]
    m.items = 0
    assert m.to_dict() == without


def test_regions_of_one_name_have_it_with_bounds(probe: pp.Probe) -> None:
    for tokens in (3, 5):
        with probe.region("decode", items=tokens):
            wait_for_a_step(probe)
    decode = probe.regions().summary()["decode"]
    assert decode.items == 8.0
    assert decode.joules_per_item == {name: joules / 8.0 for name, joules in decode.joules.items()}
    assert decode.total_per_item == decode.total / 8.0
    assert decode.total_lower_per_item <= decode.total_per_item <= decode.total_upper_per_item
    with probe.region("idle", items=0):
        pass
    assert math.isnan(probe.regions().summary()["idle"].total_per_item)
