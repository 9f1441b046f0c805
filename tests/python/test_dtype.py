# SPDX-License-Identifier: MIT
"""The record as numpy sees it is the record as edge.hpp lays it out."""

from __future__ import annotations

import numpy as np
import pytest

import powerprobe as pp

LAYOUT = [
    ("t_ns", 0, np.int64),
    ("joules", 8, np.float64),
    ("gap_ns", 16, np.uint32),
    ("read_ns", 20, np.uint32),
    ("flags", 24, np.uint32),
    ("segment", 28, np.uint32),
]


def test_fields_are_where_the_core_has_them() -> None:
    fields = pp.EDGE_DTYPE.fields
    assert fields is not None
    assert [(name, fields[name][1], fields[name][0]) for name in pp.EDGE_DTYPE.names or ()] == LAYOUT
    assert pp.EDGE_DTYPE.itemsize == 32


def test_each_flag_is_a_bit_of_its_own() -> None:
    assert len(pp.EDGE_FLAGS) == 11
    assert sorted(pp.EDGE_FLAGS.values()) == [1 << bit for bit in range(11)]


@pytest.mark.parametrize("name", [name for name, *_ in LAYOUT])
def test_fields_of_a_view_have_values_of_their_own(probe: pp.Probe, name: str) -> None:
    edge = probe.view("package-0")[0]
    expected = {"joules": 0.0, "segment": 0}
    assert edge[name] == expected[name] if name in expected else edge[name] > 0
