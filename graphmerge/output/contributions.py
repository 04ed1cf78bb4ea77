"""What share each model has in a merge, from the parameters as they were resolved."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, TypeAlias

from graphmerge.checkpoint.names import split_block
from graphmerge.frozen_classes import frozen

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from graphmerge.recipe.values import Scalar

_OF = " of "
"""Between a parameter and its model in the keys of resolved parameters."""
_NUMBER = re.compile(r"(?<=\.)\d+(?=\.)")
_END = re.compile(r"\.(weight|bias)$")
_OTHERS = "all others"
SHARE = "share"
"""Column of a model's part in the sum of the weights, or in an interpolation."""

_Values: TypeAlias = "dict[str, dict[Scalar, None]]"
"""Every value that a parameter has in a group of tensors, in order, by the parameter."""


@frozen
class Contribution:
    """What a model, or the method itself, is given for some of the tensors."""

    model: str
    """The model as messages name it; empty for the method's own parameters."""
    tensors: str
    """Which tensors: `all`, or groups of them."""
    values: Mapping[str, str]
    """Parameters and share as text; `0.2 to 0.8`, or `0.8 to 0.2`, where layers differ."""


def contributions(
    parameters: Mapping[str, Mapping[str, Scalar]], *, ends: tuple[str, str, str] | None = None
) -> list[Contribution]:
    """The parameters of each model, those of tensors with the same ones together.

    Args:
        parameters: Resolved parameters of every merged tensor: `weight of MODEL`, or the method's
            own by name.
        ends: For an interpolation the parameter that says how far it goes, and the models where it
            begins and ends.
    """
    groups = _grouped(parameters, ends)
    names = dict.fromkeys(model for group in groups.values() for model in group)
    found: list[Contribution] = []
    for name in names:
        alike: dict[tuple[tuple[str, str], ...], list[str]] = {}
        for group, models in groups.items():
            values = tuple((key, _text(values)) for key, values in models.get(name, {}).items())
            if values:
                alike.setdefault(values, []).append(group)
        every = [group for members in alike.values() for group in members]
        rows = [
            Contribution(name, _described(members, every), dict(values))
            for values, members in alike.items()
        ]
        found += sorted(rows, key=lambda row: row.tensors == _OTHERS)
    return found


def _grouped(
    parameters: Mapping[str, Mapping[str, Scalar]], ends: tuple[str, str, str] | None
) -> dict[str, dict[str, _Values]]:
    """Values by group of tensors, model and parameter; tensors with the same values count once."""
    groups: dict[str, dict[str, _Values]] = {}
    seen: set[tuple[str, int]] = set()
    for tensor, values in parameters.items():
        group = _group(tensor)
        if (group, id(values)) in seen:
            continue
        seen.add((group, id(values)))
        models = groups.setdefault(group, {})
        for model, key, value in (*_split(values), *_shares(values, ends)):
            models.setdefault(model, {}).setdefault(key, {})[value] = None
    return groups


def _split(values: Mapping[str, Scalar]) -> Iterator[tuple[str, str, Scalar]]:
    """Model, parameter and value."""
    for key, value in values.items():
        name, _, model = key.partition(_OF)
        yield model, name, value


def _shares(
    values: Mapping[str, Scalar], ends: tuple[str, str, str] | None
) -> Iterator[tuple[str, str, Scalar]]:
    """The part of each model; none where weights are negative or add up to nothing."""
    if ends is not None and ends[0] in values:
        position, first, last = float(values[ends[0]]), *ends[1:]
        yield from ((first, SHARE, 1 - position), (last, SHARE, position))
        return
    weights = {model: float(value) for model, key, value in _split(values) if key == "weight"}
    total = sum(weights.values())
    if total > 0 and min(weights.values()) >= 0:
        yield from ((model, SHARE, weight / total) for model, weight in weights.items())


def _group(tensor: str) -> str:
    """What tensors of all layers, and of all experts, have in common; in layers after a dot."""
    parts = split_block(tensor)
    return _END.sub("", "." + _NUMBER.sub("*", parts[2]) if parts else tensor)


def _described(members: Sequence[str], every: Sequence[str]) -> str:
    """Groups as text: all, or their names; what all has the same beginning is named by that."""
    if len(members) == len(every):
        return "all"
    if len(members) > len(every) / 2:
        return _OTHERS
    whole, given = (Counter(map(_beginning, groups)) for groups in (every, members))
    names = dict.fromkeys(
        _beginning(group) if given[_beginning(group)] == whole[_beginning(group)] else group
        for group in members
    )
    return ", ".join(f"`{name.lstrip('.')}`" for name in names)


def _beginning(group: str) -> str:
    """The first word of a group in the layers; a tensor outside them has a name of its own."""
    return "." + group.split(".")[1] if group.startswith(".") else group


def _text(values: Mapping[Scalar, None]) -> str:
    """One value, or the least and the greatest, the one of the earlier layer first."""
    numbers = [value for value in values if not isinstance(value, bool | str)]
    if len(numbers) < len(values):
        return ", ".join(dict.fromkeys(str(value).lower() for value in values))
    extremes = sorted((min(numbers), max(numbers)), key=numbers.index)
    return " to ".join(dict.fromkeys(f"{value:.3g}" for value in extremes))
