"""Model Stock (arXiv 2403.19522): how far to go from the base to the mean, by geometry."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from graphmerge.methods.base import BaseRule, Group, MergeInputs, Method
from graphmerge.methods.gram import around_base, combined, combined_rows
from graphmerge.methods.parameters import switch
from graphmerge.ops.coefficients import StockCoefficients

if TYPE_CHECKING:
    from graphmerge.graph import Node


def build(merge: MergeInputs) -> Node:
    """B + t mean_i (T_i - B)."""
    combine = combined_rows if merge.flag("filter_wise") else combined
    return around_base(merge, partial(combine, StockCoefficients()))


METHOD = Method(
    name="model_stock",
    summary="Goes from the base towards the mean as far as the fine-tunes agree in direction.",
    formula="t mean_i T_i + (1-t) B, t = N c / (1 + (N-1) c), c mean cosine of the T_i - B",
    use_when="averaging fine-tunes of one base by the same data, with no weights to choose",
    paper="Model Stock, arXiv 2403.19522",
    build=build,
    base=BaseRule.REQUIRED,
    group=Group.TASK_VECTORS,
    parameters=(
        switch(
            "filter_wise",
            default=False,
            doc="Measure agreement for each row (last axis) instead of each tensor.",
        ),
    ),
    least_models=3,
    copies_lone_source=True,
)
