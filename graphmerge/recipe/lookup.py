"""Evaluate a parameter for one tensor: scopes, filters, gradients over the layers."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from graphmerge.errors import Problem, RecipeError
from graphmerge.recipe.coercion import coerce, wanted
from graphmerge.recipe.cursor import show
from graphmerge.recipe.signature import Required
from graphmerge.recipe.values import PerTensor

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from graphmerge.recipe.signature import ParameterSpec
    from graphmerge.recipe.values import ParameterValue, Scalar


_HOLDERS = {False: "merge", True: "model or of the merge"}
"""What a parameter belongs to, by whether each model has its own value."""


def layer_fraction(index: int | None, length: int) -> float:
    """Where on a gradient a layer is: t = index / (length - 1) within its slice.

    A tensor outside the layers (index None) is at 0, the only layer of a slice at 1.
    """
    if index is None:
        return 0.0
    return index / (length - 1) if length > 1 else 1.0


def evaluate(
    parameter: ParameterSpec,
    *,
    scopes: Sequence[Mapping[str, ParameterValue]],
    tensor_name: str,
    t: float,
    layer: tuple[int | None, int] = (None, 0),
    method: str = "",
    model: str = "",
    hint: str = "",
) -> Scalar:
    """The parameter's value for one tensor.

    Args:
        parameter: What to look up.
        scopes: Sections of the recipe, from the innermost to the outermost.
        tensor_name: What filters look at: the input's name for per-model parameters, else the
            output's.
        t: Place on gradients, from 0 to 1; see `layer_fraction`.
        layer: Number of the layer, None outside the layers, and how many there are; for functions.
        method: Name of the merge method, for messages.
        model: What the model is called that the value is for, for messages.
        hint: Where the value can be given, for messages; empty for recipes as they mostly are.

    Raises:
        RecipeError: no scope has a value for the tensor and there is no default, or the value is
            of a wrong kind.
    """
    name = parameter.name
    for scope in scopes:
        for candidate in scope.get(name, ()):
            if candidate.filter is None or candidate.filter in tensor_name:
                if isinstance(candidate.value, PerTensor):
                    return _coerced(parameter, _called(candidate.value, tensor_name, layer))
                return _value_at(parameter, candidate.value, t)
    if isinstance(parameter.default, Required):
        what = f"{method or 'the merge method'} needs parameter {name!r}"
        got = f"none for {model}" if model else ""
        if any(scope.get(name) for scope in scopes):
            hint = "no filter fits the tensor; the list may end with an entry that has only a value"
        hint = hint or f"give it in 'parameters:' of the {_HOLDERS[parameter.per_model]}"
        raise RecipeError(Problem(what, f"tensor {tensor_name}", got, hint=hint))
    return parameter.default


def _called(value: PerTensor, tensor_name: str, layer: tuple[int | None, int]) -> Scalar:
    """What a function gives for a tensor.

    Raises:
        RecipeError: it fails.
    """
    try:
        return value.function(tensor_name, *layer)
    except RecipeError:  # what it gives is no value, and that is said already
        raise
    except Exception as error:
        what = f"function {value.name} fails: {type(error).__name__}: {error}"
        form = "a function of tensor name, layer (or None) and number of layers"
        raise RecipeError(Problem(what, wanted=form)) from error


def _value_at(parameter: ParameterSpec, value: Scalar | tuple[Scalar, ...], t: float) -> Scalar:
    """A scalar as it is; a gradient of n points at t * (n - 1)."""
    if not isinstance(value, tuple):
        return _coerced(parameter, value)
    position = t * (len(value) - 1)
    index = int(position)
    low = _coerced(parameter, value[index])
    if index == position or parameter.kind in (bool, str):
        return low
    high = _coerced(parameter, value[index + 1])
    start, end = cast("float", low), cast("float", high)
    number = start + (end - start) * (position - index)
    return round(number) if parameter.kind is int else number


def _coerced(parameter: ParameterSpec, value: Scalar) -> Scalar:
    result = coerce(parameter, value)
    if result is None:
        what = f"wrong value of parameter {parameter.name!r}"
        raise RecipeError(Problem(what, got=show(value), wanted=wanted(parameter)))
    return result
