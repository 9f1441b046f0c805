# SPDX-License-Identifier: MIT
"""`powerprobe doctor`: what is used, what is not available, why, and the command that would change it."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click
from rich.text import Text

from ..channels import Tree
from ..discovery import discover
from ..errors import PowerprobeError
from .gpus import gpu_remarks
from .options import json_option, root_option, sources_option
from .output import Output
from .reasons import is_denied, why_no_counter, without_repeats
from .result import SCHEMA, refusals_as_data
from .tables import list_table

if TYPE_CHECKING:
    from .._core import Choice, Refusal

_INDENT = "     "
_WIDEST = 100


@click.command(name="doctor")
@json_option
@sources_option
@root_option
def doctor_command(as_json: bool, sources: list[str] | None, root: str | None) -> int:
    """Say which energy counters cannot be read, why, and which command would change that.

    Where several things would help, the one that asks for the least privilege comes first.

    \b
    Exit status:
      0  a counter can be read
      1  no counter can be read; at best there is an estimate
    """
    choices, refusals = _search(sources, root)
    counters = [choice for choice in choices if choice.channel.provenance != "estimated"]
    summary = _readable(counters) if counters else why_no_counter(refusals)
    remarks = gpu_remarks([choice.channel for choice in choices])
    output = Output(None, sys.stdout)
    if as_json:
        output.json(
            {
                "schema": SCHEMA,
                "can_measure": bool(counters),
                "summary": summary,
                "used": [
                    {"channel": c.channel.name, "source": c.channel.source, "provenance": c.channel.provenance}
                    for c in choices
                ],
                "remarks": remarks,
                "refusals": refusals_as_data(refusals),
            }
        )
    else:
        parts = [Text(summary, "bold green" if counters else "bold red"), Text()]
        width = min(shutil.get_terminal_size((_WIDEST, 24)).columns, _WIDEST)
        tree = Tree([c.channel for c in choices], [c.channel.name for c in choices])
        used = [Text("Used:"), list_table(choices, tree.depths), Text()] if choices else []
        noted = [*(Text(f"{remark}.", "yellow") for remark in remarks), *([Text()] if remarks else ())]
        output.text(*parts, *used, *noted, *_not_available(refusals, width))
    return 0 if counters else 1


def _search(sources: list[str] | None, root: str | None) -> tuple[Sequence[Choice], Sequence[Refusal]]:
    try:
        found = discover(sources, strict=False, root=root)
    except PowerprobeError as error:
        if not error.refusals:
            raise
        return (), error.refusals
    return found.choices, found.refusals


def _readable(counters: Sequence[Choice]) -> str:
    sources = sorted({choice.channel.source for choice in counters})
    readings = sum(choice.channel.provenance == "integrated" for choice in counters)
    kinds = [(len(counters) - readings, "energy counter"), (readings, "power reading")]
    named = [_counted(count, kind) for count, kind in kinds if count]
    return f"{' and '.join(named).capitalize()} can be read here, by {' and '.join(sources)}."


def _counted(count: int, what: str) -> str:
    return f"one {what}" if count == 1 else f"{count} {what}s"


def _not_available(refusals: Sequence[Refusal], width: int) -> list[Text]:
    if not refusals:
        return [Text("Every source can be used.")]
    lines = [Text("Not available:")]
    # What only lacks permission is nearest to working.
    for refusal, count in sorted(without_repeats(refusals), key=lambda each: not is_denied(each[0])):
        more = f" (and {count - 1} more like it)" if count > 1 else ""
        lines.append(Text.assemble("\n  ", (refusal.source, "bold"), f"  {refusal.path}{more}"))
        reason = textwrap.fill(
            refusal.reason, width, initial_indent=_INDENT, subsequent_indent=_INDENT, break_on_hyphens=False
        )
        lines.append(Text(reason))
        if refusal.remedy:
            # One line, whatever its length: it is there to be copied.
            lines.append(Text.assemble(_INDENT, ("what helps: ", "green"), refusal.remedy))
    return lines
