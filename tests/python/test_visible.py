# SPDX-License-Identifier: MIT
"""CUDA_VISIBLE_DEVICES: which boards are measured, by CUDA's rules, and how to have the others all the same."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from truth import steady

import powerprobe as pp
from powerprobe.channels import select
from powerprobe.visible import visible_gpus

A, B, C = (f"GPU-{text}-d72c-4106-c12f-20bd9faed9f6" for text in ("8932f937", "8932aaaa", "01234567"))
MIG = "MIG-1b2c3d4e-0000-5000-8000-00000000000"


def boards(*speeds: float) -> list[pp.ChannelInfo]:
    """Three boards in the order of the bus, the middle one with two MIG instances."""
    speeds = speeds or (1.0, 1.0, 1.0)
    scripts = [
        steady(1, f"gpu-{i}", seconds=1, uuid=uuid, speed=speed, instances=[MIG + "1", MIG + "2"] if i == 1 else [])
        for i, (uuid, speed) in enumerate(zip((A, B, C), speeds, strict=True))
    ]
    return pp.replay(scripts).channels


@pytest.mark.parametrize(
    ("value", "visible"),
    [
        ("0,1,2", {0, 1, 2}),
        ("2", {2}),
        ("2,0", {0, 2}),
        (" 0 , 2 ", {0, 2}),
        ("", set()),
        ("   ", set()),
        ("-1", set()),
        ("NoDevFiles", set()),
        ("0,-1,2", {0}),
        ("0,3,1", {0}),
        ("0,,1", {0}),
        ("1,GPU-99,2", {1}),
        ("+1,2gpus", {1, 2}),
        (A, {0}),
        (f"{C},{A}", {0, 2}),
        ("GPU-0", {2}),
        ("GPU-8932f,1", {0, 1}),
        ("GPU-8932,2", set()),  # two boards begin so
        ("GPU-", set()),
        ("gpu-0123", set()),
        (MIG + "2", {1}),
        (f"{MIG}1,{MIG}2", {1}),
        (f"0,{MIG}1", {0, 1}),
        (f"{MIG}9,0", set()),
        ("MIG-" + B + "/7/0", {1}),
        ("MIG-GPU-8932a/1/2,2", {1, 2}),
        ("MIG-GPU-8932/1/2,2", set()),
        ("0,0", set()),
        ("0,1,0", set()),
        (f"0,{A}", set()),  # the same board under two names
        (f"{A},GPU-8932f", set()),
        (f"{MIG}1,{MIG}1", set()),
        (f"MIG-{B}/1/0,MIG-GPU-8932a/1/0", set()),
        ("0,5,0", {0}),  # the list has ended before
    ],
)
def test_the_rules_of_cuda(value: str, visible: set[int]) -> None:
    assert visible_gpus(boards(), {"CUDA_VISIBLE_DEVICES": value}) == visible


def test_without_the_variable_all_boards_are_visible() -> None:
    assert visible_gpus(boards(), {}) == {0, 1, 2}
    assert visible_gpus([], {"CUDA_VISIBLE_DEVICES": "0"}) == frozenset()


@pytest.mark.parametrize(
    ("order", "speeds", "first"),
    [
        (None, (1.0, 3.0, 2.0), 1),
        ("FASTEST_FIRST", (1.0, 3.0, 2.0), 1),
        ("PCI_BUS_ID", (1.0, 3.0, 2.0), 0),
        (None, (2.0, 2.0, 2.0), 0),
        (None, (0.0, 3.0, 2.0), 0),  # one speed is not known
    ],
)
def test_indices_count_in_the_order_of_cuda(order: str | None, speeds: tuple[float, ...], first: int) -> None:
    environment = {"CUDA_VISIBLE_DEVICES": "0"} | ({"CUDA_DEVICE_ORDER": order} if order else {})
    assert visible_gpus(boards(*speeds), environment) == {first}


def test_a_board_that_cannot_be_read_keeps_its_number() -> None:
    without_the_first = boards(1.0, 2.0, 3.0)[1:]
    assert visible_gpus(without_the_first, {"CUDA_VISIBLE_DEVICES": "0,2"}) == {2}


@given(st.permutations([0, 1, 2]), st.integers(0, 3), st.text(max_size=12), st.booleans())
def test_what_is_behind_an_invalid_entry_does_not_matter(
    order: list[int], count: int, rest: str, by_uuid: bool
) -> None:
    entries = [(A, B, C)[gpu] if by_uuid else str(gpu) for gpu in order[:count]]
    value = ",".join([*entries, "none", rest])
    assert visible_gpus(boards(), {"CUDA_VISIBLE_DEVICES": value}) == set(order[:count])


@given(st.text(max_size=40))
def test_no_text_breaks_it(value: str) -> None:
    assert visible_gpus(boards(), {"CUDA_VISIBLE_DEVICES": value}) <= {0, 1, 2}


# ---- Choosing channels


@pytest.fixture
def server() -> list[pp.ChannelInfo]:
    """A package with a single core, and two boards with everything that a board can have."""
    names = ["package-0", "core-0-7"]
    for i in range(2):
        names += [f"gpu-{i}", f"gpu-{i}-instant", f"gpu-{i}-average", f"vram-{i}", f"module-{i}"]
    scripts = [steady(1, name, seconds=1, uuid=(A, C)[int("1" in name)]) for name in names]
    for script in scripts:
        if script["name"].startswith("vram"):  # which no counter has
            script["reading"] = "instant"
    return pp.replay(scripts).channels


USUAL = ["package-0", "gpu-0", "vram-0", "module-0", "gpu-1", "vram-1", "module-1"]


def test_usually_a_board_is_its_counter_and_its_memory(
    server: list[pp.ChannelInfo], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert select(server, None) == USUAL
    assert select(server, "gpu-*") == [c.name for c in server if c.domain == "gpu"]


def test_a_board_without_a_counter_is_its_power_readings() -> None:
    channels = pp.replay([steady(1, "gpu-0", reading="instant"), steady(1, "gpu-0-average")]).channels
    assert select(channels, None) == ["gpu-0"]
    assert select(channels[1:], None) == ["gpu-0-average"]


def test_a_hidden_board_is_left_out_unless_it_is_asked_for(
    server: list[pp.ChannelInfo], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    assert select(server, None) == ["package-0", "gpu-1", "vram-1", "module-1"]
    assert select(server, None, all_gpus=True) == USUAL
    assert select(server, "gpu-0") == ["gpu-0"]
    assert select(server, "*") == [c.name for c in server]


def test_where_all_is_hidden_the_error_names_the_variable(
    server: list[pp.ChannelInfo], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    assert select(server, None) == ["package-0"]
    assert select(server[1:], None) == ["core-0-7"]
    with pytest.raises(pp.Unavailable, match="CUDA_VISIBLE_DEVICES='-1' hides every GPU") as caught:
        select(server[2:], None)
    assert "all_gpus" in caught.value.remedy
    assert select(server[2:], None, all_gpus=True)


def test_a_probe_reads_the_variable_when_it_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    scripts = [steady(1, "gpu-0"), steady(2, "gpu-1")]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    with pp.Probe(sources=pp.replay(scripts)) as probe, pp.Probe(sources=pp.replay(scripts), all_gpus=True) as both:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
        assert probe.channels == ("gpu-1",)
        assert both.channels == ("gpu-0", "gpu-1")


def test_a_script_names_boards_and_readings() -> None:
    infos = pp.replay([steady(1, name) for name in ("gpu-3-instant", "vram-1", "module-0", "package-2")]).channels
    assert [(c.domain, c.gpu, c.reading, c.package) for c in infos] == [
        ("gpu", 3, "instant", -1),
        ("vram", 1, "", -1),
        ("module", 0, "", -1),
        ("package", -1, "", 2),
    ]
