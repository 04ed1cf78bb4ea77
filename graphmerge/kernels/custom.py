"""Kernel of functions that plug-ins bring."""

from __future__ import annotations

import torch

from graphmerge.errors import Problem, RecipeError
from graphmerge.kernels.registry import Tile, register_kernel
from graphmerge.ops.custom import CUSTOM_OPS, REPORT_IT, Custom, place_of, told


def custom(op: Custom, tile: Tile) -> None:
    """Call the function with tensors in the shape that its access pattern says.

    Raises:
        RecipeError: it raises something, or what it returns is no tensor of that shape.
    """
    tile.output.copy_(result_of(op, [x.view(tile.shape) for x in tile.inputs]).reshape(-1))


def result_of(op: Custom, tensors: list[torch.Tensor]) -> torch.Tensor:
    """What the function makes of tensors of one shape.

    Raises:
        RecipeError: it raises something, or what it returns is no tensor of that shape.
    """
    wanted = str(list(tensors[0].shape))
    try:
        result = op.function(tensors, **arguments_of(op))
    except Exception as error:
        what = f"method {op.name} fails on tensors of shape {wanted}: {told(error)}"
        raise RecipeError(Problem(what, place_of(op.function, error), hint=REPORT_IT)) from error
    if not isinstance(result, torch.Tensor) or str(list(result.shape)) != wanted:
        got = list(result.shape) if isinstance(result, torch.Tensor) else type(result).__name__
        what = f"method {op.name} returns something else than a tensor of its inputs' shape"
        where = place_of(op.function)
        raise RecipeError(Problem(what, where, str(got), wanted, REPORT_IT))
    return result


def arguments_of(op: Custom) -> dict[str, object]:
    """The arguments as the function wants them: lists as lists."""
    return {
        name: list(value) if isinstance(value, tuple) else value for name, value in op.arguments
    }


for _op in CUSTOM_OPS.values():
    register_kernel(_op)(custom)
