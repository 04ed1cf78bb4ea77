"""What a run shows on stderr: messages, and on a terminal a bar, for which rich is imported."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer

from graphmerge.cli.messages import RunMessages

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from graphmerge.schedule.plan import Plan


@contextmanager
def run_display(plan: Plan, *, quiet: bool) -> Iterator[RunMessages]:
    """The listener of a run."""
    if not _draws(quiet=quiet):
        yield RunMessages(plan, lambda text: typer.echo(text, err=True))
        return
    from graphmerge.cli.progress import drawn_run  # noqa: PLC0415 - imports rich

    with drawn_run(plan) as listener:
        yield listener


@contextmanager
def bytes_progress(
    name: str, total_bytes: int, *, quiet: bool = False
) -> Iterator[Callable[[int], None]]:
    """A bar over bytes; yields the function that moves it by a number of bytes."""
    if not _draws(quiet=quiet):
        yield lambda _: None
        return
    from graphmerge.cli.progress import drawn_bytes  # noqa: PLC0415 - imports rich

    with drawn_bytes(name, total_bytes) as advance:
        yield advance


def _draws(*, quiet: bool) -> bool:
    return not quiet and sys.stderr.isatty()
