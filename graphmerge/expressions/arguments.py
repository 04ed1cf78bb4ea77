"""Arguments as Python gives them: what stands for a number, a list or a path, and what does not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from pathlib import Path
from typing import Any, Protocol, TypeGuard, runtime_checkable

from graphmerge.errors import InputError, Problem
from graphmerge.recipe.cursor import show

_TEXTS = (str, bytes, bytearray, Path)


@runtime_checkable
class _Array(Protocol):
    """What numpy and torch have: arrays, and numbers, which are arrays of no dimension."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Elements along each dimension."""

    def tolist(self) -> Any:
        """The same as numbers of Python, in as many lists as there are dimensions."""


def plain(value: object) -> Any:
    """Numbers and rows of numpy and torch as those of Python; anything else as it is."""
    if isinstance(value, _Array) and not isinstance(value, type) and len(value.shape) <= 1:
        return value.tolist()
    return value


def is_number(value: object) -> TypeGuard[float]:
    """Whether it is a number; true and false are none."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def as_integer(value: object, where: str) -> int:
    """A whole number.

    Args:
        value: The argument.
        where: Which one of which function.

    Raises:
        InputError: it is none.
    """
    found = plain(value)
    if type(found) is int:
        return found
    raise wrong_argument(value, where, "an integer")


def as_flag(value: object, where: str) -> bool:
    """True or false, and nothing that stands for them. Raises InputError for anything else."""
    found = plain(value)
    if isinstance(found, bool):
        return found
    raise wrong_argument(value, where, "True or False")


def as_text(value: object, where: str) -> str:
    """A text. Raises InputError for anything else."""
    if isinstance(value, str):
        return value
    raise wrong_argument(value, where, "text")


def as_path(value: object, where: str) -> Path:
    """A path. Raises InputError for anything else, an empty text, and one with a zero byte."""
    if isinstance(value, Path) or (isinstance(value, str) and value and "\0" not in value):
        return Path(value)
    raise wrong_argument(value, where, "a path, as text or as a Path")


def as_list(value: object, where: str, wanted: str) -> list[Any]:
    """What is in a list, a tuple, an array or whatever else has an order.

    Raises:
        InputError: it is nothing like that; a text is one thing, and a set has no order.
    """
    found = plain(value)
    if isinstance(found, Iterable) and not isinstance(found, (*_TEXTS, Mapping, Set)):
        return list(found)
    hint = "put it in brackets" if isinstance(found, _TEXTS) else ""
    raise wrong_argument(value, where, wanted, hint)


def wrong_argument(value: object, where: str, wanted: str, hint: str = "") -> InputError:
    """What is said of an argument that makes no sense."""
    return InputError(Problem("wrong argument", where, show(value), wanted, hint))
