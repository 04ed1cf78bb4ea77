"""Which recipe values stand for which parameter values: `"1e-3"` for a number, 0 for a boolean."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graphmerge.spec import LARGEST

if TYPE_CHECKING:
    from graphmerge.recipe.signature import ParameterSpec
    from graphmerge.recipe.values import Scalar

_BOOLEANS = {
    "true": True, "yes": True, "on": True, "1": True,
    "false": False, "no": False, "off": False, "0": False,
}  # fmt: skip


def coerce(parameter: ParameterSpec, value: Scalar) -> Scalar | None:
    """The value as the parameter's kind, or None if it is no such value."""
    kind = parameter.kind
    if kind is float:
        return _to_float(value)
    if kind is int:
        return to_integer(value)
    if kind is bool:
        return value if value in parameter.choices else _to_bool(value)
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)  # a name may be a number
    is_allowed = isinstance(value, str) and (not parameter.choices or value in parameter.choices)
    return value if is_allowed else None


def wanted(parameter: ParameterSpec) -> str:
    """What the parameter's values may be, for messages."""
    if parameter.choices:
        more = ("true", "false") if parameter.kind is bool else ()
        return f"one of {', '.join((*more, *parameter.choices))}"
    return {
        float: "a finite number",
        int: "an integer",
        bool: "true or false",
        str: "text",
    }[parameter.kind]


def _to_float(value: Scalar) -> float | None:
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if abs(number) <= LARGEST else None


def to_integer(value: Scalar) -> int | None:
    """An integer, also as text or as a float; None for anything else."""
    if isinstance(value, int):
        return int(value)
    number = _to_float(value)
    return int(number) if number is not None and number.is_integer() else None


def _to_bool(value: Scalar) -> bool | None:
    if isinstance(value, str):
        return _BOOLEANS.get(value.lower())
    return bool(value) if value in (0, 1) else None
