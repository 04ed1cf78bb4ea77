"""Kernel of random dropping, with masks that depend on nothing but key and flat index.

Element i takes byte i of a Philox stream (Salmon et al., Parallel random numbers: as easy as 1,
2, 3, SC 2011), which can be entered anywhere. The byte decides unless it equals the threshold's
first byte, one time in 256; then 64 more bits, mixed from key and i by SplitMix64 (Steele et al.,
OOPSLA 2014), decide. So a mask costs one random byte per element and has a density exact to
2**-72.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import torch
import xxhash

from graphmerge.kernels.registry import Tile, register_kernel
from graphmerge.ops import MaskKey, RandomDrop

Mask: TypeAlias = "np.ndarray[Any, np.dtype[np.bool_]]"

_COUNTER_BYTES = 32  # Philox4x64 gives four 64-bit numbers per step of its counter


@register_kernel(RandomDrop)
def random_drop(op: RandomDrop, tile: Tile) -> None:
    """X where the mask keeps it, else 0."""
    x = tile.inputs[0]
    mask = keep_mask(op.key, op.density, tile.start, x.numel())
    factors = tile.scratch[0].copy_(torch.from_numpy(mask.view(np.uint8)))
    torch.mul(x, factors, out=tile.output)


def keep_mask(key: MaskKey, density: float, start: int, count: int) -> Mask:
    """Mask of elements from a flat index (a multiple of 32) on, True with probability `density`."""
    digest = xxhash.xxh3_128_intdigest(f"{key.seed}\0{key.model}\0{key.tensor}".encode())
    stream = np.random.Philox(key=digest, counter=start // _COUNTER_BYTES)
    words = np.random.Generator(stream).integers(0, 2**64, size=-(-count // 8), dtype=np.uint64)
    drawn = words.view(np.uint8)[:count]
    threshold = int(density * 256)
    if threshold > 255:
        return np.ones(count, dtype=np.bool_)
    mask: Mask = drawn < np.uint8(threshold)
    undecided = np.flatnonzero(drawn == np.uint8(threshold))
    rest = int((density * 256 - threshold) * 2.0**64)
    flat = undecided.astype(np.uint64) + np.uint64(start)
    mask[undecided] = _mix(flat, digest & (2**64 - 1)) < np.uint64(rest)
    return mask


def _mix(
    indices: np.ndarray[Any, np.dtype[np.uint64]], key: int
) -> np.ndarray[Any, np.dtype[np.uint64]]:
    """64 random bits per index: output number `index` of SplitMix64 seeded with the key."""
    z = np.uint64(key) + (indices + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
