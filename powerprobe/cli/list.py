# SPDX-License-Identifier: MIT
"""`powerprobe list`: the channels of this machine and what was seen of them."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click
from rich.text import Text

from ..channels import Tree
from ..discovery import discover
from .options import json_option, root_option, sources_option
from .output import Output
from .reasons import why_no_counter
from .result import SCHEMA, refusals_as_data
from .tables import list_table

if TYPE_CHECKING:
    from .._core import Choice


@click.command(name="list")
@json_option
@sources_option
@root_option
def list_command(as_json: bool, sources: list[str] | None, root: str | None) -> int:
    """Show the energy channels that can be read here.

    For each: the source that reads it, whether that is measured or estimated, the counter's step in joules, how often
    it was seen to move, what one reading costs, and which other sources read the same. Indented channels are part of
    the energy of the one above.
    """
    found = discover(sources, strict=False, root=root)
    output = Output(None, sys.stdout)
    if as_json:
        output.json(
            {
                "schema": SCHEMA,
                "channels": [_as_data(choice) for choice in found.choices],
                "refusals": refusals_as_data(found.refusals),
            }
        )
        return 0
    tree = Tree(found.channels, [channel.name for channel in found.channels])
    notes = [
        Text(f"\n {choice.channel.name}: {choice.disagreement}", "red")
        for choice in found.choices
        if choice.disagreement
    ]
    if all(channel.provenance == "estimated" for channel in found.channels):
        notes += [Text(f"\n {channel.name}: {channel.formula}", "dim") for channel in found.channels]
        notes.append(Text(f"\n {why_no_counter(found.refusals)}", "yellow"))
        notes.append(Text(" `powerprobe doctor` says what would help."))
    output.text(list_table(found.choices, tree.depths), *notes)
    return 0


def _as_data(choice: Choice) -> dict[str, Any]:
    info = choice.channel
    return {
        "name": info.name,
        "source": info.source,
        "domain": info.domain,
        "path": info.path,
        "parent": info.parent or None,
        "package": info.package if info.package >= 0 else None,
        "die": info.die if info.die >= 0 else None,
        "core": info.core if info.core >= 0 else None,
        "provenance": info.provenance,
        "formula": info.formula or None,
        "resolution_joules": info.quantum_joules,
        "period_seconds": choice.seen_period_ns * 1e-9 if choice.seen_period_ns else None,
        "expected_period_seconds": info.update_period_ns * 1e-9 if info.update_period_ns else None,
        "read_seconds": choice.read_ns * 1e-9,
        "stamped": info.stamped,
        "others": list(choice.others),
        "disagreement": choice.disagreement or None,
    }
