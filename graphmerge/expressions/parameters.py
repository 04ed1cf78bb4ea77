"""Parameters as Python gives them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

from graphmerge.errors import Problem, RecipeError
from graphmerge.recipe.values import Conditional, ParameterValue, PerTensor, Scalar

Filter: TypeAlias = "Mapping[str, Scalar | Sequence[Scalar] | None]"
PerTensorFunction: TypeAlias = "Callable[[str, int | None, int], Scalar]"
Parameter: TypeAlias = "Scalar | Sequence[Scalar] | Filter | Sequence[Filter] | PerTensorFunction"
"""A number, text or boolean; a gradient over the layers; `{"filter": ..., "value": ...}`, one or a
list of them; or a function of tensor name, number of the layer and number of layers."""


def parameter_value(value: Parameter) -> ParameterValue:
    """A parameter as a recipe holds it.

    Raises:
        RecipeError: it is none of the forms that a parameter has.
    """
    if isinstance(value, (bool, int, float, str)):
        return (Conditional(value),)
    if callable(value):
        return (Conditional(_per_tensor(value)),)
    if isinstance(value, Mapping):
        return (_conditional(value),)
    if not isinstance(value, Sequence):
        raise RecipeError(_no_parameter(value))
    points = list(value)
    if points and all(isinstance(point, Mapping) for point in points):
        return tuple(_conditional(point) for point in points if isinstance(point, Mapping))
    if all(isinstance(point, (bool, int, float, str)) for point in points):
        scalars = tuple(p for p in points if isinstance(p, (bool, int, float, str)))
        return (Conditional(scalars),) if scalars else ()
    raise RecipeError(_no_parameter(value))


def shown_parameter(value: object) -> str:
    """A parameter as the text of an expression has it: functions by their names."""
    if callable(value):
        return _name(value)
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(shown_parameter, value))}]"
    return repr(value)


def _name(function: object) -> str:
    return str(getattr(function, "__qualname__", repr(function)))


def _per_tensor(function: PerTensorFunction) -> PerTensor:
    """The function, which may forget to return something."""
    name = _name(function)

    def checked(tensor: str, layer: int | None, layers: int) -> Scalar:
        value: object = function(tensor, layer, layers)
        if not isinstance(value, (bool, int, float, str)):
            where = f"{name}({tensor!r}, {layer}, {layers})"
            raise RecipeError(Problem("no value for a tensor", where, repr(value), "a number"))
        return value

    return PerTensor(checked, name)


def _conditional(entry: Filter) -> Conditional:
    unknown = set(entry) - {"filter", "value"}
    value, name_part = entry.get("value"), entry.get("filter")
    if unknown or value is None or not (name_part is None or isinstance(name_part, str)):
        raise RecipeError(_no_parameter(entry))
    (inner,) = parameter_value(value) or (Conditional(()),)
    return Conditional(inner.value, None if name_part == "*" else name_part)


def _no_parameter(value: object) -> Problem:
    wanted = "a number, a gradient, {filter, value} or a list of them, or a function"
    return Problem("not a parameter value", got=repr(value), wanted=wanted)
