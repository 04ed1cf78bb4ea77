"""The exception tree: every mistake of a user or of the machine that graphmerge can name.

A message says what is wrong, where (recipe path, file, tensor), what was got, what is wanted and
what to do. The command line prints it without a traceback and exits with `exit_code`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from graphmerge.frozen_classes import frozen

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


@frozen
class Problem:
    """One thing that is wrong, in the parts that every message has."""

    what: str
    """What is wrong, in a few words: `unknown parameter 'weigth'`."""
    where: str = ""
    """Recipe path (`$.models[1].parameters`), file or tensor name."""
    got: str = ""
    """The value that was found."""
    wanted: str = ""
    """What is allowed."""
    hint: str = ""
    """What to do about it: `did you mean 'weight'?`."""

    def __str__(self) -> str:
        text = self.what + (f" @ {self.where}" if self.where else "")
        if self.got:
            text += f": got {self.got}"
        if self.wanted:
            text += f"; wanted {self.wanted}"
        return text + (f" ({self.hint})" if self.hint else "")


def shortened(problems: Iterable[Problem], *, most: int) -> list[Problem]:
    """The first problems, at most so many, and one that says how many more there are."""
    every = list(problems)
    left = len(every) - most
    more = [Problem(f"{left} more problem{'s' if left > 1 else ''}")] if left > 0 else []
    return [*every[:most], *more]


def some(names: Sequence[str], *, most: int = 3) -> str:
    """The first names, at most so many, and how many there are beside."""
    left = len(names) - most
    return ", ".join(names[:most]) + (f" and {left} more" if left > 0 else "")


class GraphmergeError(ValueError):
    """Base of every error that graphmerge raises on purpose; carries one or more problems."""

    exit_code: ClassVar[int] = 2

    def __init__(self, *problems: Problem | str) -> None:
        self.problems: tuple[Problem, ...] = tuple(
            Problem(problem) if isinstance(problem, str) else problem for problem in problems
        )
        super().__init__("\n".join(str(problem) for problem in self.problems))


class InputError(GraphmergeError):
    """The user's input is wrong: recipe, checkpoint, option. Exit code 2."""


class RecipeError(InputError):
    """A recipe is wrong; holds every problem that was found, each with its path."""


class CheckpointError(InputError):
    """A checkpoint is unreadable, corrupt, or does not fit the merge."""


class GraphError(InputError):
    """Nodes were combined in a way that has no meaning, such as adding two weights."""


class OutputError(InputError):
    """The output folder cannot be used: not empty, or half-finished by another merge."""


class BudgetError(GraphmergeError):
    """No plan fits the memory budget. Exit code 3."""

    exit_code = 3


class MachineError(GraphmergeError):
    """The machine failed: disk full, file unreadable, device missing. Exit code 1."""

    exit_code = 1
