"""Recipes and checkpoints to graph."""

from __future__ import annotations

from typing import TYPE_CHECKING

import xxhash
from attrs import evolve, frozen

from graphmerge.build.lift import Lifted, lift
from graphmerge.errors import InputError, Problem
from graphmerge.graph import Graph, Omission, Output, make_node, simplify, verify_graph
from graphmerge.methods.operations import KEEPING
from graphmerge.methods.registry import find_method, find_operation
from graphmerge.ops import Cast, LoadTensor
from graphmerge.recipe.values import ModelReference

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from graphmerge.build.matching import Models
    from graphmerge.build.models import Model, ModelTensor
    from graphmerge.recipe.values import Entry, Recipe, RecipeGraph, Scalar

SHOWN_NAMES = 3
"""Names that a note lists; the rest are counted."""


@frozen(eq=False)
class Build:
    """A graph with what the output's config needs to know."""

    graph: Graph
    """The graph."""
    model: Model
    """The model that it makes: config, donor of tokenizer and side files."""
    parameters: Mapping[str, Mapping[str, Scalar]]
    """Resolved parameters of every merged tensor; of a recipe with several entries by
    `ENTRY: TENSOR`."""


def build_graph(recipes: RecipeGraph, stored: Models, *, seed: int) -> Build:
    """The graph of the output of recipes that may be inputs of one another.

    Args:
        recipes: The recipes, inputs before users.
        stored: Every checkpoint that they refer to.
        seed: Seed of random masks.

    Raises:
        InputError: everything that is wrong with the parameters, slices and tensors of a recipe, at
        once.
    """
    models = dict(stored)
    made: dict[str, Lifted] = {}
    for entry in recipes.needed():
        made[entry.name] = lifted = _lift(entry, models, seed=seed)
        models[lifted.model.reference] = lifted.model
    final = made[recipes.output]
    names = {name: final.model.tensors[name] for name in final.names}
    graph = Graph(
        tuple(_outputs(names)),
        (),
        (*(text for lifted in made.values() for text in lifted.warnings), *_warnings(stored)),
    )
    graph = evolve(graph, omissions=tuple(_omissions(graph, stored, made.values())))
    verify_graph(graph)
    return Build(graph, final.model, _parameters(made))


def _lift(entry: Entry, models: Models, *, seed: int) -> Lifted:
    recipe, inputs = entry.recipe, {name: models[name] for name in entry.inputs()}
    method = find_operation if recipe.is_operation else find_method
    reference = ModelReference(entry.name or "the output")
    try:
        return lift(
            recipe,
            method(recipe.merge_method),
            inputs,
            seed=seed,
            reference=reference,
            key=derived_key(recipe, inputs),
        )
    except InputError as error:
        if not entry.name:
            raise
        raise InputError(*(_within(problem, entry.name) for problem in error.problems)) from None


def _within(problem: Problem, entry: str) -> Problem:
    """The problem with the entry of the recipe that it is in."""
    return evolve(problem, where=", ".join(filter(None, (f"entry {entry}", problem.where))))


def derived_key(recipe: Recipe, inputs: Models) -> str:
    """What says how a model is made: by which recipe from which inputs, whatever they are called.

    An operation that keeps entries in their places has the key of its first input, so that a mask
    for the task vector of a model is the same wherever it is drawn.
    """
    if recipe.is_operation and recipe.merge_method in KEEPING:
        return next(iter(inputs.values())).key
    text = repr(recipe)
    for reference, model in inputs.items():
        text = text.replace(repr(reference), model.key)
    return xxhash.xxh3_64_hexdigest(text.encode())


def _outputs(tensors: Mapping[str, ModelTensor]) -> Iterator[Output]:
    """Every tensor in its stored dtype, simplified."""
    final = {
        name: tensor.node
        if tensor.node.spec.dtype is tensor.stored
        else make_node(Cast(tensor.stored), tensor.node)
        for name, tensor in tensors.items()
    }
    simplified = simplify(final.values())
    for name, tensor in tensors.items():
        yield Output(name, simplified[final[name]], tensor.reason)


def _omissions(graph: Graph, stored: Models, made: Iterable[Lifted]) -> Iterator[Omission]:
    """Stored tensors that nothing in the graph loads."""
    loads = (node.op for node in graph.nodes() if isinstance(node.op, LoadTensor))
    used = {(op.model, op.entry.name) for op in loads}
    reasons = {
        (omission.model, omission.name): omission.reason
        for lifted in made
        for omission in lifted.omissions
    }
    for model in stored.values():
        for name in model.tensors:
            place = (model.label, name)
            if place not in used:
                yield Omission(*place, reasons.get(place, "nothing in the output depends on it"))


def _parameters(made: Mapping[str, Lifted]) -> dict[str, Mapping[str, Scalar]]:
    return {
        f"{entry}: {tensor}" if entry and len(made) > 1 else tensor: values
        for entry, lifted in made.items()
        for tensor, values in lifted.parameters.items()
    }


def _warnings(models: Models) -> tuple[str, ...]:
    notes = [
        f"{model.label}: {model.layout.note}" for model in models.values() if model.layout.note
    ]
    notes += [
        f"{model.label}: not part of the model and ignored: {_some(model.checkpoint.unlisted)}"
        for model in models.values()
        if model.checkpoint.unlisted
    ]
    return tuple(notes)


def _some(names: tuple[str, ...]) -> str:
    """The first few names, and how many there are beside."""
    rest = len(names) - SHOWN_NAMES
    return ", ".join(names[:SHOWN_NAMES]) + (f" and {rest} more" if rest > 0 else "")
