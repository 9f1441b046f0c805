# SPDX-License-Identifier: MIT
"""Options that several commands share, and how their values are read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from .numbers import parse_seconds

F = TypeVar("F", bound=Callable[..., Any])


def names(_: click.Context, __: click.Parameter, values: tuple[str, ...]) -> list[str] | None:
    """A callback: comma-separated names, the option given once or several times; None where it is not given."""
    parts = [part.strip() for value in values for part in value.split(",")]
    if not all(parts):
        raise click.BadParameter("an empty name")
    return parts or None


def seconds(_: click.Context, __: click.Parameter, value: str | None) -> float | None:
    """A callback: a time with a unit, or in seconds; None where it is not given."""
    if value is None:
        return None
    try:
        return parse_seconds(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


def sources_option(command: F) -> F:
    return click.option(
        "--sources",
        multiple=True,
        callback=names,
        metavar="NAME,...",
        help="Consider only these sources, in this order of standing (see `powerprobe list`).",
    )(command)


def root_option(command: F) -> F:
    return click.option(
        "--root",
        type=click.Path(exists=True, file_okay=False),
        metavar="DIR",
        help="Look at DIR/sys, DIR/dev and DIR/proc instead of this machine; for testing your own scripts.",
    )(command)


def channels_option(command: F) -> F:
    return click.option(
        "--channels",
        multiple=True,
        callback=names,
        metavar="NAME,...",
        help="Measure these only; patterns as in a shell ('package-*'; '*' is all, single cores too).",
    )(command)


def all_gpus_option(command: F) -> F:
    return click.option("--all-gpus", is_flag=True, help="Measure the GPUs that CUDA_VISIBLE_DEVICES hides, too.")(
        command
    )


def strict_option(command: F) -> F:
    return click.option(
        "--strict",
        is_flag=True,
        help="Fail where no counter can be read, instead of estimating. POWERPROBE_STRICT=1 does the same.",
    )(command)


def period_option(command: F) -> F:
    return click.option(
        "--period",
        callback=seconds,
        metavar="TIME",
        help="Read the counters at a fixed rate, so often (such as 500us), whatever they do.",
    )(command)


def replay_option(command: F) -> F:
    return click.option(
        "--replay",
        "replay_file",
        type=click.Path(exists=True, dir_okay=False),
        metavar="FILE",
        help="Play the counters in FILE instead of reading the machine's; for testing your own scripts.",
    )(command)


def json_option(command: F) -> F:
    return click.option(
        "--json", "as_json", is_flag=True, help="One JSON object instead of a table; see docs/json.md."
    )(command)
