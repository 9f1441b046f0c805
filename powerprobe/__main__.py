# SPDX-License-Identifier: MIT
"""`python -m powerprobe`: the command line."""

import sys

from powerprobe.cli import main

sys.exit(main())
