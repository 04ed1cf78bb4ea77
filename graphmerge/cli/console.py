"""Where plans, tables and trees are printed."""

from __future__ import annotations

import sys

from rich.console import Console

PIPE_WIDTH = 160
"""Columns where stdout is no terminal: rich's own 80 would break names apart."""


def stdout_console() -> Console:
    """A console on stdout that takes every text as it is."""
    width = None if sys.stdout.isatty() else PIPE_WIDTH
    return Console(width=width, markup=False, highlight=False, emoji=False)
