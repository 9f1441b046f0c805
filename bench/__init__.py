# SPDX-License-Identifier: MIT
"""What powerprobe costs, next to the limit and to what others cost: `python -m bench`. See README.md."""
