"""Weights that are stored as codes of 8-bit floats with scales beside them, and by which blocks.

The scales of `NAME` are called `NAME_scale_inv` or `NAME_scale`; codes are multiplied by either.
config.json says which part of the weight a scale belongs to.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from graphmerge.frozen_classes import frozen
from graphmerge.spec import DType

if TYPE_CHECKING:
    from collections.abc import Mapping

    from graphmerge.checkpoint.values import TensorEntry

FLOAT8 = (DType.F8_E4M3, DType.F8_E5M2)
"""Dtypes of the codes."""
_SCALE_ENDS = ("_scale_inv", "_scale")
_ACTIVATION_ENDS = (
    ".input_scale",
    ".input_scale_ub",
    ".activation_scale",
    ".output_scale",
    ".q_scale",
    ".k_scale",
    ".v_scale",
)
"""Names of what quantised runs multiply activations and caches by: nothing of a weight."""


@frozen
class ScaledWeight:
    """One weight."""

    codes: TensorEntry
    """Numbers of 8 bits. Shape (..., rows, columns)."""
    scales: TensorEntry
    """What they are multiplied by."""
    block: tuple[int, int]
    """Rows and columns that share a scale."""


@frozen(eq=False)
class ScaledWeights:
    """What a quantised checkpoint has."""

    weights: Mapping[str, ScaledWeight]
    """By the names of the tensors with the codes."""
    activation_scales: tuple[str, ...]
    """Tensors that belong to activations."""


class UnknownScalingError(Exception):
    """The reason why weights cannot be computed; caught where the model is refused by name."""


def find_scaled_weights(
    tensors: Mapping[str, TensorEntry], settings: Mapping[str, Any]
) -> ScaledWeights:
    """Every weight of 8-bit floats.

    Args:
        tensors: All tensors of the checkpoint.
        settings: The quantization_config of config.json.

    Raises:
        UnknownScalingError: config.json does not say how they are scaled, or scales do not fit.
    """
    block = _stated_block(settings)
    codes = [entry for entry in tensors.values() if entry.spec.dtype in FLOAT8]
    weights = {entry.name: _scaled(entry, tensors, block) for entry in codes}
    activation_scales = tuple(
        name
        for name, entry in tensors.items()
        if name.endswith(_ACTIVATION_ENDS) and entry.spec.numel == 1
    )
    return ScaledWeights(weights, activation_scales)


def _scaled(
    codes: TensorEntry, tensors: Mapping[str, TensorEntry], block: tuple[int, int] | None
) -> ScaledWeight:
    scales = next((tensors[n] for end in _SCALE_ENDS if (n := codes.name + end) in tensors), None)
    if scales is None:
        raise UnknownScalingError(f"{codes.name} has no scales")
    own = _fitting(codes.spec.shape, scales.spec.shape, block)
    if own is None:
        stated = f"blocks of {block[0]} x {block[1]}" if block else "no blocks"
        raise UnknownScalingError(
            f"scales {list(scales.spec.shape)} do not fit {codes.name} {list(codes.spec.shape)}; "
            f"config.json states {stated}"
        )
    return ScaledWeight(codes, scales, own)


def _fitting(
    shape: tuple[int, ...], scales: tuple[int, ...], stated: tuple[int, int] | None
) -> tuple[int, int] | None:
    """The block to which scales of a shape belong; None if there is none.

    Without stated blocks there is a scale for each matrix, for each row or for each column.
    """
    if len(shape) < 2 or not math.prod(shape):
        return None
    *outer, rows, columns = shape
    if stated:
        fits = scales == (*outer, -(-rows // stated[0]), -(-columns // stated[1]))
        return stated if fits else None
    whole, of_row, of_column = (rows, columns), (1, columns), (rows, 1)
    known = {(*outer, 1, 1): whole, (*outer, 1, columns): of_column, (*outer, rows, 1): of_row}
    known |= {tuple(outer): whole} if outer else {(): whole, (1,): whole, (rows,): of_row}
    return known.get(scales)


def _stated_block(settings: Mapping[str, Any]) -> tuple[int, int] | None:
    """The blocks that config.json states; None where it says that there are none."""
    method = settings.get("quant_method")
    if method == "fp8":
        size = settings.get("weight_block_size")
        return None if size is None else _checked(size)
    if method == "fbgemm_fp8":
        return None
    if method == "modelopt":
        if settings.get("quant_algo") == "FP8":
            return None
        raise UnknownScalingError(f"quant_algo {settings.get('quant_algo')!r}")
    if method == "compressed-tensors":
        return _block_of_groups(settings)
    raise UnknownScalingError("config.json does not say how the weights are scaled")


def _block_of_groups(settings: Mapping[str, Any]) -> tuple[int, int] | None:
    """The blocks of all groups of compressed-tensors."""
    groups = settings.get("config_groups")
    sections = groups.values() if isinstance(groups, dict) else ()
    weights = [group.get("weights") for group in sections if isinstance(group, dict)]
    found = {_block_of_group(section) for section in weights if isinstance(section, dict)}
    if len(found) != 1:
        raise UnknownScalingError("config_groups that differ in their blocks, or none")
    return found.pop()


def _block_of_group(weights: Mapping[str, Any]) -> tuple[int, int] | None:
    if (weights.get("type"), weights.get("num_bits")) != ("float", 8):
        raise UnknownScalingError(f"{weights.get('num_bits')} bits of {weights.get('type')}")
    strategy = weights.get("strategy")
    if strategy in ("tensor", "channel"):
        return None
    if strategy == "block":
        return _checked(weights.get("block_structure"))
    raise UnknownScalingError(f"strategy {strategy!r}")


def _checked(size: Any) -> tuple[int, int]:
    is_pair = isinstance(size, list) and len(size) == 2
    if is_pair and all(type(length) is int and length > 0 for length in size):
        return size[0], size[1]
    raise UnknownScalingError(f"blocks of {size!r}")
