"""A stored tensor with a low-rank product added to it: what an adapter makes of a weight."""

from __future__ import annotations

import math
from typing import ClassVar

from graphmerge.errors import GraphError, Problem
from graphmerge.frozen_classes import frozen
from graphmerge.graph import Access, Op, Space, Workspace
from graphmerge.spec import DType, TensorSpec

LOW_RANK_ELEMENTS = 65536
"""Elements that are computed at a time, where rows are not longer."""
_PANEL_COLUMNS = 16
"""Columns of a panel, to which the last ones are padded."""
_CHUNK_BYTES = 24
"""Bytes per element of a chunk: a product of float64, and what is read, converted in two steps."""


@frozen(cache_hash=True)
class AddLowRank(Op):
    """W + scale * B A, the product transposed where W is stored that way.

    Inputs are W, A of shape (rank, columns) and B of shape (rows, rank); axes behind the second
    one, of convolutions, count as columns. All are read from files: the op stands where a stored
    tensor stands in a program. Every element is added up over the ranks in rising order, then
    scaled, then added to W, in float32 (float64 for a W of float64), each step rounded.
    """

    kind: ClassVar[str] = "add-low-rank"
    access: ClassVar[Access] = Access.ELEMENTWISE
    scheduled_alike: ClassVar[bool] = True

    scale: float
    """What the product is multiplied by."""
    is_transposed: bool = False
    """Whether W is that of columns by rows, as of an embedding or of GPT-2's layers."""

    def infer(self, inputs: tuple[TensorSpec, ...]) -> TensorSpec:
        """The shape of W, in the dtype of the arithmetic."""
        weight, a, b = inputs
        product = product_shape(a, b, is_transposed=self.is_transposed)
        if product != weight.shape:
            got = f"{list(a.shape)} and {list(b.shape)} for {list(weight.shape)}"
            raise GraphError(Problem("factors that do not fit the weight", got=got))
        if not all(spec.dtype.is_mergeable_float for spec in inputs):
            got = ", ".join(spec.dtype.value for spec in inputs)
            raise GraphError(Problem("a product of these dtypes cannot be added", got=got))
        return weight.with_dtype(weight.dtype.arithmetic)

    def space(self, inputs: tuple[Space, ...]) -> Space:
        """A weight with something added is a weight."""
        return Space.WEIGHT

    def workspace(self, inputs: tuple[TensorSpec, ...]) -> Workspace:
        """The right factor whole and laid out in panels, some rows of the left one, and a chunk."""
        weight, a, _ = inputs
        rank, columns = a.shape[0], row_length(weight)
        number = 8 if weight.dtype is DType.F64 else 4
        chunk = max(columns, LOW_RANK_ELEMENTS)
        rows = max(1, LOW_RANK_ELEMENTS // max(columns, 1))
        left = max(rows * rank, LOW_RANK_ELEMENTS)
        right = number * rank * (2 * columns + _PANEL_COLUMNS)
        return Workspace(fixed_bytes=right + _CHUNK_BYTES * (chunk + left + rank))

    def settings(self) -> str:
        """The scale."""
        return f"{self.scale:g}, transposed" if self.is_transposed else f"{self.scale:g}"


def row_length(spec: TensorSpec) -> int:
    """Elements of a row: all axes but the first."""
    return math.prod(spec.shape[1:])


def product_shape(a: TensorSpec, b: TensorSpec, *, is_transposed: bool) -> tuple[int, ...] | None:
    """The shape of B A, or of its transpose; None where the factors do not fit each other."""
    if len(a.shape) < 2 or len(b.shape) < 2 or b.shape[1] != a.shape[0]:
        return None
    if math.prod(b.shape[2:]) != 1 or (is_transposed and len(a.shape) > 2):
        return None
    return (a.shape[1], b.shape[0]) if is_transposed else (b.shape[0], *a.shape[1:])
