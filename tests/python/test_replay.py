# SPDX-License-Identifier: MIT
"""Scripts: from dicts and from files, and what is wrong with them is named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from truth import MS, steady

import powerprobe as pp

CHANNEL = {"name": "package-0", "joules_per_count": 1e-6, "steps": [(0, 0), (MS, 1000), (3 * MS, 3000)]}


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("package-1", ("package", 1, -1, -1)),
        ("package-0-die-1", ("package", 0, 1, -1)),
        ("core-0", ("core", 0, -1, -1)),
        ("core-0-7", ("core", 0, -1, 7)),
        ("psys", ("psys", -1, -1, -1)),
    ],
)
def test_a_name_says_where_the_counter_is(name: str, place: tuple[str, int, int, int]) -> None:
    (info,) = pp.replay([{**CHANNEL, "name": name}]).channels
    assert (info.domain, info.package, info.die, info.core) == place


def test_what_is_given_comes_before_what_the_name_says() -> None:
    (info,) = pp.replay([{**CHANNEL, "domain": "dram", "package": 3, "source": "mine"}]).channels
    assert (info.name, info.domain, info.package, info.source) == ("package-0", "dram", 3, "mine")


def test_a_value_is_as_old_as_the_longest_time_between_steps_unless_told() -> None:
    assert pp.replay([CHANNEL]).channels[0].stale_ns == 2 * MS
    assert pp.replay([CHANNEL], rate=2.0).channels[0].stale_ns == MS
    assert pp.replay([{**CHANNEL, "stale_ns": 5}]).channels[0].stale_ns == 5


def test_a_file_holds_the_arguments(tmp_path: Path) -> None:
    path = tmp_path / "script.json"
    path.write_text(json.dumps({"channels": [steady()], "rate": 2.0, "faults": [{"sleep_ns": 1}]}))
    for source in (pp.replay(path), pp.replay(str(path), rate=1.0)):
        assert pp.Probe(sources=source).channels == ("package-0",)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"channels": [], "speed": 2}'])
def test_a_file_that_is_no_script_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "script.json"
    path.write_text(text)
    with pytest.raises(pp.BadArgument, match=r"script\.json") as caught:
        pp.replay(path)
    assert caught.value.path == str(path)


def test_a_file_that_is_not_there_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        pp.replay(tmp_path / "nothing.json")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"colour": "red"}, "colour"),
        ({"steps": []}, "steps"),
        ({"steps": [(1, 0)]}, "steps"),
        ({"steps": [(0, 0, 0, 0)]}, "step"),
        ({"steps": [(0, 5), (0, 6)]}, "time_ns"),
        ({"joules_per_count": 0.0}, "joules_per_count"),
        ({"modulus": 1000}, "modulus"),
        ({"provenance": "guessed"}, "provenance"),
    ],
)
def test_a_script_that_cannot_be_is_named(change: dict[str, object], message: str) -> None:
    with pytest.raises(pp.BadArgument, match=message):
        pp.replay([{**CHANNEL, **change}])


@pytest.mark.parametrize("change", [{"modulus": "big"}, {"steps": [("now", 0)]}, {"steps": 7}, {"name": 7}])
def test_values_of_a_wrong_type_are_named(change: dict[str, object]) -> None:
    with pytest.raises(TypeError, match=next(iter(change))):
        pp.replay([{**CHANNEL, **change}])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"faults": [{"status": "broken"}]}, "faults"),
        ({"faults": [{"begin": 0}]}, "begin"),
        ({"faults": [{"channel": "gpu-0", "status": "gone"}]}, "gpu-0"),
        ({"rate": 0.0}, "rate"),
        ({"rate": -1.0}, "rate"),
    ],
)
def test_arguments_that_cannot_be_are_named(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(pp.BadArgument, match=message):
        pp.replay([CHANNEL], **arguments)


@pytest.mark.parametrize("channels", [CHANNEL, [7], 7])
def test_channels_are_a_list_of_dicts(channels: object) -> None:
    with pytest.raises(TypeError, match="channels"):
        pp.replay(channels)
