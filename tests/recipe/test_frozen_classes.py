"""Frozen classes: what they show is what attrs would show."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from graphmerge.frozen_classes import frozen


def _pair(decorator: Any) -> tuple[type, type]:
    @decorator(eq=False)
    class Inner:
        hidden: int = attrs.field(repr=False)
        text: str = "it's"
        unset: int = attrs.field(init=False)

    @decorator
    class Outer:
        inner: Inner
        parts: Any = ()

    return Inner, Outer


@pytest.mark.parametrize("depth", [1, 2])
def test_a_value_is_shown_as_attrs_shows_it(depth: int):
    shown = []
    for decorator in (attrs.frozen, frozen):
        inner, outer = _pair(decorator)
        value = outer(inner(1), (1.5, None))
        shown.append(repr(outer(value, [value, inner(2, "x")]) if depth == 2 else value))
    assert shown[0] == shown[1]
    assert 'Inner(text="it\'s", unset=NOTHING)' in shown[1]


def test_a_value_within_itself_is_shown_once():
    for decorator in (attrs.frozen, frozen):
        _, outer = _pair(decorator)
        parts: list[object] = []
        parts.append(outer(1, parts))
        assert repr(parts[0]) == "Outer(inner=1, parts=[...])"


def test_a_subclass_is_shown_by_its_own_name_and_fields():
    @frozen
    class Above:
        first: int

    @frozen
    class Below(Above):
        second: int

    assert repr(Below(1, 2)) == "Below(first=1, second=2)"


def test_a_repr_of_its_own_stays():
    @frozen
    class Own:
        field: int

        def __repr__(self) -> str:
            return "own"

    assert repr(Own(1)) == "own"


def test_values_are_frozen_and_compared_by_their_fields():
    _, outer = _pair(frozen)
    assert outer(1) == outer(1)
    assert hash(outer(1)) == hash(outer(1))
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        outer(1).parts = 2
