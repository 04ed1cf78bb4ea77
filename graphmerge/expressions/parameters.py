"""Parameters as Python gives them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias, TypeGuard

from graphmerge.errors import Problem, RecipeError
from graphmerge.expressions.arguments import plain
from graphmerge.recipe.coercion import wanted
from graphmerge.recipe.cursor import in_one_line, show
from graphmerge.recipe.values import Conditional, ParameterValue, PerTensor, Scalar

if TYPE_CHECKING:
    from graphmerge.recipe.signature import ParameterSpec

Filter: TypeAlias = "Mapping[str, Scalar | Sequence[Scalar] | None]"
PerTensorFunction: TypeAlias = "Callable[[str, int | None, int], Scalar]"
Parameter: TypeAlias = "Scalar | Sequence[Scalar] | Filter | Sequence[Filter] | PerTensorFunction"
"""A number, text or boolean; a gradient over the layers; `{"filter": ..., "value": ...}`, one or a
list of them; or a function of tensor name, number of the layer and number of layers."""


def parameter_value(value: Parameter, spec: ParameterSpec | None = None) -> ParameterValue:
    """A parameter as a recipe holds it.

    Args:
        value: What Python gives; numbers and rows of numpy and torch stand for those of Python.
        spec: The parameter, where there is one: one of numbers takes no boolean, as YAML does.

    Raises:
        RecipeError: it is none of the forms that a parameter has.
    """
    given = plain(value)
    if isinstance(given, Mapping):
        return (_conditional(given, spec),)
    entries = given if _is_list(given) else []
    filters = [_conditional(entry, spec) for entry in entries if isinstance(entry, Mapping)]
    if filters and len(filters) == len(entries):
        return tuple(filters)
    return (Conditional(_inner(given, spec)),)


def _inner(value: object, spec: ParameterSpec | None) -> Scalar | tuple[Scalar, ...] | PerTensor:
    """A scalar, the points of a gradient, or a function."""
    given = plain(value)
    if callable(given):
        return PerTensor(_per_tensor(given), _name(given))
    if _is_list(given) and given:
        return tuple(_scalar(plain(point), value, spec) for point in given)
    return _scalar(given, value, spec)


def _scalar(value: object, whole: object, spec: ParameterSpec | None) -> Scalar:
    """One value, of the whole that the message shows."""
    if not isinstance(value, (bool, int, float, str)):
        raise RecipeError(_no_parameter(whole))
    if spec is not None and spec.kind in (int, float) and isinstance(value, bool):
        what = f"wrong value of parameter {spec.name!r}"
        raise RecipeError(Problem(what, got=repr(value), wanted=wanted(spec)))
    return value


def _is_list(value: object) -> TypeGuard[Sequence[object]]:
    return isinstance(value, Sequence) and not isinstance(value, (str, bytes, bytearray))


def shown_parameter(value: object) -> str:
    """A parameter as the text of an expression has it: functions by their names."""
    given = plain(value)
    if callable(given):
        return _name(given)
    if isinstance(given, (list, tuple)):
        return f"[{', '.join(map(shown_parameter, given))}]"
    return in_one_line(repr(given))


def _name(function: object) -> str:
    return str(getattr(function, "__qualname__", repr(function)))


def _per_tensor(function: PerTensorFunction) -> PerTensorFunction:
    """The function, which may give a number of numpy, or forget to return something."""

    def checked(tensor: str, layer: int | None, layers: int) -> Scalar:
        value: object = plain(function(tensor, layer, layers))
        if not isinstance(value, (bool, int, float, str)):
            where = f"{_name(function)}({tensor!r}, {layer}, {layers})"
            raise RecipeError(Problem("no value for a tensor", where, show(value), "a number"))
        return value

    return checked


def _conditional(entry: Mapping[str, object], spec: ParameterSpec | None) -> Conditional:
    unknown = set(entry) - {"filter", "value"}
    value, name_part = entry.get("value"), entry.get("filter")
    if unknown or value is None or not (name_part is None or isinstance(name_part, str)):
        raise RecipeError(_no_parameter(entry))
    return Conditional(_inner(value, spec), None if name_part == "*" else name_part)


def _no_parameter(value: object) -> Problem:
    forms = "a number, a gradient, {filter, value} or a list of them, or a function"
    return Problem("not a parameter value", got=show(value), wanted=forms)
