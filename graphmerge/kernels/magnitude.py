"""Kernels of the exact k-th largest magnitude, digit by digit, and of keeping what is above it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from graphmerge.kernels.registry import ReducedTile, Tile, register_kernel, register_update
from graphmerge.ops.blocks import BLOCK_ELEMENTS
from graphmerge.ops.outliers import DropLargest
from graphmerge.ops.sparsify import DIGIT_BITS, KeepLargest, MagnitudeDigits, TieCutoff
from graphmerge.ops.whole_model import DigitHistogram
from graphmerge.spec import DType
from graphmerge.statistics.magnitude import first_with_bits

if TYPE_CHECKING:
    from graphmerge.ops.sparsify import AbstractDigits
    from graphmerge.statistics import Partial, Statistic

_BITS_DTYPES = {
    torch.float32: (torch.int32, DIGIT_BITS[DType.F32]),
    torch.float64: (torch.int64, DIGIT_BITS[DType.F64]),
}


def magnitude_bits(x: torch.Tensor, out: torch.Tensor) -> torch.Tensor:
    """The bits of |x| as integers, which are ordered like |x|; NaN comes above infinity."""
    integer, _ = _BITS_DTYPES[x.dtype]
    return torch.bitwise_and(x.view(integer), torch.iinfo(integer).max, out=out)


def _between(values: torch.Tensor, first: int, last: int) -> torch.Tensor:
    """Whether values lie in a range; by numpy on the CPU, where torch takes seven times as long."""
    if values.is_cpu:
        array = values.numpy()
        return torch.from_numpy((array >= first) & (array <= last))
    return (values >= first) & (values <= last)


def _equal(values: torch.Tensor, wanted: int) -> torch.Tensor:
    """Values == wanted, as `_between`."""
    if values.is_cpu:
        return torch.from_numpy(values.numpy() == wanted)
    return values == wanted


def _select(values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """values[mask]; by numpy on the CPU, where torch's selection takes four times as long."""
    if values.is_cpu:
        return torch.from_numpy(values.numpy()[mask.numpy()])
    return values[mask]


def _digits_after(bits: torch.Tensor, prefix: int, below: int, width: int) -> torch.Tensor:
    """The digit of `width` bits above the lowest `below`, where bits begin with the prefix."""
    first = prefix << (below + width)
    last = first + (1 << (below + width)) - 1
    candidates = _select(bits, _between(bits, first, last))
    return candidates.sub_(first).bitwise_right_shift_(below).to(torch.int64)


@register_update(MagnitudeDigits)
def magnitude_digits(op: MagnitudeDigits, tile: ReducedTile) -> Partial:
    """Histograms of one digit, over the magnitudes that share the digits before it."""
    return later_digit(op, tile, tile.statistics[0]) if op.digit else _first_digit(tile)


@register_update(DigitHistogram)
def digit_histogram(op: DigitHistogram, tile: ReducedTile) -> Partial:
    """The same for one of several models."""
    if not op.digit:
        return _first_digit(tile)
    return later_digit(op, tile, tile.statistics[0][op.place : op.place + 1])


def _first_digit(tile: ReducedTile) -> Partial:
    (x,) = tile.inputs
    bits, wide = tile.scratch
    magnitude_bits(x, out=bits)
    _, widths = _BITS_DTYPES[x.dtype]
    digits = wide.copy_(bits.bitwise_right_shift_(sum(widths[1:])))
    counts: Partial = torch.bincount(digits, minlength=1 << widths[0]).cpu().numpy()
    return counts


def later_digit(op: AbstractDigits, tile: ReducedTile, before: Statistic) -> Partial:
    """Histograms of a digit that is not the first, by rows that begin with the bits before it."""
    (x,) = tile.inputs
    bits = magnitude_bits(x, out=tile.scratch[0])
    _, widths = _BITS_DTYPES[x.dtype]
    width, below = widths[op.digit], sum(widths[op.digit + 1 :])
    counts: Partial = np.zeros((len(before), 1 << width), dtype=np.int64)
    for place in set(first_with_bits(before)):
        digits = _digits_after(bits, int(before[place, 0]), below, width)
        counts[place] = torch.bincount(digits, minlength=1 << width).cpu().numpy()
    return counts.ravel()


@register_update(TieCutoff)
def tie_cutoff(op: TieCutoff, tile: ReducedTile) -> Partial:
    """How many magnitudes of each block have the bits that the statistic begins with."""
    bits = magnitude_bits(tile.inputs[0], out=tile.scratch[0])
    ties = _equal(bits, int(tile.statistics[0][op.place, 0]))
    starts = range(0, ties.numel(), BLOCK_ELEMENTS)
    return np.array([_count(ties[start : start + BLOCK_ELEMENTS]) for start in starts])


def _count(mask: torch.Tensor) -> int:
    return int(np.count_nonzero(mask.numpy())) if mask.is_cpu else int(mask.sum())


@register_kernel(KeepLargest)
def keep_largest(op: KeepLargest, tile: Tile) -> None:
    """Entries above the threshold, and ties up to the cutoff; zero elsewhere."""
    _largest(tile, tile.output)


@register_kernel(DropLargest)
def drop_largest(op: DropLargest, tile: Tile) -> None:
    """Everything else."""
    largest = _largest(tile, tile.scratch[1])
    tile.output.copy_(tile.inputs[0]).masked_fill_(largest != 0, 0.0)


def _largest(tile: Tile, output: torch.Tensor) -> torch.Tensor:
    """What is kept of a tile, in `output`."""
    x = tile.inputs[0]
    bits, block, in_block = (int(value) for value in tile.statistics[0])
    first = block * BLOCK_ELEMENTS - tile.start
    end = _end_of_ties(x, first, bits, in_block, tile.scratch[0])
    threshold = _from_bits(bits, x.dtype)
    if np.isnan(threshold):  # as floats, nothing is above it
        return _largest_by_bits(tile, bits, end, output)
    just_below = float(np.nextafter(threshold, threshold.dtype.type(0)))
    _hardshrink(x[:end], just_below, output[:end])
    _hardshrink(x[end:], float(threshold), output[end:])
    return output


def _largest_by_bits(tile: Tile, bits: int, end: int, output: torch.Tensor) -> torch.Tensor:
    """What is kept where the threshold is NaN: what has more bits, and ties before `end`."""
    output.copy_(tile.inputs[0])
    for start in range(0, output.numel(), BLOCK_ELEMENTS):  # a mask takes memory
        kept = output[start : start + BLOCK_ELEMENTS]
        found = magnitude_bits(kept, out=tile.scratch[0][: kept.numel()])
        ties = max(0, min(end - start, kept.numel()))
        kept[:ties].masked_fill_(found[:ties] < bits, 0.0)
        kept[ties:].masked_fill_(found[ties:] <= bits, 0.0)
    return output


def _from_bits(bits: int, dtype: torch.dtype) -> np.floating[Any]:
    if dtype is torch.float64:
        return np.int64(bits).view(np.float64)
    return np.int32(bits).view(np.float32)


def _end_of_ties(
    x: torch.Tensor, first: int, bits: int, in_block: int, scratch: torch.Tensor
) -> int:
    """Index up to which ties are kept; `first` is where the block of the last one begins."""
    if first >= x.numel():
        return x.numel()
    if first < 0:
        return 0
    block_of_x = x[first : first + BLOCK_ELEMENTS]
    ties = _equal(magnitude_bits(block_of_x, out=scratch[: block_of_x.numel()]), bits)
    return first + int(ties.nonzero()[in_block - 1]) + 1 if in_block else first


def _hardshrink(x: torch.Tensor, limit: float, output: torch.Tensor) -> None:
    """x where |x| > limit, else 0."""
    torch.ops.aten.hardshrink.out(x, limit, out=output)
