"""How far a run is, on stderr: a bar on a terminal, and only lines elsewhere."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from graphmerge.cli.say import say

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from graphmerge.cli.bars import Bar
    from graphmerge.execution.events import Counts
    from graphmerge.schedule.plan import Plan


class RunDisplay:
    """Shows a run and prints its warnings; a `Listener`."""

    def __init__(self, plan: Plan, *, drawn: bool) -> None:
        self._bar = _bar("merge", plan.written_bytes, plan.request.budget_bytes, drawn=drawn)
        self._sizes = [output.spec.nbytes for unit in plan.units for output in unit.unit.outputs]
        self._has_begun = False

    def __enter__(self) -> RunDisplay:
        self._bar.__enter__()
        return self

    def __exit__(self, *raised: object) -> None:
        self._bar.__exit__(*raised)

    def progressed(self, counts: Counts) -> None:
        """Move the bar; the first call tells what an interrupted run had finished."""
        if not self._has_begun:
            self._has_begun = True
            self._continue(counts.finished_tensors)
        self._bar.move_to(counts.written_bytes)

    def _continue(self, finished: int) -> None:
        """Say so if there is something to continue; the bar is over what remains.

        Which tensors are finished is not told, only how many. Work goes in order, so the first ones
        stand for them: off by no more than one tensor for each worker.
        """
        if finished:
            done = f"{finished} of {len(self._sizes)} tensors"
            self._bar.say(f"continuing an interrupted run: {done} are finished")
            self._bar.stretch(sum(self._sizes[finished:]))

    def warned(self, text: str) -> None:
        """Print a warning above the bar."""
        self._bar.say(f"warning: {text}")


@contextmanager
def bytes_progress(
    name: str, total_bytes: int, *, quiet: bool = False
) -> Iterator[Callable[[int], None]]:
    """A bar over bytes; yields the function that moves it by a number of bytes."""
    with _bar(name, total_bytes, drawn=bars_are_drawn(quiet=quiet)) as bar:
        yield bar.advance


class _NoBar:
    """In the place of a bar where none is drawn: prints lines."""

    def __enter__(self) -> _NoBar:
        return self

    def __exit__(self, *raised: object) -> None: ...

    def advance(self, size_bytes: int) -> None: ...

    def move_to(self, done_bytes: int) -> None: ...

    def stretch(self, total_bytes: int) -> None: ...

    def say(self, line: str) -> None:
        say(line, err=True)


def bars_are_drawn(*, quiet: bool) -> bool:
    """Whether stderr is where bars make sense, and the user has not asked for quiet."""
    return not quiet and sys.stderr.isatty()


def _bar(
    name: str, total_bytes: int, budget_bytes: int | None = None, *, drawn: bool
) -> Bar | _NoBar:
    if not drawn:
        return _NoBar()
    from graphmerge.cli.bars import Bar  # noqa: PLC0415 - slow to import, and seldom drawn

    return Bar(name, total_bytes, budget_bytes)
