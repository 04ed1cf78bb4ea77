"""A method's parameters from the signature of a Python function."""

from __future__ import annotations

import inspect
import typing
from typing import TYPE_CHECKING, Any, Literal

from attrs import frozen

from graphmerge.errors import Problem, RecipeError
from graphmerge.recipe.signature import REQUIRED, ParameterSpec, Required

if TYPE_CHECKING:
    from collections.abc import Callable

    from graphmerge.recipe.values import Scalar

_KINDS: dict[object, type] = {float: float, int: int, bool: bool, str: str}
_WANTED = "float, int, bool, str, Literal of texts, or list[...] of one for a value per model"


@frozen
class Signature:
    """What a function's signature says."""

    parameters: tuple[ParameterSpec, ...]
    """Its parameters, as recipes have them."""
    names: tuple[str, ...]
    """The function's names of them, in the same order: `lambda_` for `lambda`."""
    context: str
    """Name of the parameter that takes the `MergeInputs`; empty if there is none."""


def signature_of(function: Callable[..., Any], context_type: type | None = None) -> Signature:
    """The parameters of a function: everything after the tensors, by keyword.

    Args:
        function: Takes a list of tensors (or nodes) first.
        context_type: A parameter annotated with this type takes the context.

    Raises:
        RecipeError: an annotation is missing or is none of those that recipes can give values for.
    """
    problems: list[Problem] = []
    specs: list[ParameterSpec] = []
    names: list[str] = []
    context = ""
    first, *rest = inspect.signature(function).parameters.values()
    if first.kind is first.KEYWORD_ONLY:
        problems.append(_problem(function, first.name, "the first parameter takes the tensors"))
    for parameter in rest:
        annotation = _evaluated(parameter.annotation, function)
        if context_type is not None and annotation is context_type:
            context = parameter.name
            continue
        spec = _spec(parameter, annotation)
        if spec is None:
            problems.append(_problem(function, parameter.name, "no annotation that recipes know"))
        else:
            specs.append(spec)
            names.append(parameter.name)
    if problems:
        raise RecipeError(*problems)
    return Signature(tuple(specs), tuple(names), context)


def _evaluated(annotation: Any, function: Callable[..., Any]) -> Any:
    """An annotation as an object: `from __future__ import annotations` leaves texts."""
    if not isinstance(annotation, str):
        return annotation
    known = {"Literal": Literal, "typing": typing, "list": list, "List": list}
    try:
        return eval(annotation, {**known, **getattr(function, "__globals__", {})})
    except Exception:  # noqa: BLE001 - whatever the annotation names may be missing
        return None


def _spec(parameter: inspect.Parameter, annotation: Any) -> ParameterSpec | None:
    """One parameter; None if its annotation is not one that recipes know."""
    is_list = typing.get_origin(annotation) is list
    inner = typing.get_args(annotation)[0] if is_list else annotation
    choices: tuple[str, ...] = ()
    if typing.get_origin(inner) is Literal:
        choices = typing.get_args(inner)
        inner = str if all(isinstance(choice, str) for choice in choices) else None
    if inner not in _KINDS:
        return None
    default: Scalar | Required = REQUIRED
    if parameter.default is not parameter.empty:
        default = parameter.default
    name = parameter.name.rstrip("_")
    return ParameterSpec(name, _KINDS[inner], default, is_list, "", choices)


def _problem(function: Callable[..., Any], name: str, what: str) -> Problem:
    where = f"{function.__module__}.{function.__qualname__}, parameter {name}"
    return Problem(what, where, wanted=_WANTED)
