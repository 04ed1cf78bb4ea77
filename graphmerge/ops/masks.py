"""What decides a random mask: which numbers are drawn and compared, whoever draws them.

Element i takes byte i of a Philox stream (Salmon et al., Parallel random numbers: as easy as 1,
2, 3, SC 2011), which can be entered anywhere. The byte decides unless it equals the threshold's
first byte, one time in 256; then 64 more bits, mixed from key and i by SplitMix64 (Steele et al.,
OOPSLA 2014), decide. So a mask costs one random byte per element and has a density exact to
2**-72.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import xxhash
from attrs import frozen

if TYPE_CHECKING:
    from graphmerge.ops.sparsify import MaskKey

COUNTER_BYTES = 32
"""Philox4x64 gives four 64-bit numbers per step of its counter."""


@frozen
class MaskParameters:
    """Numbers that decide a mask."""

    key: int
    """Key of the Philox stream, 128 bits; its lower half seeds SplitMix64."""
    threshold: int
    """Bytes below it keep the element; above 255 everything is kept."""
    rest: int
    """Where the byte equals the threshold, 64 bits below this keep it."""


def mask_parameters(key: MaskKey, density: float) -> MaskParameters:
    """What decides a mask of this density."""
    digest = xxhash.xxh3_128_intdigest(f"{key.seed}\0{key.model}\0{key.tensor}".encode())
    threshold = int(density * 256)
    return MaskParameters(digest, threshold, int((density * 256 - threshold) * 2.0**64))
