"""The many vectors of a tensor: an inner product matrix and coefficients for each.

A tensor of n elements is cut into vectors along its last axis (rows), or along its first (columns:
of a matrix; of more axes those along the first). Statistics hold a small matrix per vector.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from graphmerge.frozen_classes import frozen
from graphmerge.graph import Access, Fusion, Op, Space, Workspace
from graphmerge.ops.blocks import BLOCK_ELEMENTS, blocks
from graphmerge.ops.checks import all_in, same_compute_spec, shared_space
from graphmerge.spec import DType, TensorSpec

if TYPE_CHECKING:
    from collections.abc import Hashable

VECTOR_CHUNK = 1024
"""Pieces of rows are summed up within stretches of so many elements, from the tensor's first on.
Changing this or the lanes changes results in the last bit."""
VECTOR_LANES = 16
"""Element j of a piece of a row goes to lane j mod 16; 16 elements go to 16 columns at once."""
_SOLVING_NUMBERS = 24
"""Of float64 for each vector, that are held while coefficients are computed."""


def pair_count(count: int) -> int:
    """Pairs of so many tensors, each with itself among them."""
    return count * (count + 1) // 2


class AbstractVectorGram(Op):
    """Inner products <x_i, x_j> of each vector, in float64; shape (vectors, n, n)."""

    access: ClassVar[Access] = Access.REDUCE
    scheduled_alike: ClassVar[bool] = True

    def space(self, inputs: tuple[Space, ...]) -> Space:
        """A statistic of weights or of deltas."""
        shared_space(inputs)
        return Space.STATISTIC

    def scratch(self, inputs: tuple[TensorSpec, ...]) -> tuple[DType, ...]:
        """Every input in float64, and a product."""
        return (DType.F64,) * (len(inputs) + 1)


@frozen(cache_hash=True)
class RowGram(AbstractVectorGram):
    """Of each row, summed up piece by piece (`graphmerge.statistics.vectors`)."""

    kind: ClassVar[str] = "row-gram"

    rows: int
    """Number of rows."""
    row: int
    """Elements of a row."""

    @property
    def slots(self) -> int:
        """Most rows that have a part in one block."""
        in_block = min(BLOCK_ELEMENTS, self.rows * self.row)
        return min((in_block + self.row - 2) // self.row + 1, self.rows)

    def infer(self, inputs: tuple[TensorSpec, ...]) -> TensorSpec:
        """A matrix per row."""
        same_compute_spec(inputs)
        return TensorSpec((self.rows, len(inputs), len(inputs)), DType.F64)

    def fusion(self, inputs: tuple[TensorSpec, ...]) -> Fusion | None:
        """Sums of pieces of rows in each block, made of whole chunks."""
        return Fusion(reads_chunk=True, block_sums=pair_count(len(inputs)) * self.slots)

    def workspace(self, inputs: tuple[TensorSpec, ...]) -> Workspace:
        """Pieces of a block, padded, with places; sums of the tile's blocks."""
        width = -(-min(self.row, VECTOR_CHUNK) // VECTOR_LANES) * VECTOR_LANES
        pieces = BLOCK_ELEMENTS // VECTOR_CHUNK + BLOCK_ELEMENTS // self.row + 2
        slots = self.slots * pair_count(len(inputs))
        per_element = -(-8 * slots // BLOCK_ELEMENTS)
        return Workspace(per_element, 80 * pieces * width + 16 * slots)

    def state_bytes(self, inputs: tuple[TensorSpec, ...]) -> int:
        """A sum per pair, block and row in it, and per row; what solving takes."""
        by_row = self.rows * (pair_count(len(inputs)) + _SOLVING_NUMBERS)
        return 8 * (blocks(inputs[0]) * pair_count(len(inputs)) * self.slots + by_row)


@frozen(cache_hash=True)
class ColumnGram(AbstractVectorGram):
    """Of each column, summed up by blocks in a fixed tree (`graphmerge.statistics.vectors`)."""

    kind: ClassVar[str] = "column-gram"

    columns: int
    """Number of columns: the elements of a row."""

    @property
    def slots(self) -> int:
        """Sums of a block: of every column in it, and of what goes beyond the last one."""
        return min(self.columns, BLOCK_ELEMENTS) + VECTOR_LANES

    def infer(self, inputs: tuple[TensorSpec, ...]) -> TensorSpec:
        """A matrix per column."""
        same_compute_spec(inputs)
        return TensorSpec((self.columns, len(inputs), len(inputs)), DType.F64)

    def fusion(self, inputs: tuple[TensorSpec, ...]) -> Fusion | None:
        """Sums of columns in each block, made of whole chunks."""
        return Fusion(reads_chunk=True, block_sums=pair_count(len(inputs)) * self.slots)

    def workspace(self, inputs: tuple[TensorSpec, ...]) -> Workspace:
        """Places of a block's elements; sums of the tile's blocks."""
        slots = self.slots * pair_count(len(inputs))
        return Workspace(-(-8 * slots // BLOCK_ELEMENTS), 16 * BLOCK_ELEMENTS + 16 * slots)

    def state_bytes(self, inputs: tuple[TensorSpec, ...]) -> int:
        """Sums of runs of blocks, while eight tiles are out of order; what solving takes."""
        count = blocks(inputs[0])
        held = min(count, 8 * (count.bit_length() + 1)) + 2
        return 8 * self.columns * (held * pair_count(len(inputs)) + _SOLVING_NUMBERS)


@frozen(cache_hash=True)
class CombineVectors(Op):
    """sum_i c_i x_i for each vector, of inputs (x_1, ..., x_n, c), c of shape (n, vectors)."""

    kind: ClassVar[str] = "combine-vectors"
    access: ClassVar[Access] = Access.ELEMENTWISE

    row: int
    """Elements of a row."""
    is_columns: bool
    """Whether the vectors are the columns, instead of the rows."""

    def structure(self) -> Hashable:
        """Which vectors: lengths follow from specs."""
        return (type(self), self.is_columns)

    def infer(self, inputs: tuple[TensorSpec, ...]) -> TensorSpec:
        """The common spec."""
        return same_compute_spec(inputs[:-1])

    def fusion(self, inputs: tuple[TensorSpec, ...]) -> Fusion | None:
        """Arithmetic in the loop, with each chunk's coefficients spread out before it."""
        return Fusion(spread_numbers=len(inputs) - 1)

    def space(self, inputs: tuple[Space, ...]) -> Space:
        """The common space."""
        all_in(Space.STATISTIC, inputs[-1:], "coefficients are a statistic")
        return shared_space(inputs[:-1])

    def scratch(self, inputs: tuple[TensorSpec, ...]) -> tuple[DType, ...]:
        """A product."""
        return (inputs[0].dtype,)

    def workspace(self, inputs: tuple[TensorSpec, ...]) -> Workspace:
        """Places, and coefficients in two dtypes, of a block."""
        return Workspace(fixed_bytes=40 * BLOCK_ELEMENTS)

    def settings(self) -> str:
        """Which vectors."""
        return "columns" if self.is_columns else "rows"
