"""Kernel of functions that plug-ins bring."""

from __future__ import annotations

import torch

from graphmerge.errors import Problem, RecipeError
from graphmerge.kernels.registry import Tile, register_kernel
from graphmerge.ops.custom import CUSTOM_OPS, Custom


def custom(op: Custom, tile: Tile) -> None:
    """Call the function with tensors in the shape that its access pattern says.

    Raises:
        RecipeError: what it returns is no tensor of that shape.
    """
    result = op.function([x.view(tile.shape) for x in tile.inputs], **arguments_of(op))
    if not isinstance(result, torch.Tensor) or tuple(result.shape) != tile.shape:
        got = list(result.shape) if isinstance(result, torch.Tensor) else type(result).__name__
        raise RecipeError(
            Problem(
                f"method {op.name} returned something else than a tensor of its inputs' shape",
                got=str(got),
                wanted=str(list(tile.shape)),
                hint="report it to the author of the plug-in",
            )
        )
    tile.output.copy_(result.reshape(-1))


def arguments_of(op: Custom) -> dict[str, object]:
    """The arguments as the function wants them: lists as lists."""
    return {
        name: list(value) if isinstance(value, tuple) else value for name, value in op.arguments
    }


for _op in CUSTOM_OPS.values():
    register_kernel(_op)(custom)
