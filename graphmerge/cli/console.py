"""Where plans, tables and trees are printed."""

from __future__ import annotations

import os
import sys

from rich.console import Console

PIPE_WIDTH = 160
"""Columns where stdout is no terminal: rich's own 80 would break names apart."""


def stdout_console(*, wraps: bool = False) -> Console:
    """A console on stdout that takes every text as it is.

    Args:
        wraps: Whether what is printed may be wrapped: then COLUMNS counts in a pipe, too.
    """
    is_given = sys.stdout.isatty() or (wraps and "COLUMNS" in os.environ)
    width = None if is_given else PIPE_WIDTH
    return Console(width=width, markup=False, highlight=False, emoji=False)
