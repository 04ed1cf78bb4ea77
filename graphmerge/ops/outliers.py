"""Dropping the largest magnitudes of a delta: the outliers that breadcrumbs leaves out."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from graphmerge.frozen_classes import frozen
from graphmerge.graph import Workspace
from graphmerge.ops.blocks import BLOCK_ELEMENTS
from graphmerge.ops.sparsify import BITS_DTYPE, AbstractByCutoff

if TYPE_CHECKING:
    from graphmerge.spec import DType, TensorSpec


@frozen(cache_hash=True)
class DropLargest(AbstractByCutoff):
    """All but the k largest magnitudes of a delta, of inputs (delta, a TieCutoff for that k).

    The complement of KeepLargest: `KeepLargest(x, c) + DropLargest(x, c) == x`.
    """

    kind: ClassVar[str] = "drop-largest"

    share: float
    """The fraction that was asked for, for readers; the cutoff decides."""

    def scratch(self, inputs: tuple[TensorSpec, ...]) -> tuple[DType, ...]:
        """The magnitude's bits, and what is dropped."""
        return (BITS_DTYPE[inputs[0].dtype], inputs[0].dtype)

    def workspace(self, inputs: tuple[TensorSpec, ...]) -> Workspace:
        """A mask; that and the indices of the ties of one block."""
        return Workspace(1, fixed_bytes=BLOCK_ELEMENTS * (1 + 8))

    def settings(self) -> str:
        """How much is dropped."""
        return f"{self.share:g}"
