"""The operations of `graph:` sections and of Python expressions: one op each, over whole models.

An operation is a method whose inputs have their roles by place. What goes in and comes out may be
task vectors as well as weights; the ops check that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from graphmerge.graph import Node, make_node
from graphmerge.methods.base import BaseRule, MergeInputs, Method
from graphmerge.methods.parameters import normalize, of_each, own, switch
from graphmerge.methods.ranges import out_of_range
from graphmerge.methods.slerp import interpolated
from graphmerge.methods.sparsifiers import find_sparsifier
from graphmerge.methods.task_vectors import restore_norm
from graphmerge.ops.arithmetic import AddDelta, Scale, TaskVector, weighted
from graphmerge.ops.consensus import elected
from graphmerge.recipe.signature import REQUIRED, ParameterSpec

if TYPE_CHECKING:
    from collections.abc import Mapping

    from graphmerge.recipe.values import Scalar


def _task_vector(merge: MergeInputs) -> Node:
    return make_node(TaskVector(), *merge.nodes)


def _weighted_sum(merge: MergeInputs) -> Node:
    weights = _weights(merge)
    return make_node(weighted(weights, normalize=merge.flag("normalize")), *merge.nodes)


def _scale(merge: MergeInputs) -> Node:
    return make_node(Scale(merge.number("factor")), *merge.nodes)


def _add_delta(merge: MergeInputs) -> Node:
    return make_node(AddDelta(merge.number("scale")), *merge.nodes)


def _sparsify(merge: MergeInputs) -> Node:
    (delta,) = merge.models
    density = merge.number("density")
    if not 0 <= density <= 1:
        raise out_of_range(merge, "density", density, "0 to 1", delta)
    sparsifier = find_sparsifier(str(merge.parameters["method"]))
    sparse = sparsifier(merge, delta, delta.node, density)
    return restore_norm(delta.node, sparse) if merge.parameters["rescale"] == "l1" else sparse


def _sign_consensus(merge: MergeInputs) -> Node:
    return make_node(elected(_weights(merge), normalize=merge.flag("normalize")), *merge.nodes)


def _interpolate(merge: MergeInputs) -> Node:
    first, second = merge.nodes
    return interpolated(first, second, merge.number("t"))


def _same(merge: MergeInputs) -> Node:
    return merge.models[0].node


def _first_or_other(parameters: Mapping[str, Scalar]) -> int:
    return int(bool(parameters["other"]))


def _weights(merge: MergeInputs) -> tuple[float, ...]:
    return tuple(model.number("weight") for model in merge.models)


_WEIGHT = of_each("weight", 1.0, "How much this input counts.")

_ALL = (
    Method(
        name="task-vector",
        summary="The difference of two models.",
        formula="T - B",
        use_when="taking what a fine-tune has learned; inputs: model, base",
        paper="Editing models with task arithmetic, arXiv 2212.04089",
        build=_task_vector,
        base=BaseRule.NONE,
        least_models=2,
        most_models=2,
    ),
    Method(
        name="weighted-sum",
        summary="A weighted sum of models or of task vectors.",
        formula="sum_i w_i x_i, / sum_i w_i if normalize",
        use_when="averaging models, or adding up task vectors",
        paper="Model soups, arXiv 2203.05482",
        build=_weighted_sum,
        base=BaseRule.NONE,
        parameters=(
            _WEIGHT,
            normalize(default=False),
        ),
    ),
    Method(
        name="scale",
        summary="Every entry times a factor.",
        formula="factor * x",
        use_when="making a task vector larger or smaller",
        paper="Editing models with task arithmetic, arXiv 2212.04089",
        build=_scale,
        base=BaseRule.NONE,
        parameters=(ParameterSpec("factor", float, REQUIRED, per_model=False, doc="The factor."),),
        most_models=1,
    ),
    Method(
        name="add-delta",
        summary="A model plus a scaled task vector.",
        formula="B + scale * d",
        use_when="applying a task vector; inputs: model, task vector",
        paper="Editing models with task arithmetic, arXiv 2212.04089",
        build=_add_delta,
        base=BaseRule.NONE,
        parameters=(own("scale", 1.0, "What the task vector is multiplied by."),),
        least_models=2,
        most_models=2,
    ),
    Method(
        name="sparsify",
        summary="A task vector with part of its entries, the others zero.",
        formula="x where kept, else 0; times |x|_1 / |kept|_1 with rescale: l1",
        use_when="thinning a task vector before it is combined with others",
        paper="TIES-Merging, arXiv 2306.01708 (magnitude); DARE, arXiv 2311.03099 (random)",
        build=_sparsify,
        base=BaseRule.NONE,
        parameters=(
            ParameterSpec("density", float, REQUIRED, per_model=False, doc="Fraction to keep."),
            ParameterSpec(
                "method",
                str,
                "magnitude",
                per_model=False,
                doc="Keep the largest entries (magnitude), or a random choice (random).",
            ),
            ParameterSpec(
                "rescale",
                str,
                "none",
                per_model=False,
                doc="Scale the rest so that the L1 norm stays, or not.",
                choices=("none", "l1"),
            ),
        ),
        most_models=1,
    ),
    Method(
        name="sign-consensus",
        summary="The entries of task vectors that point where most of their weight points.",
        formula="sum of w_i d_i of the elected sign, / sum of their w_i if normalize",
        use_when="combining task vectors that contradict each other",
        paper="TIES-Merging, arXiv 2306.01708",
        build=_sign_consensus,
        base=BaseRule.NONE,
        parameters=(
            _WEIGHT,
            normalize(default=True),
        ),
    ),
    Method(
        name="interpolate",
        summary="Spherical interpolation between two models or two task vectors.",
        formula="(sin((1-t)W) x + sin(tW) y) / sin W, W the angle; linear if |cos W| > 0.9995",
        use_when="blending two models",
        paper="Shoemake, Animating rotation with quaternion curves, 1985",
        build=_interpolate,
        base=BaseRule.NONE,
        parameters=(
            ParameterSpec("t", float, REQUIRED, per_model=False, doc="0 the first, 1 the second."),
        ),
        least_models=2,
        most_models=2,
        position="t",
    ),
    Method(
        name="where",
        summary="The first input, or the other one for some tensors.",
        formula="y for the tensors named, else x",
        use_when="taking heads or embeddings from another model",
        paper="",
        build=_same,
        base=BaseRule.NONE,
        parameters=(switch("other", default=False, doc="Take the other."),),
        least_models=2,
        most_models=2,
        choose=_first_or_other,
    ),
    Method(
        name="cast",
        summary="The same values, written in another dtype.",
        formula="x",
        use_when="changing the dtype of the output",
        paper="",
        build=_same,
        base=BaseRule.NONE,
        most_models=1,
        copies_lone_source=True,
    ),
)
OPERATIONS: dict[str, Method] = {method.name: method for method in _ALL}
"""Every operation, by name."""
