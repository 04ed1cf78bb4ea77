"""Kernels of the exact k-th largest magnitude, digit by digit, and of keeping what is above it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from graphmerge.kernels.registry import (
    Partial,
    Reduction,
    Statistic,
    Tile,
    register_kernel,
    register_reduction,
)
from graphmerge.ops import KeepLargest, MagnitudeDigits, TieCutoff
from graphmerge.ops.blocks import BLOCK_ELEMENTS, blocks
from graphmerge.ops.sparsify import DIGIT_BITS
from graphmerge.spec import DType, TensorSpec

_WIDEST = 1 << 16
_BITS_DTYPES = {
    torch.float32: (torch.int32, DIGIT_BITS[DType.F32]),
    torch.float64: (torch.int64, DIGIT_BITS[DType.F64]),
}


def magnitude_bits(x: torch.Tensor) -> torch.Tensor:
    """The bits of |x| as integers, which are ordered like |x|; NaN comes above infinity."""
    integer, _ = _BITS_DTYPES[x.dtype]
    return x.view(integer).bitwise_and(torch.iinfo(integer).max)


def _equal(values: torch.Tensor, wanted: int) -> torch.Tensor:
    """values == wanted; by numpy on the CPU, where torch's comparison takes seven times as long."""
    if values.is_cpu:
        return torch.from_numpy(values.numpy() == wanted)
    return values == wanted


def _select(values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """values[mask]; by numpy on the CPU, where torch's selection takes four times as long."""
    if values.is_cpu:
        return torch.from_numpy(values.numpy()[mask.numpy()])
    return values[mask]


class MagnitudeDigitsReduction(Reduction):
    """A histogram of one digit over the magnitudes that share the digits before it.

    The statistic is (bits so far, magnitudes surely above, magnitudes with these bits so far).
    """

    def begin(self, op: MagnitudeDigits, inputs: tuple[TensorSpec, ...]) -> Statistic:  # noqa: ARG002
        """An empty histogram."""
        return np.zeros(_WIDEST, dtype=np.int64)

    def update(
        self, op: MagnitudeDigits, tiles: Sequence[torch.Tensor], statistics: Sequence[Statistic]
    ) -> Partial:
        """The tile's histogram."""
        bits = magnitude_bits(tiles[0])
        _, widths = _BITS_DTYPES[tiles[0].dtype]
        below = sum(widths[op.digit + 1 :])
        if op.digit > 0:
            high = bits >> (below + widths[op.digit])
            bits = _select(bits, _equal(high, int(statistics[0][0])))
            bits.bitwise_and_((1 << (below + widths[op.digit])) - 1)
        digits = bits.bitwise_right_shift_(below).to(torch.int64)
        counts: Partial = torch.bincount(digits, minlength=1 << widths[op.digit]).cpu().numpy()
        return counts

    def combine(self, state: Statistic, partial: Partial, start: int) -> None:  # noqa: ARG002
        """Counts add up, in any order."""
        state[: len(partial)] += partial

    def finish(
        self, op: MagnitudeDigits, state: Statistic, statistics: Sequence[Statistic]
    ) -> Statistic:
        """The digit that the k-th largest magnitude has."""
        bits, above, _ = (int(value) for value in statistics[0]) if op.digit else (0, 0, 0)
        not_below = np.cumsum(state[::-1])[::-1]  # magnitudes with this digit or a larger one
        digit = int(np.flatnonzero(not_below >= op.keep - above)[-1])
        width = 15 if op.digit == 0 else 16
        above += int(not_below[digit] - state[digit])
        return np.array([(bits << width) | digit, above, state[digit]], dtype=np.int64)


class TieCutoffReduction(Reduction):
    """Counts of ties per block; the statistic is (bits, block of the last kept tie, ties kept there)."""

    def begin(self, op: TieCutoff, inputs: tuple[TensorSpec, ...]) -> Statistic:  # noqa: ARG002
        """A zero per block."""
        return np.zeros(blocks(inputs[0]), dtype=np.int64)

    def update(
        self,
        op: TieCutoff,  # noqa: ARG002
        tiles: Sequence[torch.Tensor],
        statistics: Sequence[Statistic],
    ) -> Partial:
        """Ties in each block of the tile."""
        ties = _equal(magnitude_bits(tiles[0]), int(statistics[0][0]))
        starts = range(0, ties.numel(), BLOCK_ELEMENTS)
        return np.array([_count(ties[start : start + BLOCK_ELEMENTS]) for start in starts])

    def combine(self, state: Statistic, partial: Partial, start: int) -> None:
        """Blocks to their places."""
        first = start // BLOCK_ELEMENTS
        state[first : first + len(partial)] = partial

    def finish(self, op: TieCutoff, state: Statistic, statistics: Sequence[Statistic]) -> Statistic:
        """Where the ties that are kept end."""
        bits, above, _ = (int(value) for value in statistics[0])
        until = np.cumsum(state)
        block = int(np.searchsorted(until, op.keep - above))
        in_block = op.keep - above - int(until[block] - state[block])
        return np.array([bits, block, in_block], dtype=np.int64)

    def known(self, op: TieCutoff, statistics: Sequence[Statistic]) -> Statistic | None:
        """Where every tie is kept there is no cutoff to look for."""
        bits, above, ties = (int(value) for value in statistics[0])
        if op.keep - above == ties:
            return np.array([bits, np.iinfo(np.int64).max // BLOCK_ELEMENTS, 0], dtype=np.int64)
        return None


def _count(mask: torch.Tensor) -> int:
    return int(np.count_nonzero(mask.numpy())) if mask.is_cpu else int(mask.sum())


register_reduction(MagnitudeDigits, MagnitudeDigitsReduction())
register_reduction(TieCutoff, TieCutoffReduction())


@register_kernel(KeepLargest)
def keep_largest(op: KeepLargest, tile: Tile) -> None:  # noqa: ARG001 - the cutoff decides
    """Entries above the threshold, and ties up to the cutoff; zero elsewhere."""
    x = tile.inputs[0]
    bits, block, in_block = (int(value) for value in tile.statistics[0])
    threshold = _from_bits(bits, x.dtype)
    end = _end_of_ties(x, tile.start, bits, block, in_block)
    just_below = float(np.nextafter(threshold, threshold.dtype.type(0)))
    _hardshrink(x[:end], just_below, tile.output[:end])
    _hardshrink(x[end:], float(threshold), tile.output[end:])


def _from_bits(bits: int, dtype: torch.dtype) -> np.floating[Any]:
    if dtype is torch.float64:
        return np.int64(bits).view(np.float64)
    return np.int32(bits).view(np.float32)


def _end_of_ties(x: torch.Tensor, start: int, bits: int, block: int, in_block: int) -> int:
    """Index in the tile up to which ties are kept."""
    first = block * BLOCK_ELEMENTS - start
    if first >= x.numel():
        return x.numel()
    if first < 0:
        return 0
    ties = _equal(magnitude_bits(x[first : first + BLOCK_ELEMENTS]), bits)
    return first + int(ties.nonzero()[in_block - 1]) + 1 if in_block else first


def _hardshrink(x: torch.Tensor, limit: float, output: torch.Tensor) -> None:
    """x where |x| > limit, else 0."""
    torch.ops.aten.hardshrink.out(x, limit, out=output)
