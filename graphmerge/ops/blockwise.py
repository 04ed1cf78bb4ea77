"""Keeping n of every m entries (n:m sparsity)."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from graphmerge.frozen_classes import frozen
from graphmerge.graph import Access, Fusion, Op, Space, Workspace
from graphmerge.ops.checks import all_in, same_compute_spec
from graphmerge.ops.sparsify import BITS_DTYPE

if TYPE_CHECKING:
    from collections.abc import Hashable

    from graphmerge.spec import DType, TensorSpec

GROUP_SIZES = (16, 32, 64, 128, 256, 512, 1024)
"""What m may be: numerics blocks, tiles and chunks are multiples of all of these."""


@frozen(cache_hash=True)
class KeepInGroups(Op):
    """The n largest magnitudes of every m entries in flat order, ties from the lowest index."""

    kind: ClassVar[str] = "keep-in-groups"
    access: ClassVar[Access] = Access.ELEMENTWISE

    keep: int
    """n, 1 to m."""
    group: int
    """m, one of GROUP_SIZES."""

    def structure(self) -> Hashable:
        """The size of a group, which the code depends on."""
        return (type(self), self.group)

    def infer(self, inputs: tuple[TensorSpec, ...]) -> TensorSpec:
        """Unchanged."""
        return same_compute_spec(inputs)

    def fusion(self, inputs: tuple[TensorSpec, ...]) -> Fusion | None:
        """A mask for a chunk at a time, made from all of the chunk."""
        return Fusion(reads_chunk=True, mask=1)

    def space(self, inputs: tuple[Space, ...]) -> Space:
        """A delta."""
        return all_in(Space.DELTA, inputs, "only task vectors are sparsified")

    def scratch(self, inputs: tuple[TensorSpec, ...]) -> tuple[DType, ...]:
        """The magnitude's bits."""
        return (BITS_DTYPE[inputs[0].dtype],)

    def workspace(self, inputs: tuple[TensorSpec, ...]) -> Workspace:
        """A padded copy of the bits, sorted bits and their places with as much for sorting."""
        return Workspace(4 * (inputs[0].dtype.bits // 8 + 8) + 2, fixed_bytes=64 * self.group)

    def settings(self) -> str:
        """n:m."""
        return f"{self.keep}:{self.group}"
