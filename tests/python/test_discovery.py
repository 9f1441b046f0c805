# SPDX-License-Identifier: MIT
"""Discovery: what is found, what is refused, and when it is asked again."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

import powerprobe as pp
from powerprobe import discovery


@pytest.fixture
def powercap(tmp_path: Path) -> Path:
    """A folder that looks like a machine with one package in powercap and nothing else."""
    zone = tmp_path / "sys/class/powercap/intel-rapl:0"
    zone.mkdir(parents=True)
    for name, text in {"name": "package-0", "energy_uj": "123456", "max_energy_range_uj": "262143328850"}.items():
        (zone / name).write_text(text + "\n")
    for folder in ("dev", "proc"):
        (tmp_path / folder).mkdir()
    return tmp_path


def test_channels_and_refusals_of_a_machine(powercap: Path) -> None:
    found = pp.discover(root=powercap)
    assert [(c.name, c.source) for c in found.channels] == [("package-0", "rapl_powercap")]
    assert found.refusals
    assert all(refusal.reason for refusal in found.refusals)
    assert "package-0" in str(found)
    assert found.refusals[0].reason in str(found)
    assert repr(found).startswith("<Discovery of 1 channels")


def test_a_probe_opens_what_was_found(powercap: Path) -> None:
    with pp.Probe(discovery=pp.discover(root=powercap)) as probe:
        assert probe.channels == ("package-0",)
        assert probe.refusals
        now = pp.now_ns()
        assert probe.energy(now, now).joules[0] == 0.0


def test_a_machine_without_counters_is_an_error_with_every_reason(tmp_path: Path) -> None:
    with pytest.raises((pp.Unavailable, pp.PermissionDenied)) as caught:
        pp.discover(strict=True, root=tmp_path)
    assert caught.value.refusals
    for refusal in caught.value.refusals:
        assert refusal.reason in str(caught.value)


def refusal(error: int = 0, remedy: str = "") -> object:
    return SimpleNamespace(source="rapl_msr", path="/dev/cpu/0/msr", reason="locked", remedy=remedy, error=error)


def test_permissions_are_the_error_where_they_are_the_reason() -> None:
    with pytest.raises(pp.PermissionDenied, match=r"rapl_msr: /dev/cpu/0/msr: locked") as caught:
        raise discovery._nothing((refusal(), refusal(13, "sudo setcap")))  # type: ignore[arg-type]
    assert (caught.value.errno, caught.value.remedy, caught.value.path) == (13, "sudo setcap", "/dev/cpu/0/msr")
    with pytest.raises(pp.Unavailable) as other:
        raise discovery._nothing((refusal(), refusal(2, "modprobe msr")))  # type: ignore[arg-type]
    assert other.value.remedy == "modprobe msr"


def test_the_answer_is_kept_for_the_usual_question_only(monkeypatch: pytest.MonkeyPatch) -> None:
    searches: list[tuple[object, bool]] = []

    def search(names: object, strict: bool, root: object) -> object:
        searches.append((names, strict))
        return object()

    monkeypatch.setattr(discovery, "_search", search)
    monkeypatch.setattr(discovery, "_found", {})
    monkeypatch.delenv("POWERPROBE_STRICT", raising=False)
    assert pp.discover() is pp.discover()
    assert pp.discover(strict=True) is pp.discover(strict=True)
    assert pp.discover(pp.SOURCES[0]) is not pp.discover(pp.SOURCES[0])
    assert searches == [([], False), ([], True), ([pp.SOURCES[0]], False), ([pp.SOURCES[0]], False)]


@pytest.mark.parametrize(("value", "strict"), [("", False), ("0", False), ("1", True)])
def test_the_environment_decides_where_nobody_else_does(
    monkeypatch: pytest.MonkeyPatch, value: str, strict: bool
) -> None:
    monkeypatch.setenv("POWERPROBE_STRICT", value)
    assert discovery.is_strict(None) is strict
    assert discovery.is_strict(not strict) is not strict


def test_strict_and_the_estimate_exclude_each_other() -> None:
    with pytest.raises(pp.BadArgument, match="cpu_model"):
        pp.discover("cpu_model", strict=True)


@pytest.mark.parametrize(("sources", "error"), [("nonsense", pp.BadArgument), ([], pp.BadArgument), ([7], TypeError)])
def test_sources_that_cannot_be_are_named(sources: object, error: type[Exception]) -> None:
    with pytest.raises(error, match="sources"):
        pp.discover(sources)


def test_strict_is_a_bool() -> None:
    with pytest.raises(TypeError, match="strict"):
        pp.discover(strict="yes")  # type: ignore[arg-type]
