"""Where tables and trees are drawn."""

from __future__ import annotations

import sys

from rich.console import Console
from rich.table import Table

PIPE_WIDTH = 160
"""Columns where stdout is no terminal: rich's own 80 would break names apart."""


def stdout_console() -> Console:
    """A console on stdout that takes every text as it is."""
    width = None if sys.stdout.isatty() else PIPE_WIDTH
    return Console(width=width, markup=False, highlight=False, emoji=False)


def columns(*justify: str) -> Table:
    """A table without lines; one word for each column: `left` or `right`."""
    table = Table.grid(padding=(0, 2))
    for side in justify:
        table.add_column(justify="right" if side == "right" else "left", overflow="fold")
    return table
