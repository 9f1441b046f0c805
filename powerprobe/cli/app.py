# SPDX-License-Identifier: MIT
"""The command group, and what a failure looks like: a sentence, the remedy, an exit status, no traceback."""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence

import click

from .._core import __version__
from ..errors import BadArgument, PowerprobeError
from .bench import bench_command
from .doctor import doctor_command
from .list import list_command
from .run import die_of
from .stat import stat_command

USAGE = 2
CANNOT_MEASURE = 3


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, "-V", "--version", prog_name="powerprobe")
def powerprobe() -> None:
    """Learn where energy goes: hardware energy counters, joules with bounds."""


for _command in (stat_command, bench_command, list_command, doctor_command):
    powerprobe.add_command(_command)


def run(args: Sequence[str] | None) -> int:
    """Runs a command and returns the exit status; everything that a user can get wrong ends here."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")  # a terminal that cannot show a character shall not end the program
    try:
        status = powerprobe.main(args=args, prog_name="powerprobe", standalone_mode=False)
        return status if isinstance(status, int) else 0
    except (click.Abort, KeyboardInterrupt):
        return die_of(signal.SIGINT)
    except click.ClickException as error:
        error.show()
        return USAGE
    except PowerprobeError as error:
        print(f"powerprobe: {error}", file=sys.stderr)
        return USAGE if isinstance(error, BadArgument) else CANNOT_MEASURE
