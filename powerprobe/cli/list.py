# SPDX-License-Identifier: MIT
"""`powerprobe list`: the channels of this machine and what was seen of them."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click
from rich.text import Text

from ..channels import Tree
from ..discovery import discover
from .gpus import boards_of, boards_table, disagreements, seen_table
from .options import json_option, root_option, seconds, sources_option
from .output import Output
from .reasons import missing_boards, why_estimated
from .result import SCHEMA, refusals_as_data
from .seen import Seen, watch
from .tables import list_table

if TYPE_CHECKING:
    from .._core import Choice


@click.command(name="list")
@json_option
@sources_option
@root_option
@click.option(
    "--measure",
    "measure_seconds",
    is_flag=False,
    flag_value="5",
    callback=seconds,
    metavar="[TIME]",
    help="Watch the GPUs for so long (5 s) and show how often they really move and what their power readings are means of; "
    "best while they do something that changes.",
)
def list_command(as_json: bool, sources: list[str] | None, root: str | None, measure_seconds: float | None) -> int:
    """Show the energy channels that can be read here.

    For each: the source that reads it, whether that is measured or estimated, the counter's step in joules, how often
    it was seen to move, what one reading costs, and which other sources read the same. Indented channels are part of
    the energy of the one above. Of GPUs also, with the package nvidia-ml-py: limits, clocks and processes.
    """
    found = discover(sources, strict=False, root=root)
    seen = [] if measure_seconds is None else watch(found, measure_seconds)
    boards = boards_of(found.channels)
    output = Output(None, sys.stdout)
    if as_json:
        output.json(
            {
                "schema": SCHEMA,
                "channels": [_as_data(choice) for choice in found.choices],
                "boards": boards,
                "measured": None if measure_seconds is None else [each.to_dict() for each in seen],
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
        notes.append(Text(f"\n {why_estimated(found.channels, found.refusals)}", "yellow"))
        notes.append(Text(" `powerprobe doctor` says what would help."))
    notes += [Text(f"\n {each}", "red") for each in missing_boards(found.refusals)]
    if boards and not seen:
        notes.append(
            Text("\n What power readings are means of is as published; `powerprobe list --measure` looks.", "dim")
        )
    output.text(list_table(found.choices, tree.depths), *_of_gpus(boards, seen), *notes)
    return 0


def _of_gpus(boards: Sequence[dict[str, Any]], seen: Sequence[Seen]) -> list[Any]:
    parts: list[Any] = [Text(), boards_table(boards)] if boards else []
    parts += [Text(f"\n {why}", "dim") for why in dict.fromkeys(board["unknown"] for board in boards) if why]
    parts += [Text(), seen_table(seen)] if seen else []
    return [*parts, *(Text(f"\n {line}", "red") for line in disagreements(seen))]


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
        "gpu": info.gpu if info.gpu >= 0 else None,
        "reading": info.reading or None,
        "window_seconds": info.window_ns * 1e-9 if info.window_ns else None,
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
