"""Bars on a terminal: bytes done, rate, time left, and memory against the budget.

Imported where one is drawn: rich takes 20 ms.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.text import Text

from graphmerge.cli.say import visible
from graphmerge.execution.peak import resident_bytes
from graphmerge.units import format_bytes

if TYPE_CHECKING:
    from rich.progress import Task

REFRESHES_PER_SECOND = 5


class _MemoryColumn(ProgressColumn):
    """Resident memory of this moment against the budget."""

    def __init__(self, budget_bytes: int) -> None:
        super().__init__()
        self._budget = format_bytes(budget_bytes)

    def render(self, task: Task) -> Text:
        return Text(f"memory {format_bytes(resident_bytes())} of {self._budget}")


class Bar:
    """A bar over bytes on stderr; lines are printed above it."""

    def __init__(self, name: str, total_bytes: int, budget_bytes: int | None) -> None:
        self._console = Console(stderr=True)
        columns = [] if budget_bytes is None else [_MemoryColumn(budget_bytes)]
        self._progress = _progress(self._console, *columns)
        self._task = self._progress.add_task(visible(name), total=total_bytes)

    def __enter__(self) -> Bar:
        self._progress.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self._progress.stop()

    def advance(self, size_bytes: int) -> None:
        """Move it by so many bytes."""
        self._progress.advance(self._task, size_bytes)

    def move_to(self, done_bytes: int) -> None:
        """Move it to so many bytes."""
        self._progress.update(self._task, completed=done_bytes)

    def stretch(self, total_bytes: int) -> None:
        """Give it another total."""
        self._progress.update(self._task, total=total_bytes)

    def say(self, line: str) -> None:
        """Print a line above it."""
        self._console.print(visible(line), markup=False, highlight=False, soft_wrap=True)


def _progress(console: Console, *columns: ProgressColumn) -> Progress:
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(binary_units=True),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        *columns,
        console=console,
        refresh_per_second=REFRESHES_PER_SECOND,
        disable=not console.is_terminal,
    )
