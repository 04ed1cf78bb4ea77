"""Show many tensor names as few: `model.layers.{0..31}.mlp.experts.{0..7}.w1.weight`."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from graphmerge.frozen_classes import frozen

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_Groups: TypeAlias = "dict[tuple[str, ...], tuple[str, ...]]"
"""Names by the segments of their pattern."""
_DIGITS_TO_ZERO = str.maketrans("123456789", "000000000")


@frozen
class Folded:
    """Names that differ in nothing but numbers."""

    pattern: str
    """The names, with every run of numbers in braces."""
    names: tuple[str, ...]
    """The names themselves."""


def fold_names(names: Iterable[str]) -> tuple[Folded, ...]:
    """The names, those alike but for their numbers together, in the order of the first of each.

    Numbers are folded from the innermost outwards, so experts are folded within a layer before
    layers are. Only names that all numbers between them give are folded: nothing is made up.
    """
    groups: _Groups = {tuple(name.split(".")): (name,) for name in names}
    kinds = {name.translate(_DIGITS_TO_ZERO) for (name,) in groups.values()}
    levels = {
        level for kind in kinds for level, part in enumerate(kind.split(".")) if part.isdecimal()
    }
    for level in sorted(levels, reverse=True):
        groups = _fold_level(groups, level)
    return tuple(Folded(".".join(segments), found) for segments, found in groups.items())


def _fold_level(groups: _Groups, level: int) -> _Groups:
    """Fold the segment at one level wherever it is a number."""
    alike: dict[tuple[str, ...], list[tuple[str, ...]]] = {}
    for segments in groups:
        is_number = level < len(segments) and segments[level].isdecimal()
        key = (*segments[:level], "", *segments[level + 1 :]) if is_number else segments
        alike.setdefault(key, []).append(segments)
    folded: _Groups = {}
    for key, members in alike.items():
        pattern = members[0]
        if len(members) > 1:
            numbers = _ranges(sorted(int(segments[level]) for segments in members))
            pattern = (*key[:level], numbers, *key[level + 1 :])
        folded[pattern] = tuple(name for segments in members for name in groups[segments])
    return folded


def _ranges(numbers: Sequence[int]) -> str:
    """Rising numbers as `{0..3,7}`."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1][1:] = [number]
        else:
            runs.append([number])
    return "{" + ",".join("..".join(map(str, run)) for run in runs) + "}"
