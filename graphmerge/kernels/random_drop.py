"""Kernel of random dropping, with masks that depend on nothing but key and flat index."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import torch

from graphmerge.kernels.registry import Tile, register_kernel
from graphmerge.ops.masks import INCREMENT, MIXING, WORD_ELEMENTS, mask_parameters
from graphmerge.ops.sparsify import MaskKey, RandomDrop

Mask: TypeAlias = "np.ndarray[Any, np.dtype[np.bool_]]"
Bytes: TypeAlias = "np.ndarray[Any, np.dtype[np.uint8]]"
Places: TypeAlias = "np.ndarray[Any, np.dtype[np.intp]]"
Words: TypeAlias = "np.ndarray[Any, np.dtype[np.uint64]]"


@register_kernel(RandomDrop)
def random_drop(op: RandomDrop, tile: Tile) -> None:
    """x where the mask keeps it, else 0."""
    x = tile.inputs[0]
    mask = keep_mask(op.key, op.density, tile.start, x.numel())
    factors = tile.scratch[0].copy_(torch.from_numpy(mask.view(np.uint8)))
    torch.mul(x, factors, out=tile.output)


def keep_mask(key: MaskKey, density: float, start: int, count: int) -> Mask:
    """Mask of elements from a flat index (a multiple of 8) on, True with probability `density`."""
    parameters = mask_parameters(key, density)
    threshold = parameters.threshold
    if threshold > 255:
        return np.ones(count, dtype=np.bool_)
    drawn = drawn_bytes(parameters.seed, start, count)
    mask: Mask = drawn < np.uint8(threshold)
    undecided = np.flatnonzero(drawn == np.uint8(threshold))
    mask[undecided] = second_draws(parameters.second_seed, undecided, start) < np.uint64(
        parameters.rest
    )
    return mask


def drawn_bytes(seed: int, start: int, count: int) -> Bytes:
    """The random byte of each element from a flat index (a multiple of 8) on."""
    first = start // WORD_ELEMENTS
    numbers = np.arange(first, first - (-count // WORD_ELEMENTS), dtype=np.uint64)
    return _split_mix(numbers, seed).astype("<u8").view(np.uint8)[:count]


def second_draws(seed: int, places: Places, start: int) -> Words:
    """64 random bits for elements at some places after a flat index."""
    return _split_mix(places.astype(np.uint64) + np.uint64(start), seed)


def _split_mix(numbers: Words, seed: int) -> Words:
    """64 random bits for each number, which is overwritten: that output of SplitMix64."""
    z = numbers
    z += np.uint64(1)
    z *= np.uint64(INCREMENT)
    z += np.uint64(seed)
    for shift, factor in MIXING:
        z ^= z >> np.uint64(shift)
        z *= np.uint64(factor)
    z ^= z >> np.uint64(31)
    return z
