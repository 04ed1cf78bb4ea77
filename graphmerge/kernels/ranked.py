"""Kernel of dropping entries at random, the smaller ones of a row sooner."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np
import torch

from graphmerge.kernels.magnitude import magnitude_bits
from graphmerge.kernels.random_drop import Mask, drawn_bytes, second_draws
from graphmerge.kernels.registry import Tile, register_kernel
from graphmerge.ops import RankedDrop
from graphmerge.ops.masks import mask_parameters, ranked_limits

Integers: TypeAlias = "np.ndarray[Any, np.dtype[np.int64]]"

_limits = lru_cache(maxsize=64)(ranked_limits)


@register_kernel(RankedDrop)
def ranked_drop(op: RankedDrop, tile: Tile) -> None:
    """X where the draw is below the limit of its rank, else 0."""
    x = tile.inputs[0]
    bits = magnitude_bits(x, out=tile.scratch[0]).cpu().numpy().reshape(tile.shape)
    mask = torch.from_numpy(ranked_mask(op, bits, tile.start)).to(x.device)
    tile.output.copy_(x).masked_fill_(mask.logical_not_(), 0.0)


def ranked_mask(op: RankedDrop, bits: Integers, start: int) -> Mask:
    """Mask of rows of magnitudes' bits from a flat index on, a multiple of 8."""
    order = _upwards(bits)
    limits, rests = _limits(op.density, op.epsilon, bits.shape[1])
    limit, rest = np.empty(bits.size, dtype=np.uint16), np.empty(bits.size, dtype=np.uint64)
    limit[order] = np.broadcast_to(limits, bits.shape)
    rest[order] = np.broadcast_to(rests, bits.shape)
    parameters = mask_parameters(op.key, 0.0)
    drawn = drawn_bytes(parameters.seed, start, bits.size)
    mask: Mask = drawn < limit
    undecided = np.flatnonzero(drawn == limit)
    mask[undecided] = second_draws(parameters.second_seed, undecided, start) < rest[undecided]
    return mask


def _upwards(bits: Integers) -> Integers:
    """Flat indices of each row's entries by magnitude, of equal ones by index."""
    rows, row = bits.shape
    if bits.dtype == np.int32:
        keys = bits.astype(np.int64) << 32
        keys |= np.arange(row)
        keys.sort(axis=1)
        order = keys
        order &= 0xFFFFFFFF
    else:
        order = np.argsort(bits, axis=1, kind="stable")
    order += np.arange(0, rows * row, row)[:, np.newaxis]
    return order
