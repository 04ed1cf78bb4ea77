"""Task vectors that are known by their factors: those of adapters over the base of a merge."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graphmerge.graph import make_node
from graphmerge.methods.task_vectors import task_vector
from graphmerge.ops.arithmetic import Cast, Scale
from graphmerge.ops.factors import FactoredDelta, MergeFactors
from graphmerge.ops.low_rank import AddLowRank
from graphmerge.ops.sources import LoadTensor
from graphmerge.spec import DType

if TYPE_CHECKING:
    from graphmerge.graph import Node
    from graphmerge.methods.base import MergeInputs
    from graphmerge.ops.matrix_rules import MatrixRule


def merged_factors(merge: MergeInputs, rule: MatrixRule) -> Node | None:
    """What a rule makes of the task vectors in their core space, from factors alone.

    Zero where no model has changed the base; None if not every model is the base with an adapter,
    or the base as it is.
    """
    base = _as_stored(merge.base_node)
    found = [_factors(_as_stored(model.node), base) for model in merge.fine_tunes]
    parts = [part for part in found if part is not None]
    if len(parts) < len(found):
        return None
    if not any(delta.rank for delta, _ in parts):
        return make_node(Scale(0.0), task_vector(merge, merge.fine_tunes[0]))
    spec = merge.base_node.spec
    rows, columns = spec.shape
    op = MergeFactors(rule, (rows, columns), spec.dtype, tuple(delta for delta, _ in parts))
    return make_node(op, *(node for _, nodes in parts for node in nodes))


def _factors(node: Node, base: Node) -> tuple[FactoredDelta, tuple[Node, ...]] | None:
    """How a model differs from the base, with A and B; None if it is no adapter of it."""
    if _is_same(node, base):
        return FactoredDelta(0), ()
    if not isinstance(node.op, AddLowRank) or not _is_same(node.inputs[0], base):
        return None
    _, a, b = node.inputs
    return FactoredDelta(a.spec.shape[0], node.op.scale, node.op.is_transposed), (a, b)


def _as_stored(node: Node) -> Node:
    """What is cast, where casting loses nothing."""
    while isinstance(node.op, Cast) and _holds(node.spec.dtype, node.inputs[0].spec.dtype):
        (node,) = node.inputs
    return node


def _holds(wide: DType, narrow: DType) -> bool:
    """Whether a float dtype has every value of another."""
    return wide is narrow or wide is DType.F64 or (wide is DType.F32 and narrow is not DType.F64)


def _is_same(first: Node, second: Node) -> bool:
    """Whether two nodes read the same, whatever the models are called that they belong to."""
    if first is second:
        return True
    if isinstance(first.op, LoadTensor) and isinstance(second.op, LoadTensor):
        return first.op.entry == second.op.entry
    if first.op != second.op or not first.inputs or len(first.inputs) != len(second.inputs):
        return False
    return all(map(_is_same, first.inputs, second.inputs))
