"""Progress bars on stderr: bytes done, rate, time left, and memory against the budget."""

from __future__ import annotations

from contextlib import contextmanager
from functools import partial
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

from graphmerge.cli.messages import RunMessages
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


class _DrawnRun(RunMessages):
    """Moves a bar; prints messages above it."""

    def __init__(self, plan: Plan, progress: Progress) -> None:
        echo = partial(progress.console.print, markup=False, highlight=False, soft_wrap=True)
        super().__init__(plan, echo)
        self._progress = progress
        self._task = progress.add_task("merge", total=plan.written_bytes)
        self._sizes = [output.spec.nbytes for unit in plan.units for output in unit.unit.outputs]

    def progressed(self, counts: Counts) -> None:
        """Move the bar."""
        super().progressed(counts)
        self._progress.update(self._task, completed=counts.written_bytes)

    def continues(self, finished: int) -> None:
        """Say so; the bar is over what remains.

        Which tensors are finished is not told, only how many. Work goes in order, so the first ones
        stand for them: off by no more than one tensor for each worker.
        """
        super().continues(finished)
        self._progress.update(self._task, total=sum(self._sizes[finished:]))


@contextmanager
def drawn_run(plan: Plan) -> Iterator[RunMessages]:
    """The listener of a run that draws a bar."""
    with _progress(_MemoryColumn(plan.request.budget_bytes)) as progress:
        yield _DrawnRun(plan, progress)


@contextmanager
def drawn_bytes(name: str, total_bytes: int) -> Iterator[Callable[[int], None]]:
    """A bar over bytes; yields the function that moves it by a number of bytes."""
    with _progress() as progress:
        task = progress.add_task(name, total=total_bytes)
        yield lambda size_bytes: progress.advance(task, size_bytes)


def _progress(*columns: ProgressColumn) -> Progress:
    console = Console(stderr=True)
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(binary_units=True),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        *columns,
        console=console,
        refresh_per_second=REFRESHES_PER_SECOND,
        disable=not console.is_terminal,  # calibration has none, and takes what a bar would
    )
