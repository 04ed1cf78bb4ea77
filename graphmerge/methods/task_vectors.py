"""Steps that task-vector methods are composed of."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from graphmerge.graph import Node, make_node
from graphmerge.methods.order_statistics import cutoffs
from graphmerge.methods.ranges import fraction_of
from graphmerge.ops.arithmetic import AddDelta, Scale, TaskVector, weighted
from graphmerge.ops.consensus import elected
from graphmerge.ops.outliers import DropLargest
from graphmerge.ops.rescale import AbsoluteSum, Ratio, Rescale
from graphmerge.ops.sparsify import KeepLargest, RandomDrop

if TYPE_CHECKING:
    from collections.abc import Callable

    from graphmerge.methods.base import MergeInputs, ModelInput

LEAST_WEIGHT_SUM = 1e-8
"""A sum of weights below this counts as 1 when a linear combination is normalised."""

Sparsifier: TypeAlias = "Callable[[MergeInputs, ModelInput, Node], Node]"
"""Maps a model's task vector to a sparser one."""


def task_vector(merge: MergeInputs, model: ModelInput) -> Node:
    """Tau = T - B."""
    return make_node(TaskVector(), model.node, merge.base_node)


def task_vectors(merge: MergeInputs) -> tuple[Node, ...]:
    """Every fine-tune's task vector."""
    return tuple(task_vector(merge, model) for model in merge.fine_tunes)


def density_of(merge: MergeInputs, model: ModelInput) -> float:
    """The model's density. Raises RecipeError outside 0 to 1."""
    return fraction_of(merge, model, "density")


def keep_largest(merge: MergeInputs, model: ModelInput, delta: Node) -> Node:
    """The model's `density` of the entries, those of largest magnitude."""
    return largest(delta, density_of(merge, model))


def largest(delta: Node, density: float) -> Node:
    """The max(1, int(density * N)) entries of largest magnitude; none at density 0."""
    count = delta.spec.numel
    if density == 0:
        return make_node(Scale(0.0), delta)
    keep = max(1, int(density * count))
    return delta if keep >= count else make_node(KeepLargest(density), delta, *cutoffs(delta, keep))


def without_outliers(delta: Node, density: float, gamma: float) -> Node:
    """What is left of a delta without its int(gamma * N) largest and many of its least magnitudes.

    Upwards by magnitude max(0, N - kept - top) entries are skipped and the next
    kept = int(density * N) are kept.
    """
    count = delta.spec.numel
    kept, top = int(density * count), int(gamma * count)
    if kept == 0:
        return make_node(Scale(0.0), delta)
    dropped = count - kept - max(0, count - kept - top)
    keep = [number for number in (kept + dropped, dropped) if 0 < number < count]
    found = dict(zip(keep, cutoffs(delta, *keep), strict=True)) if keep else {}
    sparse = delta
    if kept + dropped in found:
        sparse = make_node(KeepLargest(density + gamma), sparse, found[kept + dropped])
    if dropped in found:
        sparse = make_node(DropLargest(gamma), sparse, found[dropped])
    return sparse


def keep_random(merge: MergeInputs, model: ModelInput, delta: Node) -> Node:
    """The model's `density` of the entries, a random choice."""
    return random(merge, model, delta, density_of(merge, model))


def random(merge: MergeInputs, model: ModelInput, delta: Node, density: float) -> Node:
    """Each entry with this probability, by seed, model, tensor name and flat index only."""
    if density == 1:
        return delta
    if density == 0:
        return make_node(Scale(0.0), delta)
    return make_node(RandomDrop(density, merge.mask_key(model)), delta)


def restore_norm(dense: Node, sparse: Node) -> Node:
    """`sparse` scaled to the L1 norm of `dense`; unchanged where it is `dense` or all zero."""
    if sparse is dense:
        return sparse
    factor = make_node(Ratio(), make_node(AbsoluteSum(), dense), make_node(AbsoluteSum(), sparse))
    return make_node(Rescale(), sparse, factor)


def sparse_task_vectors(merge: MergeInputs, sparsify: Sparsifier) -> tuple[Node, ...]:
    """Every fine-tune's task vector, sparsified, and rescaled if the method's `rescale` says so."""
    return tuple(
        _rescaled(merge, model, dense, sparsify(merge, model, dense))
        for model, dense in zip(merge.fine_tunes, task_vectors(merge), strict=True)
    )


def _rescaled(merge: MergeInputs, model: ModelInput, dense: Node, sparse: Node) -> Node:
    """The sparse delta as the method's `rescale` says."""
    if merge.parameters["rescale"] == "inverse_density":
        density = density_of(merge, model)
        return sparse if density in (0, 1) else make_node(Scale(1 / density), sparse)
    return restore_norm(dense, sparse) if merge.flag("rescale") else sparse


def weights_of(merge: MergeInputs) -> tuple[float, ...]:
    """The weight of every fine-tune."""
    return tuple(model.number("weight") for model in merge.fine_tunes)


def add_weighted(merge: MergeInputs, deltas: tuple[Node, ...]) -> Node:
    """B + lambda * sum_i w_i d_i, the sum divided by sum_i w_i if `normalize`."""
    weights = weights_of(merge)
    total = sum(weights)
    divides = merge.flag("normalize") and abs(total) >= LEAST_WEIGHT_SUM
    return add_to_base(merge, make_node(weighted(weights, normalize=divides), *deltas))


def add_elected(merge: MergeInputs, deltas: tuple[Node, ...]) -> Node:
    """B + lambda * the sign consensus of the deltas."""
    return add_to_base(
        merge, make_node(elected(weights_of(merge), normalize=merge.flag("normalize")), *deltas)
    )


def add_to_base(merge: MergeInputs, delta: Node) -> Node:
    """B + lambda * delta."""
    return added(merge, delta, merge.number("lambda"))


def added(merge: MergeInputs, delta: Node, scale: float = 1.0) -> Node:
    """B + scale * delta."""
    return make_node(AddDelta(scale), merge.base_node, delta)
