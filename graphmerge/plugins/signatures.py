"""A method's parameters from the signature of a Python function."""

from __future__ import annotations

import inspect
import typing
from typing import TYPE_CHECKING, Any, Literal

from attrs import evolve

from graphmerge.errors import Problem, RecipeError
from graphmerge.frozen_classes import frozen
from graphmerge.recipe.coercion import coerce, wanted
from graphmerge.recipe.signature import REQUIRED, ParameterSpec

if TYPE_CHECKING:
    from collections.abc import Callable

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
    first, *rest = inspect.signature(function).parameters.values() or (None,)
    if first is None or first.kind not in (first.POSITIONAL_ONLY, first.POSITIONAL_OR_KEYWORD):
        what = "the first parameter takes the list of tensors"
        problems.append(Problem(what, _place(function, first)))
    for parameter in rest:
        annotation = _evaluated(parameter.annotation, function, context_type)
        if context_type is not None and annotation is context_type:
            context = parameter.name
            continue
        spec = _spec(function, parameter, annotation)
        if isinstance(spec, Problem):
            problems.append(spec)
        else:
            specs.append(spec)
            names.append(parameter.name)
    if problems:
        raise RecipeError(*problems)
    return Signature(tuple(specs), tuple(names), context)


def _evaluated(annotation: Any, function: Callable[..., Any], context_type: type | None) -> Any:
    """An annotation as an object: `from __future__ import annotations` leaves texts.

    What it names may be imported for type checkers only.
    """
    if not isinstance(annotation, str):
        return annotation
    known: dict[str, Any] = {"Literal": Literal, "typing": typing}
    if context_type is not None:
        known[context_type.__name__] = context_type
    try:
        return eval(annotation, {**known, **getattr(function, "__globals__", {})})
    except Exception:  # noqa: BLE001 - whatever the annotation names may be missing
        return None


def _spec(
    function: Callable[..., Any], parameter: inspect.Parameter, annotation: Any
) -> ParameterSpec | Problem:
    """One parameter, or what is wrong with it."""
    where = _place(function, parameter)
    if parameter.kind not in (parameter.KEYWORD_ONLY, parameter.POSITIONAL_OR_KEYWORD):
        return Problem("a parameter that cannot be given by name", where, str(parameter))
    is_list = typing.get_origin(annotation) is list
    inner = typing.get_args(annotation)[0] if is_list else annotation
    choices: tuple[str, ...] = ()
    if typing.get_origin(inner) is Literal:
        choices = typing.get_args(inner)
        inner = str if all(isinstance(choice, str) for choice in choices) else None
    if inner not in _KINDS:
        return Problem("no annotation that recipes know", where, str(parameter), _WANTED)
    name = parameter.name.rstrip("_")
    spec = ParameterSpec(name, _KINDS[inner], REQUIRED, is_list, "", choices)
    default = parameter.default
    if default is parameter.empty:
        return spec
    if is_list and isinstance(default, (list, tuple)) and len(default) == 1:
        (default,) = default
    value = coerce(spec, default) if isinstance(default, (float, int, bool, str)) else None
    if value is None:
        allowed = wanted(spec) + (", the same for every model" if is_list else "")
        return Problem("a default that recipes could not give", where, str(parameter), allowed)
    return evolve(spec, default=value)


def _place(function: Callable[..., Any], parameter: inspect.Parameter | None) -> str:
    name = f"{function.__module__}.{function.__qualname__}"
    return f"{name}, parameter {parameter.name}" if parameter else name
