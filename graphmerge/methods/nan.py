"""NAN (arXiv 2505.16148): coefficients by the inverse of norms.

The paper speaks of the norms of parameters, which are nearly the same in all fine-tunes of one
base: `norms: models` takes these. The default takes norms of task vectors, which say how much each
model has changed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import evolve

from graphmerge.graph import make_node
from graphmerge.methods.base import BaseRule, Group, MergeInputs, Method
from graphmerge.methods.parameters import SCALE
from graphmerge.methods.task_vectors import add_to_base, task_vectors
from graphmerge.methods.whole_model import SCOPE, scope_of, squared_norms
from graphmerge.ops.spherical import Combine, Gram
from graphmerge.ops.whole_model import InverseRootShares
from graphmerge.recipe.signature import ParameterSpec

if TYPE_CHECKING:
    from graphmerge.graph import Node
    from graphmerge.methods.base import Survey


def survey(merges: tuple[MergeInputs, ...]) -> Survey:
    """With `scope: model` the coefficients, over all tensors."""
    if scope_of(merges) == "tensor":
        return {}
    squares = squared_norms(merges, _measured)
    return {"coefficients": (make_node(InverseRootShares(), squares),)}


def build(merge: MergeInputs) -> Node:
    """B + lambda * sum_i c_i (T_i - B)."""
    if merge.parameters["scope"] == "model":
        (coefficients,) = merge.survey["coefficients"]
    else:
        squares = (make_node(Gram(), x) for x in _measured(merge))
        coefficients = make_node(InverseRootShares(), *squares)
    return add_to_base(merge, make_node(Combine(), *task_vectors(merge), coefficients))


def _measured(merge: MergeInputs) -> tuple[Node, ...]:
    """Of what norms are taken."""
    if merge.parameters["norms"] == "models":
        return tuple(model.node for model in merge.fine_tunes)
    return task_vectors(merge)


METHOD = Method(
    name="nan",
    summary="Task arithmetic with weights in inverse proportion to the size of task vectors.",
    formula="B + lambda sum_i c_i d_i, d_i = T_i - B, c_i = (1 / |d_i|) / sum_j (1 / |d_j|); "
    "or |T_i| for |d_i|",
    use_when="task vectors of very different size, of which the largest would drown the others",
    paper="NAN, arXiv 2505.16148",
    build=build,
    survey=survey,
    wants_survey=lambda parameters, _: parameters["scope"] == "model",
    base=BaseRule.REQUIRED,
    group=Group.TASK_VECTORS,
    parameters=(
        evolve(SCOPE, doc="Take norms of each tensor, or of the whole model."),
        ParameterSpec(
            "norms",
            str,
            "task_vectors",
            per_model=False,
            doc="Of what norms are taken: of task vectors, or of the models as the paper says.",
            choices=("task_vectors", "models"),
        ),
        SCALE,
    ),
    least_models=2,
)
