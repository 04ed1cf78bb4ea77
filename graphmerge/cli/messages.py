"""What a run has to say in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from graphmerge.execution.events import Counts
    from graphmerge.schedule.plan import Plan


class RunMessages:
    """Prints warnings, and that a run is continued; a `Listener`."""

    def __init__(self, plan: Plan, echo: Callable[[str], None]) -> None:
        """Listen.

        Args:
            plan: What is run.
            echo: Prints a line.
        """
        self._outputs = len(plan.graph.outputs)
        self._echo = echo
        self._has_begun = False

    def progressed(self, counts: Counts) -> None:
        """The first call tells what an interrupted run had finished."""
        if not self._has_begun:
            self._has_begun = True
            if counts.finished_tensors:
                self.continues(counts.finished_tensors)

    def continues(self, finished: int) -> None:
        """Say that an interrupted run goes on, with so many tensors finished."""
        done = f"{finished} of {self._outputs} tensors"
        self._echo(f"continuing an interrupted run: {done} are finished")

    def warned(self, text: str) -> None:
        """Print a warning."""
        self._echo(f"warning: {text}")
