"""What of a tensor decides its parameters: tensors that agree in that have the same ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graphmerge.frozen_classes import frozen
from graphmerge.recipe.values import PerTensor

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator

    from graphmerge.build.matching import Match, Place
    from graphmerge.recipe.values import Conditional, Recipe


@frozen
class Dependence:
    """What the parameters in one place of a recipe depend on."""

    filters: tuple[str, ...]
    """Parts of tensor names that choose values."""
    has_gradients: bool
    """Whether values change over the layers."""
    has_functions: bool
    """Whether values are functions of the tensor's name."""

    def of(self, match: Match) -> Hashable:
        """What decides the parameters of a match."""
        if self.has_functions:
            return (match.name, match.names, match.fraction, match.layer)
        fraction = match.fraction if self.has_gradients else 0.0
        if not self.filters:
            return fraction
        names = (match.name, *match.names)
        return (fraction, *(part in name for name in names for part in self.filters))


def dependence_of(recipe: Recipe, place: Place) -> Dependence:
    """What the parameters of the tensors of a place depend on."""
    candidates = list(_candidates(recipe, place))
    filters = {candidate.filter: None for candidate in candidates if candidate.filter is not None}
    return Dependence(
        tuple(filters),
        any(isinstance(candidate.value, tuple) for candidate in candidates),
        any(isinstance(candidate.value, PerTensor) for candidate in candidates),
    )


def _candidates(recipe: Recipe, place: Place) -> Iterator[Conditional]:
    sources = (source.parameters for source in place.sources)
    for scope in (recipe.parameters, place.module.parameters, place.part.parameters, *sources):
        for value in scope.values():
            yield from value
