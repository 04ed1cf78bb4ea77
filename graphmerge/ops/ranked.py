"""Dropping entries at random, the smaller ones of a row sooner (DELLA, arXiv 2406.11617)."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from attrs import evolve

from graphmerge.errors import GraphError, Problem
from graphmerge.frozen_classes import frozen
from graphmerge.graph import Access, Fusion, Op, Space, Workspace
from graphmerge.ops.checks import all_in, same_compute_spec
from graphmerge.ops.sparsify import BITS_DTYPE, MaskKey
from graphmerge.spec import DType, TensorSpec

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping

MASK_PADDING_BYTES = 64
"""Room beyond the end of a mask, which native code may write to."""
BUCKETS = 256
"""Ranges of magnitudes by which native code orders a row first: a byte says which."""
BUCKET_BYTES = 4 * 7 * BUCKETS + 128
"""Counts of four histograms, and three more numbers for each bucket."""
SORTING_BYTES = 8192
"""Counts of a digit, where a row has to be sorted."""


def ranking_bytes(row: int, elements: int) -> int:
    """What native code takes to rank the rows of a tile.

    A random byte per element; for a row a bucket, keys twice and places of 32 bits; buckets.
    """
    drawn = padded(elements) + MASK_PADDING_BYTES
    keys = 2 * padded(8 * row)
    return drawn + padded(row) + keys + padded(4 * row) + BUCKET_BYTES + SORTING_BYTES


def padded(size_bytes: int) -> int:
    """Up to a multiple of a vector, and one more."""
    return -(-size_bytes // MASK_PADDING_BYTES) * MASK_PADDING_BYTES + MASK_PADDING_BYTES


@frozen(cache_hash=True)
class RankedMask(Op):
    """A byte per entry: 1 with a probability by the entry's rank in its row, else 0.

    With magnitudes ranked upwards from 0 to n - 1 (ties by flat index) it is
    density - epsilon + 2 epsilon rank / (n - 1), and density in rows of one entry.
    """

    kind: ClassVar[str] = "ranked-mask"
    access: ClassVar[Access] = Access.ROWS

    density: float
    """Mean probability of keeping an entry."""
    epsilon: float
    """How far probabilities are from the mean at most; density +- epsilon lies within 0 and 1."""
    key: MaskKey
    """What the draws depend on, beside the flat index."""

    def for_tensors(self, names: Mapping[str, str]) -> RankedMask:
        """The same with the draws of another tensor."""
        return evolve(self, key=self.key.for_tensors(names))

    def structure(self) -> Hashable:
        """The class, and whether there is native code: the rest of the settings is numbers."""
        return (type(self), self.epsilon < 0)

    def infer(self, inputs: tuple[TensorSpec, ...]) -> TensorSpec:
        """Bytes."""
        return TensorSpec(same_compute_spec(inputs).shape, DType.U8)

    def fusion(self, inputs: tuple[TensorSpec, ...]) -> Fusion | None:
        """Native code where probabilities rise with the rank, of float32."""
        has_code = self.epsilon >= 0 and inputs[0].dtype is DType.F32
        return Fusion(whole_rows=True) if has_code else None

    def space(self, inputs: tuple[Space, ...]) -> Space:
        """A delta: that of which it says what stays."""
        return all_in(Space.DELTA, inputs, "only task vectors are sparsified")

    def scratch(self, inputs: tuple[TensorSpec, ...]) -> tuple[DType, ...]:
        """The magnitude's bits."""
        return (BITS_DTYPE[inputs[0].dtype],)

    def workspace(self, inputs: tuple[TensorSpec, ...]) -> Workspace:
        """Sorting keys with places, or places twice; random bytes twice, masks; tables of a row.

        In rows of one entry the first places of rows as well.
        """
        row = inputs[0].shape[-1] if inputs[0].shape else 1
        per_element = 20 if inputs[0].dtype is DType.F32 else 24
        return Workspace(per_element, fixed_bytes=48 * row)

    def settings(self) -> str:
        """Density and epsilon."""
        return f"density={self.density:g}, epsilon={self.epsilon:g}"


@frozen(cache_hash=True)
class KeepMasked(Op):
    """x where a mask of bytes is not 0, else 0, of inputs (x, mask)."""

    kind: ClassVar[str] = "sparsify"
    access: ClassVar[Access] = Access.ELEMENTWISE
    in_place: ClassVar[bool] = True

    def infer(self, inputs: tuple[TensorSpec, ...]) -> TensorSpec:
        """Unchanged. Raises GraphError where the mask is none, or of another shape."""
        spec, wanted = same_compute_spec(inputs[:1]), TensorSpec(inputs[0].shape, DType.U8)
        if inputs[1] != wanted:
            got = f"{inputs[1].dtype.value}{list(inputs[1].shape)}"
            raise GraphError(Problem("no mask of this tensor", got=got, wanted=f"U8{wanted.shape}"))
        return spec

    def fusion(self, inputs: tuple[TensorSpec, ...]) -> Fusion | None:
        """A choice in the loop."""
        return Fusion()

    def space(self, inputs: tuple[Space, ...]) -> Space:
        """A delta."""
        return all_in(Space.DELTA, inputs, "only task vectors are sparsified")

    def workspace(self, inputs: tuple[TensorSpec, ...]) -> Workspace:
        """A mask."""
        return Workspace(1)

    def settings(self) -> str:
        """What decides."""
        return "by mask"
