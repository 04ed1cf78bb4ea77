"""The registered methods by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graphmerge.errors import Problem, RecipeError
from graphmerge.methods import (
    dare_linear,
    dare_ties,
    linear,
    passthrough,
    slerp,
    task_arithmetic,
    ties,
)
from graphmerge.recipe.suggestions import suggest

if TYPE_CHECKING:
    from graphmerge.methods.base import Method

METHODS: dict[str, Method] = {
    module.METHOD.name: module.METHOD
    for module in (linear, slerp, task_arithmetic, ties, dare_linear, dare_ties, passthrough)
}
"""Every method, in the order in which they are listed."""


def find_method(name: str) -> Method:
    """The method of this name. Raises RecipeError with the nearest names for an unknown one."""
    if name not in METHODS:
        raise RecipeError(
            Problem(
                f"unknown merge method {name!r}",
                "$.merge_method",
                wanted="one of " + ", ".join(METHODS),
                hint=suggest(name, METHODS),
            )
        )
    return METHODS[name]


def parameter_names() -> frozenset[str]:
    """Names of the parameters of all methods."""
    return frozenset(spec.name for method in METHODS.values() for spec in method.parameters)
