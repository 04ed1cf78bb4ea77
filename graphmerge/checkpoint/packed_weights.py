"""Weights that are stored as packed codes of 4-bit floats (MXFP4), as GPT-OSS has its experts.

`NAME_blocks` has 32 codes in every 16 bytes, `NAME_scales` an exponent for each 32. The weight is
the transpose of what is stored, as transformers dequantises it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from graphmerge.checkpoint.scaled_weights import UnknownScalingError
from graphmerge.frozen_classes import frozen
from graphmerge.spec import DType

if TYPE_CHECKING:
    from collections.abc import Mapping

    from graphmerge.checkpoint.values import TensorEntry

BLOCKS_END, SCALES_END = "_blocks", "_scales"
"""Ends of the names of codes and scales."""
BLOCK_BYTES = 16
"""Bytes of the codes that share a scale."""


@frozen
class PackedWeight:
    """One weight."""

    codes: TensorEntry
    """Two codes in a byte, the first one in the lower half. Shape (experts, rows, blocks, 16)."""
    scales: TensorEntry
    """Exponents of two, from 127 on. Shape (experts, rows, blocks)."""


def find_packed_weights(tensors: Mapping[str, TensorEntry]) -> dict[str, PackedWeight]:
    """Every packed weight, by its name.

    Args:
        tensors: All tensors of the checkpoint.

    Raises:
        UnknownScalingError: codes or scales are not of the layout above.
    """
    found: dict[str, PackedWeight] = {}
    for name, codes in tensors.items():
        stem = name.removesuffix(BLOCKS_END)
        scales = tensors.get(stem + SCALES_END)
        if stem != name and scales is not None:
            _check(codes, scales)
            found[stem] = PackedWeight(codes, scales)
    return found


def _check(codes: TensorEntry, scales: TensorEntry) -> None:
    specs = (codes.spec, scales.spec)
    fits = len(scales.spec.shape) == 3 and codes.spec.shape == (*scales.spec.shape, BLOCK_BYTES)
    if not fits or any(spec.dtype is not DType.U8 or not spec.numel for spec in specs):
        wanted = f"U8[experts, rows, blocks, {BLOCK_BYTES}] and U8[experts, rows, blocks]"
        raise UnknownScalingError(f"{specs[0]} and {specs[1]} instead of {wanted}")
