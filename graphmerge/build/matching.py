"""Which stored tensors each output tensor is made from, by the rules of slices and layers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property

from graphmerge.build.models import Model, in_module, stack_of
from graphmerge.checkpoint.layer_layout import (
    LayerLayout,
    LayerPosition,
    LayerStack,
    is_after_layers,
)
from graphmerge.checkpoint.names import split_block
from graphmerge.frozen_classes import frozen
from graphmerge.recipe.lookup import layer_fraction
from graphmerge.recipe.values import ModelReference, Module, Slice, Source

Models = Mapping[ModelReference, Model]


@frozen(eq=False)
class Place:
    """The part of a recipe that output tensors belong to."""

    module: Module
    """The module."""
    part: Slice
    """The slice."""
    sources: tuple[Source, ...]
    """What the recipe says of the models that take part, in recipe order; an unlisted base first,
    without parameters."""
    models: tuple[Model, ...]
    """The models, in the same order."""
    statistics: tuple[Model | None, ...]
    """What there is of statistics of each model, in the same order."""
    base: ModelReference | None
    """Base model that holds here."""

    @cached_property
    def has_own_files(self) -> bool:
        """Whether no two of its models, or of their statistics, can read the same stored tensor."""
        read = (*self.models, *(given for given in self.statistics if given is not None))
        return all(model.is_stored for model in read) and len(set(read)) == len(read)


@frozen(eq=False)
class Match:
    """One output tensor and the tensors it is made from; whether they exist is not yet known."""

    name: str
    """Name in the output."""
    place: Place
    """Part of the recipe it belongs to."""
    names: tuple[str, ...]
    """Name in each of the models."""
    fraction: float
    """Place on gradients, 0 to 1."""
    layer: tuple[int | None, int] = (None, 0)
    """Number of the layer within its slice or model, None outside the layers, and how many."""
    moved: tuple[int, int] | None = None
    """Number of the layer in its model and in the output, for stacked layers."""


def match_tensors(module: Module, models: Models, base: ModelReference | None) -> Iterator[Match]:
    """Every output tensor of a module: before the layers, in them, after them."""
    if module.is_whole_model:
        yield from _match_whole(module, models, base)
    else:
        yield from _match_slices(module, models, base)


def listed_sources(module: Module, part: Slice, base: ModelReference | None) -> tuple[Source, ...]:
    """The sources of a slice; a base that `models:` does not list is an extra first one."""
    if module.is_whole_model and base and all(source.model != base for source in part.sources):
        return (Source(base), *part.sources)
    return part.sources


def donor_of(part: Slice, base: ModelReference | None) -> Source:
    """The source whose tensor names a slice takes: the base if it takes part, else the first."""
    return next((source for source in part.sources if source.model == base), part.sources[0])


def _place(
    module: Module,
    part: Slice,
    sources: tuple[Source, ...],
    models: Models,
    base: ModelReference | None,
) -> Place:
    given = tuple(models[source.model] for source in sources)
    statistics = tuple(
        models[source.statistics] if source.statistics else None for source in sources
    )
    return Place(module, part, sources, given, statistics, base)


def _match_whole(module: Module, models: Models, base: ModelReference | None) -> Iterator[Match]:
    (part,) = module.slices
    holding_base = part.base_model or base
    sources = listed_sources(module, part, holding_base)
    place = _place(module, part, sources, models, holding_base)
    donor = models[holding_base or sources[0].model]
    untied = [head for head in donor.untied_by(place.models) if in_module(head, module.name)]
    ordered = _in_model_order(donor, module.name)
    for name, position in [*ordered, *((head, None) for head in untied)]:
        index, count = (position.index, position.stack.count) if position else (None, 0)
        names = (name,) * len(sources)
        yield Match(name, place, names, layer_fraction(index, count), (index, count))


def _in_model_order(model: Model, module: str | None) -> list[tuple[str, LayerPosition | None]]:
    """Tensors of a model (of one module of it): before the layers, the layers, after them."""
    before: list[tuple[str, LayerPosition | None]] = []
    layers: list[tuple[str, LayerPosition | None]] = []
    after: list[tuple[str, LayerPosition | None]] = []
    layout = model.layout_in(module)
    for name, block in zip(model.names.names, model.names.blocks, strict=True):
        if not in_module(name, module):
            continue
        position = layout.locate_block(block)
        if position:
            layers.append((name, position))
        else:
            (after if is_after_layers(name, layout) else before).append((name, None))
    return before + layers + after


def _match_slices(module: Module, models: Models, base: ModelReference | None) -> Iterator[Match]:
    yield from _match_ends(module, module.slices[0], models, base, after=False)
    start = 0
    for part in module.slices:
        yield from _match_layers(module, part, models, base, start)
        start += slice_length(part)
    yield from _match_ends(module, module.slices[-1], models, base, after=True)


def slice_length(part: Slice) -> int:
    """Number of layers that a slice gives."""
    assert part.sources[0].layer_range is not None, "the parser requires layer ranges in slices"
    start, end = part.sources[0].layer_range
    return end - start


def _match_ends(
    module: Module, part: Slice, models: Models, base: ModelReference | None, *, after: bool
) -> Iterator[Match]:
    """Tensors outside the layers, from the first slice (before) or the last (after)."""
    holding_base = part.base_model or base
    donor = models[donor_of(part, holding_base).model]
    place = _place(module, part, part.sources, models, holding_base)
    layout, stack = donor.layout_in(module.name), _required_stack(donor, module)
    for name in (*donor.tensors, *(donor.untied_by(models.values()) if after else ())):
        outside = layout.locate(name) is None and is_after_layers(name, layout) is after
        if outside and in_module(name, module.name):
            names = (name,) * len(part.sources)
            yield Match(_beyond(name, stack, module), place, names, fraction=0.0)


def _beyond(name: str, stack: LayerStack, module: Module) -> str:
    """The name of what follows the layers: layers that predict further tokens count on."""
    parts = split_block(name)
    if parts is None or parts[0] != stack.prefix:
        return name
    prefix, index, suffix = parts
    return f"{prefix}{index - stack.count + sum(map(slice_length, module.slices))}.{suffix}"


def _match_layers(
    module: Module, part: Slice, models: Models, base: ModelReference | None, output_start: int
) -> Iterator[Match]:
    """The layers of one slice, numbered from `output_start` in the output."""
    holding_base = part.base_model or base
    donor = donor_of(part, holding_base)
    place = _place(module, part, part.sources, models, holding_base)
    length = slice_length(part)
    stacks = {
        source.model: _required_stack(models[source.model], module) for source in part.sources
    }
    suffixes = _suffixes(models[donor.model], stacks[donor.model])
    for offset in range(length):
        first, _ = donor.layer_range or (0, 0)
        moved = (first + offset, output_start + offset)
        for suffix in suffixes.get(first + offset, ()):
            names = tuple(_layer_name(source, stacks, offset, suffix) for source in part.sources)
            name = f"{stacks[donor.model].prefix}{moved[1]}.{suffix}"
            fraction = layer_fraction(offset, length)
            yield Match(name, place, names, fraction, (offset, length), moved)


def _layer_name(
    source: Source, stacks: Mapping[ModelReference, LayerStack], offset: int, suffix: str
) -> str:
    start, _ = source.layer_range or (0, 0)
    return f"{stacks[source.model].prefix}{start + offset}.{suffix}"


def _required_stack(model: Model, module: Module) -> LayerStack:
    stack = stack_of(model, module.name)
    assert stack is not None, "slices are checked against the layers before they are matched"
    return stack


def _suffixes(model: Model, stack: LayerStack) -> Mapping[int, list[str]]:
    """What follows the layer number in the names of each layer."""
    found: dict[int, list[str]] = {}
    layout = LayerLayout((stack,))
    for name in model.tensors:
        position = layout.locate(name)
        if position:
            found.setdefault(position.index, []).append(position.suffix)
    return found


def used_names(matches: Iterable[Match]) -> dict[Model, set[str]]:
    """The names that each model, and each checkpoint of statistics, gives to the merge."""
    together: dict[Place, list[tuple[str, ...]]] = {}
    for match in matches:
        together.setdefault(match.place, []).append(match.names)
    used: dict[Model, set[str]] = {}
    for place, names in together.items():
        for column, own in enumerate(zip(*names, strict=True)):
            for given in (place.models[column], place.statistics[column]):
                if given is not None:
                    used.setdefault(given, set()).update(own)
    return used
