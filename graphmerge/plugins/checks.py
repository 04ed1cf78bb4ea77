"""What decorators are given, checked when a plug-in is imported."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

import numpy as np

from graphmerge.errors import Problem, RecipeError
from graphmerge.ops.custom import place_of
from graphmerge.recipe.cursor import show

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_HINT = 'write the name in parentheses after the decorator: ("NAME")'


def check_name(name: object, of: str) -> None:
    """Check that a decorator has a name. Raises RecipeError where it has none."""
    if not isinstance(name, str) or not name.strip():
        raise RecipeError(Problem(f"no name of a {of}", got=show(name), wanted="text", hint=_HINT))


def check_choices(name: str, given: Mapping[str, tuple[object, Sequence[str]]]) -> None:
    """Check words that have a meaning: each with those that have one.

    Raises:
        RecipeError: one has none.
    """
    _refuse(
        name,
        {
            argument: (value, f"one of {', '.join(allowed)}")
            for argument, (value, allowed) in given.items()
            if not (isinstance(value, str) and value in allowed)
        },
    )


def check_texts(name: str, **texts: object) -> None:
    """Check what people read. Raises RecipeError where it is no text."""
    wrong = {key: value for key, value in texts.items() if not isinstance(value, str)}
    _refuse(name, {key: (value, "text") for key, value in wrong.items()})


def check_bytes(name: str, **sizes: object) -> None:
    """Check sizes, which may be None. Raises RecipeError where one is no number of bytes."""
    wrong = {key: value for key, value in sizes.items() if not _is_size(value)}
    _refuse(name, {key: (value, "an integer, at least 0") for key, value in wrong.items()})


def check_function(function: object, name: str) -> None:
    """Check what is decorated. Raises RecipeError where it is no function."""
    if not (inspect.isfunction(function) or inspect.ismethod(function)):
        what = f"{name!r} is not written above a function"
        raise RecipeError(Problem(what, got=show(function), wanted="a function"))
    if inspect.iscoroutinefunction(function) or inspect.isgeneratorfunction(function):
        what, wanted = f"the function of {name!r} returns nothing by itself", "return, not yield"
        raise RecipeError(Problem(what, place_of(function), wanted=wanted))


def _is_size(value: object) -> bool:
    if value is None:
        return True
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        return False
    return bool(value >= 0)


def _refuse(name: str, wrong: Mapping[str, tuple[object, str]]) -> None:
    """Refuse values, each with what is wanted instead."""
    if wrong:
        raise RecipeError(
            *(
                Problem(f"wrong {argument} of method {name!r}", got=show(value), wanted=wanted)
                for argument, (value, wanted) in wrong.items()
            )
        )
