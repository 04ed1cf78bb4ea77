"""Kernels of the Gram matrix and of the coefficients that follow from it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch

from graphmerge.kernels.blockwise import store_blocks
from graphmerge.kernels.norms import exact_sum
from graphmerge.kernels.registry import (
    Partial,
    ReducedTile,
    Reduction,
    Statistic,
    register_reduction,
    register_small,
)
from graphmerge.ops import Gram, SphericalCoefficients
from graphmerge.ops.blocks import BLOCK_ELEMENTS, blocks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from graphmerge.spec import TensorSpec


class GramReduction(Reduction):
    """Inner products of all pairs: float64 dot products of blocks, added up exactly.

    BLAS may sum in another order where memory is aligned otherwise; blocks always begin at the
    start of the same scratch buffers, which are aligned to 64 bytes.
    """

    def begin(self, op: Gram, inputs: tuple[TensorSpec, ...]) -> Statistic:
        """A zero matrix per block."""
        return np.zeros((blocks(inputs[0]), len(inputs), len(inputs)))

    def update(self, op: Gram, tile: ReducedTile) -> Partial:
        """The matrix of each block of the tile."""
        elements = tile.inputs[0].numel()
        starts = range(0, elements, BLOCK_ELEMENTS)
        return np.array([self._block(tile, start) for start in starts])

    def _block(self, tile: ReducedTile, start: int) -> Partial:
        """The matrix of one block, in scratch that stays in cache from block to block."""
        wide = [
            buffer[: x.numel()].copy_(x)
            for buffer, x in zip(
                tile.scratch,
                (x[start : start + BLOCK_ELEMENTS] for x in tile.inputs),
                strict=True,
            )
        ]
        gram = np.empty((len(wide), len(wide)))
        for i, x in enumerate(wide):
            for j, y in enumerate(wide[: i + 1]):
                gram[i, j] = gram[j, i] = float(torch.dot(x, y))
        return gram

    def combine(self, state: Statistic, partial: Partial, start: int) -> None:
        """Blocks to their places."""
        store_blocks(state, partial, start)

    def finish(
        self,
        op: Gram,
        state: Statistic,
        statistics: Sequence[Statistic],
    ) -> Statistic:
        """The sum of all blocks, entry by entry."""
        count = state.shape[1]
        entries = [[exact_sum(state[:, i, j]) for j in range(count)] for i in range(count)]
        return np.array(entries)


register_reduction(Gram, GramReduction())


@register_small(SphericalCoefficients)
def spherical_coefficients(op: SphericalCoefficients, statistics: Sequence[Statistic]) -> Statistic:
    """(sin((1-t)W), sin(tW)) / sin W, or (1-t, t) where the vectors are nearly parallel."""
    gram = statistics[0]
    lengths = [math.sqrt(max(gram[i, i], 0.0)) for i in (0, 1)]
    units = [length if length > op.least_norm else 1.0 for length in lengths]
    cosine = float(gram[0, 1]) / (units[0] * units[1])
    if not abs(cosine) <= op.parallel_cosine:  # NaN goes the linear way too
        return np.array([1 - op.t, op.t])
    angle = math.acos(cosine)
    return np.array([math.sin((1 - op.t) * angle), math.sin(op.t * angle)]) / math.sin(angle)
