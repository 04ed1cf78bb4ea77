"""graphmerge: a compiler for model merges.

Everything public in Python is here; `import graphmerge` alone loads none of it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from graphmerge.errors import (
        BudgetError,
        CheckpointError,
        GraphError,
        GraphmergeError,
        InputError,
        MachineError,
        OutputError,
        RecipeError,
    )
    from graphmerge.expressions import (
        Expression,
        MergePlan,
        from_recipe,
        interpolate,
        load,
        merge,
        sign_consensus,
        sparsify,
        stack_layers,
        to_recipe,
        weighted_sum,
    )
    from graphmerge.methods.base import MergeInputs
    from graphmerge.plugins.decorators import merge_graph, merge_method, sparsifier
    from graphmerge.plugins.formats import checkpoint_reader

_MODULES = {
    **dict.fromkeys(
        (
            "BudgetError",
            "CheckpointError",
            "GraphError",
            "GraphmergeError",
            "InputError",
            "MachineError",
            "OutputError",
            "RecipeError",
        ),
        "graphmerge.errors",
    ),
    **dict.fromkeys(
        (
            "Expression",
            "MergePlan",
            "from_recipe",
            "interpolate",
            "load",
            "merge",
            "sign_consensus",
            "sparsify",
            "stack_layers",
            "to_recipe",
            "weighted_sum",
        ),
        "graphmerge.expressions",
    ),
    **dict.fromkeys(("merge_graph", "merge_method", "sparsifier"), "graphmerge.plugins.decorators"),
    "checkpoint_reader": "graphmerge.plugins.formats",
    "MergeInputs": "graphmerge.methods.base",
}
"""Where each public name is defined."""

__all__ = [
    "BudgetError",
    "CheckpointError",
    "Expression",
    "GraphError",
    "GraphmergeError",
    "InputError",
    "MachineError",
    "MergeInputs",
    "MergePlan",
    "OutputError",
    "RecipeError",
    "checkpoint_reader",
    "from_recipe",
    "interpolate",
    "load",
    "merge",
    "merge_graph",
    "merge_method",
    "sign_consensus",
    "sparsifier",
    "sparsify",
    "stack_layers",
    "to_recipe",
    "weighted_sum",
]


def __getattr__(name: str) -> object:
    """Import a public name when it is first used."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
