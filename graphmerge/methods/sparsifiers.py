"""Ways to thin a task vector, by name: what `sparsify` chooses from."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from graphmerge.errors import Problem, RecipeError
from graphmerge.graph import Node
from graphmerge.methods.base import MergeInputs, ModelInput
from graphmerge.methods.task_vectors import largest, random
from graphmerge.recipe.suggestions import suggest

Sparsifier: TypeAlias = Callable[[MergeInputs, ModelInput, Node, float], Node]
"""Maps the merge, the model and its task vector, and a density from 0 to 1 to a sparser node."""


def _magnitude(merge: MergeInputs, model: ModelInput, delta: Node, density: float) -> Node:
    return largest(delta, density)


SPARSIFIERS: dict[str, Sparsifier] = {"magnitude": _magnitude, "random": random}
"""Every sparsifier: the largest entries, a random choice, and those of plug-ins."""


def register_sparsifier(name: str, sparsifier: Sparsifier) -> None:
    """Make a sparsifier known; the same function may be defined again, as in a notebook.

    Raises:
        RecipeError: the name is that of another one.
    """
    known = SPARSIFIERS.get(name)
    if known is not None and _place(known) != _place(sparsifier):
        raise RecipeError(Problem(f"there is a sparsifier {name!r} already", hint="choose another"))
    SPARSIFIERS[name] = sparsifier


def _place(sparsifier: Sparsifier) -> str:
    return f"{sparsifier.__module__}.{sparsifier.__qualname__}"


def find_sparsifier(name: str) -> Sparsifier:
    """The sparsifier of this name. Raises RecipeError with the nearest names for an unknown one."""
    if name not in SPARSIFIERS:
        wanted = "one of " + ", ".join(SPARSIFIERS)
        hint = suggest(name, SPARSIFIERS)
        raise RecipeError(Problem("unknown sparsifier", "method", repr(name), wanted, hint))
    return SPARSIFIERS[name]
