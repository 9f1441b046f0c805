# SPDX-License-Identifier: MIT
"""Errors: one base class, each also the standard one, with what would help."""

from __future__ import annotations

import pickle

import pytest

import powerprobe as pp
from powerprobe import _core, errors

STANDARD = {
    pp.PermissionDenied: PermissionError,
    pp.Unavailable: OSError,
    pp.BadArgument: ValueError,
    pp.Overrun: LookupError,
    pp.OutOfRange: ValueError,
    pp.SettleTimeout: TimeoutError,
    pp.ChannelGone: RuntimeError,
}


@pytest.mark.parametrize(("ours", "standard"), STANDARD.items())
def test_each_is_the_base_class_and_the_standard_one(ours: type[Exception], standard: type[Exception]) -> None:
    with pytest.raises(standard):
        raise ours("no")
    with pytest.raises(pp.PowerprobeError):
        raise ours("no")


def test_every_kind_of_the_core_has_its_class() -> None:
    assert set(errors.BY_KIND.values()) == set(STANDARD)
    assert len(errors.BY_KIND) == 7


@pytest.mark.parametrize("ours", STANDARD)
def test_carries_path_errno_and_remedy_also_through_pickle(ours: type[pp.PowerprobeError]) -> None:
    error = ours("it is locked", "/dev/cpu/0/msr", 13, "modprobe msr")
    for each in (error, pickle.loads(pickle.dumps(error))):
        assert (each.message, each.path, each.errno, each.remedy) == (
            "it is locked",
            "/dev/cpu/0/msr",
            13,
            "modprobe msr",
        )
        assert str(each) == "it is locked\n  remedy: modprobe msr"
    if isinstance(error, OSError):
        assert (error.filename, error.strerror) == ("/dev/cpu/0/msr", "it is locked")


@pytest.mark.parametrize("ours", STANDARD)
def test_says_no_more_than_it_knows(ours: type[pp.PowerprobeError]) -> None:
    error = ours("it is locked")
    assert (str(error), error.path, error.errno, error.remedy, error.refusals) == ("it is locked", None, 0, "", ())


def test_the_core_raises_these_classes() -> None:
    with pytest.raises(pp.BadArgument, match="nonsense"):
        _core.survey(["nonsense"], False)
