"""Progress bars on stderr: bytes done, rate, time left, and memory against the budget."""

from __future__ import annotations

from contextlib import contextmanager
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
    from collections.abc import Callable, Iterator

    from rich.progress import Task

    from graphmerge.execution.events import Counts
    from graphmerge.schedule.plan import Plan

REFRESHES_PER_SECOND = 5


class _MemoryColumn(ProgressColumn):
    """Resident memory of this moment against the budget."""

    def __init__(self, budget_bytes: int) -> None:
        super().__init__()
        self._budget = format_bytes(budget_bytes)

    def render(self, task: Task) -> Text:
        return Text(f"memory {format_bytes(resident_bytes())} of {self._budget}")


class RunDisplay:
    """Draws a run and prints its warnings; a `Listener`."""

    def __init__(self, plan: Plan, *, quiet: bool) -> None:
        self._console = Console(stderr=True)
        self._progress = _progress(
            self._console, _MemoryColumn(plan.request.budget_bytes), quiet=quiet
        )
        self._task = self._progress.add_task("merge", total=plan.written_bytes)
        self._sizes = [output.spec.nbytes for unit in plan.units for output in unit.unit.outputs]
        self._has_begun = False

    def __enter__(self) -> RunDisplay:
        self._progress.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self._progress.stop()

    def progressed(self, counts: Counts) -> None:
        """Move the bar; the first call tells what an interrupted run had finished."""
        if not self._has_begun:
            self._has_begun = True
            self._continue(counts.finished_tensors)
        self._progress.update(self._task, completed=counts.written_bytes)

    def _continue(self, finished: int) -> None:
        """Say so if there is something to continue; the bar is over what remains.

        Which tensors are finished is not told, only how many. Work goes in order, so the first ones
        stand for them: off by no more than one tensor for each worker.
        """
        if finished:
            done = f"{finished} of {len(self._sizes)} tensors"
            self._print(f"continuing an interrupted run: {done} are finished")
            self._progress.update(self._task, total=sum(self._sizes[finished:]))

    def warned(self, text: str) -> None:
        """Print a warning above the bar."""
        self._print(f"warning: {text}")

    def _print(self, text: str) -> None:
        self._console.print(visible(text), markup=False, highlight=False, soft_wrap=True)


@contextmanager
def bytes_progress(
    name: str, total_bytes: int, *, quiet: bool = False
) -> Iterator[Callable[[int], None]]:
    """A bar over bytes; yields the function that moves it by a number of bytes."""
    with _progress(Console(stderr=True), quiet=quiet) as progress:
        task = progress.add_task(visible(name), total=total_bytes)
        yield lambda size_bytes: progress.advance(task, size_bytes)


def _progress(console: Console, *columns: ProgressColumn, quiet: bool) -> Progress:
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(binary_units=True),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        *columns,
        console=console,
        refresh_per_second=REFRESHES_PER_SECOND,
        disable=quiet or not console.is_terminal,
    )
