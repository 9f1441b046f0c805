# SPDX-License-Identifier: MIT
"""What to ask pip for is what the package declares as its extras."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

import powerprobe as pp
from powerprobe.extras import NEEDS, need


@pytest.mark.parametrize(("extra", "name"), [("stats", "scipy"), ("plot", "matplotlib"), ("nvml", "pynvml")])
def test_what_to_install_is_what_the_package_declares(extra: str, name: str) -> None:
    text = (Path(__file__).parents[2] / "pyproject.toml").read_text()
    declared = re.search(rf"^{extra} = (\[.*\])$", text, re.MULTILINE)
    assert declared is not None
    assert json.loads(declared[1]) == [NEEDS[name]]


def test_what_is_missing_is_named_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(NEEDS, "no_such_package", "no-such-package>=1")
    with pytest.raises(pp.Unavailable, match="drawing needs the package no_such_package") as caught:
        need("no_such_package", "drawing")
    assert "pip install 'no-such-package>=1'" in caught.value.remedy
