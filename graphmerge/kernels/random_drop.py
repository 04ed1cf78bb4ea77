"""Kernel of random dropping, with masks that depend on nothing but key and flat index."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import torch

from graphmerge.kernels.registry import Tile, register_kernel
from graphmerge.ops import MaskKey, RandomDrop
from graphmerge.ops.masks import COUNTER_BYTES, mask_parameters

Mask: TypeAlias = "np.ndarray[Any, np.dtype[np.bool_]]"


@register_kernel(RandomDrop)
def random_drop(op: RandomDrop, tile: Tile) -> None:
    """X where the mask keeps it, else 0."""
    x = tile.inputs[0]
    mask = keep_mask(op.key, op.density, tile.start, x.numel())
    factors = tile.scratch[0].copy_(torch.from_numpy(mask.view(np.uint8)))
    torch.mul(x, factors, out=tile.output)


def keep_mask(key: MaskKey, density: float, start: int, count: int) -> Mask:
    """Mask of elements from a flat index (a multiple of 32) on, True with probability `density`."""
    parameters = mask_parameters(key, density)
    threshold = parameters.threshold
    if threshold > 255:
        return np.ones(count, dtype=np.bool_)
    stream = np.random.Philox(key=parameters.key, counter=start // COUNTER_BYTES)
    words = np.random.Generator(stream).integers(0, 2**64, size=-(-count // 8), dtype=np.uint64)
    drawn = words.view(np.uint8)[:count]
    mask: Mask = drawn < np.uint8(threshold)
    undecided = np.flatnonzero(drawn == np.uint8(threshold))
    flat = undecided.astype(np.uint64) + np.uint64(start)
    mask[undecided] = _mix(flat, parameters.key & (2**64 - 1)) < np.uint64(parameters.rest)
    return mask


def _mix(
    indices: np.ndarray[Any, np.dtype[np.uint64]], key: int
) -> np.ndarray[Any, np.dtype[np.uint64]]:
    """64 random bits per index: output number `index` of SplitMix64 seeded with the key."""
    z = np.uint64(key) + (indices + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
