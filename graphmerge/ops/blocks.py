"""Numerics blocks: the fixed pieces of a tensor that partial results are taken over."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from graphmerge.spec import TensorSpec

BLOCK_ELEMENTS = 65536
"""Elements of a numerics block. Partial sums and tie counts are taken per block, and tiles are a
whole number of blocks. Changing it changes results in the last bit: no plan chooses it."""


SUM_LANES = 128
"""Lanes of a block's sum (`graphmerge.statistics.sums`). Changing it changes results likewise."""


def blocks(spec: TensorSpec) -> int:
    """Number of numerics blocks of a tensor, the last one possibly short."""
    return -(-spec.numel // BLOCK_ELEMENTS)


NUMERICS_VERSION = "6"
"""Changes whenever the same recipe and inputs give other bytes: an output that was begun under
another version is not continued."""
