"""Dropping the largest magnitudes of a delta: the outliers that breadcrumbs leaves out."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from attrs import frozen

from graphmerge.graph import Access, Fusion, Op, Space, Workspace
from graphmerge.ops.blocks import BLOCK_ELEMENTS
from graphmerge.ops.checks import same_compute_spec
from graphmerge.ops.sparsify import BITS_DTYPE, delta_and_statistics

if TYPE_CHECKING:
    from graphmerge.spec import DType, TensorSpec


@frozen(cache_hash=True)
class DropLargest(Op):
    """All but the k largest magnitudes of a delta, of inputs (delta, a TieCutoff for that k).

    The complement of KeepLargest: `KeepLargest(x, c) + DropLargest(x, c) == x`.
    """

    kind: ClassVar[str] = "drop-largest"
    access: ClassVar[Access] = Access.ELEMENTWISE
    scheduled_alike: ClassVar[bool] = True

    share: float
    """The fraction that was asked for, for readers; the cutoff decides."""

    def infer(self, inputs: tuple[TensorSpec, ...]) -> TensorSpec:
        """Unchanged."""
        return same_compute_spec(inputs[:1])

    def fusion(self, inputs: tuple[TensorSpec, ...]) -> Fusion | None:
        """The end of the ties is looked for in a chunk at a time."""
        return Fusion(reads_chunk=True)

    def space(self, inputs: tuple[Space, ...]) -> Space:
        """A delta."""
        return delta_and_statistics(inputs)

    def scratch(self, inputs: tuple[TensorSpec, ...]) -> tuple[DType, ...]:
        """The magnitude's bits, and what is dropped."""
        return (BITS_DTYPE[inputs[0].dtype], inputs[0].dtype)

    def workspace(self, inputs: tuple[TensorSpec, ...]) -> Workspace:
        """A mask; that and the indices of the ties of one block."""
        return Workspace(1, fixed_bytes=BLOCK_ELEMENTS * (1 + 8))

    def settings(self) -> str:
        """How much is dropped."""
        return f"{self.share:g}"
