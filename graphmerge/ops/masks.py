"""What decides a random mask: which numbers are drawn and compared, whoever draws them.

SplitMix64 (Steele et al., Fast splittable pseudorandom number generators, OOPSLA 2014) maps a seed
and a number to 64 random bits, so that its stream can be entered anywhere. Element i takes byte
i mod 8, lowest first, of output i // 8. The byte decides unless it equals the threshold's first
byte, one time in 256; then output i of a second stream decides. So a mask costs one random byte
per element and has a density exact to 2**-72.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import xxhash

from graphmerge.frozen_classes import frozen

if TYPE_CHECKING:
    from graphmerge.ops.sparsify import MaskKey

Limits: TypeAlias = "np.ndarray[Any, np.dtype[np.uint16]]"
Rests: TypeAlias = "np.ndarray[Any, np.dtype[np.uint64]]"

WORD_ELEMENTS = 8
"""Elements that an output of the first stream is for."""
INCREMENT = 0x9E3779B97F4A7C15
"""What SplitMix64 adds to its state for each output."""
MIXING = ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB))
"""Shifts and multipliers of its output function; a last shift by 31 follows."""


@frozen
class MaskParameters:
    """Numbers that decide a mask."""

    seed: int
    """Seed of the stream whose bytes are drawn, 64 bits."""
    second_seed: int
    """Seed of the stream that decides where a byte does not."""
    threshold: int
    """Bytes below it keep the element; above 255 everything is kept."""
    rest: int
    """Where the byte equals the threshold, 64 bits below this keep it."""


def ranked_limits(density: float, epsilon: float, row: int) -> tuple[Limits, Rests]:
    """For every rank in a row, 0 for the least: the threshold of the byte, and the rest.

    The probability is density - epsilon + 2 epsilon rank / (row - 1), density in rows of one.
    """
    ranks = np.arange(row) / (row - 1) if row > 1 else np.full(1, 0.5)
    scaled = ((density - epsilon) + 2 * epsilon * ranks) * 256
    limits = scaled.astype(np.uint16)
    return limits, ((scaled - limits) * 2.0**64).astype(np.uint64)


def mask_parameters(key: MaskKey, density: float) -> MaskParameters:
    """What decides a mask of this density."""
    digest = xxhash.xxh3_128_intdigest(f"{key.seed}\0{key.model}\0{key.tensor}".encode())
    threshold = int(density * 256)
    rest = int((density * 256 - threshold) * 2.0**64)
    return MaskParameters(digest >> 64, digest & (2**64 - 1), threshold, rest)
