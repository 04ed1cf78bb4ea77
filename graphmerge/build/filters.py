"""Find filters of a recipe that choose nothing: most are typing errors."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graphmerge.recipe.suggestions import suggest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from graphmerge.recipe.values import ParameterValue, Recipe


def idle_filters(recipe: Recipe, names: Iterable[str]) -> Iterator[str]:
    """A warning for every filter that is contained in none of these tensor names."""
    found: dict[str, str] = {}
    for scope in _scopes(recipe):
        for parameter, candidates in scope.items():
            for candidate in candidates:
                if candidate.filter is not None:
                    found.setdefault(candidate.filter, parameter)
    known = tuple(names) if found else ()
    for part, parameter in found.items():
        if not any(part in name for name in known):
            hint = suggest(part, _parts(known, part.count(".") + 1))
            what = f"filter {part!r} of {parameter!r} is in no tensor's name"
            yield f"{what} ({hint})" if hint else what


def _parts(names: Iterable[str], count: int) -> set[str]:
    """Stretches of so many parts of names."""
    split = (name.split(".") for name in names)
    return {
        ".".join(parts[start : start + count])
        for parts in split
        for start in range(len(parts) - count + 1)
    }


def _scopes(recipe: Recipe) -> Iterator[Mapping[str, ParameterValue]]:
    yield recipe.parameters
    for module in recipe.modules:
        yield module.parameters
        for part in module.slices:
            yield part.parameters
            for source in part.sources:
                yield source.parameters
