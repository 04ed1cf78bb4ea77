"""What reductions have in common that sum up float64 numbers of each numerics block."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, ClassVar

from graphmerge.graph import Access, Fusion, Op, Workspace
from graphmerge.ops.blocks import BLOCK_ELEMENTS, blocks

if TYPE_CHECKING:
    from graphmerge.spec import TensorSpec

SUM_WORKSPACE = Workspace(per_element_bytes=1, fixed_bytes=8 * BLOCK_ELEMENTS)
"""What summing blocks takes: a few sets of lanes per block, and the last block padded."""


class AbstractBlockSums(Op):
    """Sums over a tensor, taken of each block first."""

    access: ClassVar[Access] = Access.REDUCE

    @abstractmethod
    def sum_columns(self, count: int) -> int:
        """Sums of each block, for so many inputs."""

    def fusion(self, inputs: tuple[TensorSpec, ...]) -> Fusion | None:
        """Sums of each block."""
        return Fusion(sum_columns=self.sum_columns(len(inputs)))

    def workspace(self, inputs: tuple[TensorSpec, ...]) -> Workspace:
        """The lanes of the blocks at hand, and the last block padded."""
        return SUM_WORKSPACE

    def state_bytes(self, inputs: tuple[TensorSpec, ...]) -> int:
        """The sums of all blocks."""
        return 8 * self.sum_columns(len(inputs)) * blocks(inputs[0])
