"""README.md of the output: what the Hub shows, and how the model was made."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attrs import field

from graphmerge.frozen_classes import frozen
from graphmerge.output.card_parts import (
    block,
    front_matter,
    licence_section,
    table,
    use_section,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from graphmerge.output.card_parts import CardPart
    from graphmerge.output.contributions import Contribution


@frozen
class CardLayers:
    """A stretch of the output's layers."""

    layers: str
    """Their numbers: `0 to 23`."""
    made_from: Sequence[tuple[str, str]]
    """Each model as messages name it, with the numbers of its layers."""


@frozen
class CardStep:
    """One recipe of those that were merged: the whole, or an entry of a graph."""

    name: str
    """Name of the entry; empty for a recipe that stands alone."""
    method: str
    """Name of the method."""
    summary: str
    """What the method does, in one sentence."""
    base: str = ""
    """The base model as messages name it, if there is one."""
    contributions: Sequence[Contribution] = ()
    """What each model is given, and the method itself."""
    layers: Sequence[CardLayers] = ()
    """What the layers of the output are made from; empty without slices."""


@frozen(kw_only=True)
class Card:
    """Everything that a model card says."""

    title: str
    """Name of the output."""
    models: Mapping[str, tuple[CardPart, ...]] = field(hash=False)
    """The inputs in recipe order, as messages name them: a checkpoint, and maybe its adapter."""
    steps: tuple[CardStep, ...]
    """The recipes, inputs before users."""
    recipe_text: str
    """The recipe as it was read."""
    library: str
    """The library that loads the output; empty for a record."""
    use: str
    """Python code that loads the output; empty if that is not known."""
    record: str = ""
    """What the output is instead of a model; empty for a model."""


def model_card(card: Card) -> str:
    """The text of README.md, with the front matter that the Hub reads."""
    parts = list(_parts(card))
    lines: Iterable[str] = (
        *front_matter(_facts(card, parts), parts),
        f"# {card.title}",
        "",
        *_what_it_is(card),
        "## Models",
        "",
        *(f"- {_model(own)}" for own in card.models.values()),
        "",
        *_contributions(card),
        *licence_section(parts),
        "## Recipe",
        "",
        *block("yaml", card.recipe_text),
    )
    return "\n".join(lines)


def _facts(card: Card, parts: Iterable[CardPart]) -> dict[str, Any]:
    """What the Hub is told, but for the licence."""
    hub_ids = list(dict.fromkeys(part.name for part in parts if part.is_hub))
    base = {"base_model": hub_ids, "base_model_relation": "merge"} if hub_ids else {}
    if card.record:
        return {"tags": ["graphmerge"]}
    return base | {"library_name": card.library, "tags": ["merge", "graphmerge"]}


def _parts(card: Card) -> Iterator[CardPart]:
    """Every checkpoint and adapter, each once."""
    yield from dict.fromkeys(part for parts in card.models.values() for part in parts)


def _methods(card: Card) -> str:
    names = dict.fromkeys(step.method for step in card.steps)
    noun = "method" if len(names) == 1 else "methods"
    return f"the {noun} {', '.join(f'`{name}`' for name in names)}"


def _what_it_is(card: Card) -> Iterator[str]:
    """What was made, and how it is used."""
    how = f"made with graphmerge by {_methods(card)}."
    if card.record:
        yield from (f"This is no model that can be loaded. It was {how}", "")
        yield from (f"It has {card.record}.", "")
        return
    yield from (f"A merge of pre-trained models, {how}", "")
    yield from use_section(card.title, card.library, card.use)


def _model(parts: Sequence[CardPart]) -> str:
    return " with the adapter ".join(part.text for part in parts)


def _contributions(card: Card) -> Iterator[str]:
    yield from ("## What each model contributes", "")
    yield (
        "From the recipe's parameters as they were resolved for every tensor, not from the weights "
        "themselves. Where layers differ, the least and the greatest value are given, that of the "
        "earlier layer first. A share is a model's part in the sum of the weights."
    )
    yield ""
    for step in card.steps:
        yield from _step(card, step)


def _step(card: Card, step: CardStep) -> Iterator[str]:
    if step.name:
        yield from (f"### {step.name}", "")
    yield from (f"`{step.method}`: {step.summary}", "")
    own = [found for found in step.contributions if not found.model]
    of_models = [found for found in step.contributions if found.model]
    for found in own:
        values = ", ".join(f"{name} {value}" for name, value in found.values.items())
        tensors = "" if found.tensors == "all" else f" ({found.tensors})"
        yield f"- {values}{tensors}"
    if own:
        yield ""
    if step.base and step.base not in {found.model for found in of_models}:
        yield from (f"The base is {_named(card, step.base)}.", "")
    if of_models:
        yield from _shares(card, of_models)
    elif not step.layers:
        yield from ("No model has weights here: what each gives depends on its tensors.", "")
    if step.layers:
        yield from _layers(card, step.layers)


def _shares(card: Card, found: Sequence[Contribution]) -> Iterator[str]:
    columns = tuple(dict.fromkeys(key for row in found for key in row.values))
    rows = [
        (_named(card, row.model), row.tensors, *(row.values.get(key, "") for key in columns))
        for row in found
    ]
    yield from table(("model", "tensors", *columns), rows)


def _layers(card: Card, stretches: Sequence[CardLayers]) -> Iterator[str]:
    rows = [
        (one.layers, ", ".join(f"{_named(card, model)}: {at}" for model, at in one.made_from))
        for one in stretches
    ]
    yield from table(("layers", "made from layers"), rows)


def _named(card: Card, label: str) -> str:
    """What the card calls a model: its parts; an entry of the recipe keeps its name."""
    name, _, again = label.rpartition("#")
    if label not in card.models and name in card.models:
        return f"{_model(card.models[name])} ({again})"
    return _model(card.models[label]) if label in card.models else f"`{label}`"
