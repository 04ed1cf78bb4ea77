"""Merges as Python expressions over whole checkpoints."""

from graphmerge.expressions.conversion import from_recipe, to_recipe
from graphmerge.expressions.expression import Expression
from graphmerge.expressions.functions import (
    interpolate,
    merge,
    sign_consensus,
    sparsify,
    stack_layers,
    weighted_sum,
)
from graphmerge.expressions.loading import load
from graphmerge.expressions.plans import MergePlan

__all__ = [
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
]
