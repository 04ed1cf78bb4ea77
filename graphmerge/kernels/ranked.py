"""Kernels of dropping entries at random, the smaller ones of a row sooner."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np
import torch

from graphmerge.kernels.magnitude import magnitude_bits
from graphmerge.kernels.random_drop import Bytes, Mask, drawn_bytes, second_draws
from graphmerge.kernels.registry import Tile, register_kernel
from graphmerge.ops.masks import mask_parameters, ranked_limits
from graphmerge.ops.ranked import KeepMasked, RankedMask

Integers: TypeAlias = "np.ndarray[Any, np.dtype[np.int64]]"

_INDEX_BITS = 24
"""Bits for the place in a row, between the 31 of a float32 magnitude and the 8 that are drawn."""
_limits = lru_cache(maxsize=64)(ranked_limits)


@register_kernel(RankedMask)
def ranked(op: RankedMask, tile: Tile) -> None:
    """1 where the draw is below the limit of its rank, else 0."""
    x = tile.inputs[0]
    bits = magnitude_bits(x, out=tile.scratch[0]).cpu().numpy().reshape(tile.shape)
    tile.output.copy_(torch.from_numpy(ranked_mask(op, bits, tile.start)))


@register_kernel(KeepMasked)
def keep_masked(op: KeepMasked, tile: Tile) -> None:
    """x where the mask is set, else 0."""
    x, mask = tile.inputs
    tile.output.copy_(x).masked_fill_(mask.eq(0), 0.0)


def ranked_mask(op: RankedMask, bits: Integers, start: int) -> Mask:
    """Mask of rows of magnitudes' bits from a flat index on, a multiple of 8."""
    row = bits.shape[1]
    parameters = mask_parameters(op.key, 0.0)
    limits, rests = _limits(op.density, op.epsilon, row)
    places, drawn = _upwards(bits, drawn_bytes(parameters.seed, start, bits.size))
    mask = np.empty(bits.size, dtype=np.bool_)
    mask[places] = drawn < limits
    undecided = np.flatnonzero(drawn == limits)
    flat = places.reshape(-1)[undecided]
    draws = second_draws(parameters.second_seed, flat, start)
    mask[flat] = draws < rests[undecided % row]
    return mask


def _upwards(bits: Integers, drawn: Bytes) -> tuple[Integers, Bytes]:
    """Flat indices of each row's entries by magnitude, of equal ones by index; and their bytes.

    Magnitude, index and byte are sorted as one number where they fit, which is the fastest.
    """
    rows, row = bits.shape
    first = np.arange(0, rows * row, row)[:, np.newaxis]
    if bits.dtype != np.int32 or row > 1 << _INDEX_BITS:
        places = np.argsort(bits, axis=1, kind="stable") + first
        return places, drawn[places]
    keys = bits.astype(np.int64) << _INDEX_BITS
    keys |= np.arange(row)
    keys <<= 8
    keys |= drawn.reshape(bits.shape)
    keys.sort(axis=1)
    in_order = keys.astype(np.uint8)
    keys >>= 8
    keys &= (1 << _INDEX_BITS) - 1
    keys += first
    return keys, in_order
