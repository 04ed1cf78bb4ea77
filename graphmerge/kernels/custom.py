"""Kernel of functions that plug-ins bring."""

from __future__ import annotations

import torch

from graphmerge.errors import Problem, RecipeError
from graphmerge.kernels.registry import Tile, register_kernel
from graphmerge.ops.custom import CUSTOM_OPS, REPORT_IT, Custom, place_of, told


def custom(op: Custom, tile: Tile) -> None:
    """Call the function with tensors in the shape that its access pattern says.

    Raises:
        RecipeError: it raises something, or what it returns is no tensor of numbers of that shape.
    """
    tile.output.copy_(result_of(op, [x.view(tile.shape) for x in tile.inputs]).reshape(-1))


def result_of(op: Custom, tensors: list[torch.Tensor]) -> torch.Tensor:
    """What the function makes of tensors of one shape.

    Raises:
        RecipeError: it raises something, or what it returns is no tensor of numbers of that shape.
    """
    wanted = str(list(tensors[0].shape))
    try:
        result: torch.Tensor = op.function(tensors, **arguments_of(op))
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # sys.exit() too, which would end the command as if it were done
        what = f"method {op.name} fails on tensors of shape {wanted}: {told(error)}"
        raise RecipeError(Problem(what, place_of(op.function, error), hint=REPORT_IT)) from error
    got = _kind(result, has_data=not tensors[0].is_meta)
    if got != wanted:
        what = f"method {op.name} returns something else than a tensor like its inputs"
        raise RecipeError(Problem(what, place_of(op.function), got, wanted, REPORT_IT))
    return result


def _kind(result: object, *, has_data: bool) -> str:
    """What a function returned: its shape alone if it can be copied to where the output is.

    Args:
        result: What it returned.
        has_data: Whether its inputs have data.
    """
    if not isinstance(result, torch.Tensor):
        return type(result).__name__
    if result.is_nested:
        return "a nested tensor"
    if result.layout != torch.strided:
        return f"a tensor of layout {result.layout}"
    shape = str(list(result.shape))
    if result.is_complex() or result.is_quantized:  # a copy would drop what is imaginary
        return f"{shape} of {result.dtype}"
    return f"{shape} without data, of device meta" if result.is_meta and has_data else shape


def arguments_of(op: Custom) -> dict[str, object]:
    """The arguments as the function wants them: lists as lists."""
    return {
        name: list(value) if isinstance(value, tuple) else value for name, value in op.arguments
    }


for _op in CUSTOM_OPS.values():
    register_kernel(_op)(custom)
