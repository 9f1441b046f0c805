# SPDX-License-Identifier: MIT
"""The probe that the options of a command ask for."""

from __future__ import annotations

import click

from ..discovery import discover
from ..probe import Probe
from ..replay import replay


def open_probe(
    channels: list[str] | None,
    sources: list[str] | None,
    strict: bool,
    period: float | None,
    root: str | None,
    replay_file: str | None,
    history: float,
    all_gpus: bool,
) -> Probe:
    """A probe that is not started; raises whatever is wrong with the machine or the options."""
    if replay_file is not None:
        if sources is not None or root is not None:
            raise click.UsageError("--replay takes the place of the machine: neither --sources nor --root goes with it")
        return Probe(
            channels, [replay(replay_file)], period=period, history=history, strict=strict or None, all_gpus=all_gpus
        )
    found = discover(sources, strict or None, root=root)
    return Probe(channels, period=period, history=history, all_gpus=all_gpus, discovery=found)
