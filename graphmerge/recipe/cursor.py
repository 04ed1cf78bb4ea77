"""A place in a recipe: reads the value there, and reports what is wrong with it by its path."""

from __future__ import annotations

import re
import reprlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from attrs import evolve, field

from graphmerge.errors import Problem
from graphmerge.frozen_classes import frozen
from graphmerge.recipe.suggestions import suggest

if TYPE_CHECKING:
    from pathlib import Path

_PLAIN_KEY = re.compile(r"[A-Za-z_][\w-]*")
_SHORTENED = reprlib.Repr()
_SHORTENED.maxlevel = 3  # YAML aliases can make a value that contains itself
_SHORTENED.maxstring = _SHORTENED.maxother = 80  # one line of a terminal
_SHORTENED.maxlist = 12  # every key of a recipe


def show(value: object) -> str:
    """The value for a message, in one line: of a mapping its keys; long values are cut."""
    if isinstance(value, Mapping):
        return f"a mapping with keys {_SHORTENED.repr(list(value))}"
    return in_one_line(_SHORTENED.repr(value))


def in_one_line(text: str) -> str:
    """A text with its lines, such as an array's, one after the other."""
    return " ".join(line.strip() for line in text.splitlines())


def child_path(path: str, key: object) -> str:
    """Path of a part: `$.models`, `$.models[0]`, `$.tokens["<pad>"]`."""
    if isinstance(key, str) and _PLAIN_KEY.fullmatch(key):
        return f"{path}.{key}"
    return f'{path}["{key}"]' if isinstance(key, str) else f"{path}[{show(key)}]"


@frozen
class Cursor:
    """A value of the recipe, and where it is.

    Reading goes on after a mistake, so that all are reported at once: a method that cannot return
    what was asked for adds to `problems` and returns None or nothing. Whoever started the reading
    looks there.
    """

    value: object
    """What YAML has at this place."""
    path: str = "$"
    """Place in the recipe: `$.slices[0].sources[1]`."""
    folder: Path | None = None
    """Folder of the recipe, where relative model paths may start."""
    problems: list[Problem] = field(factory=list)
    """Everything wrong so far; shared by all cursors of one reading."""

    def report(self, what: str, *, wanted: str = "", hint: str = "") -> None:
        """Note that the value at this place is wrong."""
        self.problems.append(Problem(what, self.path, show(self.value), wanted, hint))

    def at(self, key: object, value: object) -> Cursor:
        """The cursor of a part of this value."""
        return evolve(self, value=value, path=child_path(self.path, key))

    def entries(self) -> dict[str, Cursor]:
        """The entries of a mapping whose keys are free text."""
        if not isinstance(self.value, Mapping):
            self.report("not a mapping", wanted="a mapping of names to values")
            return {}
        for key in self.value:
            if not isinstance(key, str):
                self.at(key, key).report("a key is not text", hint="put it in quotes")
        return {key: self.at(key, part) for key, part in self.value.items() if isinstance(key, str)}

    def fields(self, allowed: Sequence[str], *, required: Sequence[str] = ()) -> dict[str, Cursor]:
        """The entries of a mapping whose keys are known; null counts as not given."""
        if not isinstance(self.value, Mapping):
            self.report("not a mapping", wanted=f"a mapping with {', '.join(allowed)}")
            return {}
        found = self.entries()
        for key, part in found.items():
            if key not in allowed:
                wanted = f"one of {', '.join(allowed)}"
                part.report(f"unknown key {key!r}", wanted=wanted, hint=suggest(key, allowed))
        given = {
            key: part for key, part in found.items() if key in allowed and part.value is not None
        }
        for key in required:
            if key not in given:
                self.report(f"missing key {key!r}")
        return given

    def items(self) -> list[Cursor]:
        """The items of a list, of which there must be at least one."""
        if isinstance(self.value, list) and self.value:
            return [self.at(index, item) for index, item in enumerate(self.value)]
        is_single = isinstance(self.value, Mapping)
        hint = "start each entry of the list with '- '" if is_single else ""
        self.report("not a list of entries", wanted="a list with at least one entry", hint=hint)
        return []

    def text(self, *, if_empty: str = "") -> str | None:
        """The value as text that is not empty.

        Args:
            if_empty: What to do about an empty one, for messages.
        """
        if isinstance(self.value, str):
            if not self.value:
                self.report("an empty text", wanted="text", hint=if_empty)
            return self.value or None
        hint = "put it in quotes" if isinstance(self.value, bool | int | float) else ""
        self.report("not a text", wanted="text", hint=hint)
        return None

    def integer(self, *, minimum: int) -> int | None:
        """The value as an integer that is not below `minimum`."""
        value = self.value
        if isinstance(value, int) and not isinstance(value, bool) and value >= minimum:
            return value
        self.report("not a valid number", wanted=f"an integer, at least {minimum}")
        return None
