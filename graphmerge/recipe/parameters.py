"""Parameter values as a recipe writes them: scalars, gradients over layers, filtered candidates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeGuard

from graphmerge.recipe.values import Conditional, ParameterValue, Scalar

if TYPE_CHECKING:
    from graphmerge.recipe.cursor import Cursor

_WANTED = "a scalar, a list of scalars (gradient), or {filter, value}, one or a list of them"


def read_parameters(place: Cursor | None) -> dict[str, ParameterValue]:
    """The `parameters:` section; a parameter whose value is an empty list counts as not given."""
    if place is None:
        return {}
    values = {name: _read_value(value) for name, value in place.entries().items()}
    return {name: value for name, value in values.items() if value}


def _read_value(place: Cursor) -> ParameterValue:
    value = place.value
    if not isinstance(value, list):
        return _read_candidate(place)
    if all(_is_scalar(point) for point in value):
        return (Conditional(tuple(value)),) if value else ()
    candidates = [place.at(index, candidate) for index, candidate in enumerate(value)]
    return tuple(found for candidate in candidates for found in _read_candidate(candidate))


def _read_candidate(place: Cursor) -> ParameterValue:
    """One candidate, or none where it is wrong or its value is an empty list."""
    if _is_scalar(place.value):
        return (Conditional(place.value),)
    if not isinstance(place.value, Mapping):
        place.report("not a parameter value", wanted=_WANTED)
        return ()
    fields = place.fields(("filter", "value"), required=("value",))
    name_part = None
    if "filter" in fields:
        name_part = fields["filter"].text(if_empty="leave filter out for a value of all tensors")
    value = _read_points(fields["value"]) if "value" in fields else ()
    return () if value == () else (Conditional(value, None if name_part == "*" else name_part),)


def _is_scalar(value: object) -> TypeGuard[Scalar]:
    return isinstance(value, bool | int | float | str)


def _read_points(place: Cursor) -> Scalar | tuple[Scalar, ...]:
    value = place.value
    if _is_scalar(value):
        return value
    if isinstance(value, list) and all(_is_scalar(point) for point in value):
        return tuple(value)
    place.report("not a parameter value", wanted="a scalar or a list of scalars (gradient)")
    return ()
