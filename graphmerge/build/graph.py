"""Recipes and checkpoints to graph."""

from __future__ import annotations

import re
from collections import Counter
from itertools import chain
from typing import TYPE_CHECKING

from attrs import evolve

from graphmerge.build.checks import refuse_records
from graphmerge.build.derived_key import derived_key
from graphmerge.build.filters import idle_filters
from graphmerge.build.integers import rounded_integers, rounded_weights
from graphmerge.build.lift import NO_SUCH_TENSOR, UNLISTED, Lifted, common_kind, lift
from graphmerge.build.vocabularies import align
from graphmerge.build.wording import they_are
from graphmerge.checkpoint.texts import text_bytes
from graphmerge.errors import InputError, Problem, RecipeError, some
from graphmerge.frozen_classes import frozen
from graphmerge.graph import (
    Graph,
    Node,
    Omission,
    Output,
    Pattern,
    Value,
    expanded_where_needed,
    make_node,
    pruned,
    simplify,
    verify_graph,
)
from graphmerge.methods.registry import find_method, find_operation, parameter_names
from graphmerge.ops.arithmetic import in_dtype
from graphmerge.ops.sources import LoadTensor, StackLayer
from graphmerge.recipe.check import check_parameters
from graphmerge.recipe.values import ModelReference

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Set

    from graphmerge.build.matching import Models
    from graphmerge.build.models import Model, ModelTensor
    from graphmerge.graph import Op
    from graphmerge.methods.base import Method
    from graphmerge.recipe.values import Entry, Recipe, RecipeGraph, Scalar
    from graphmerge.spec import DType

_WITHOUT_PLACE = {NO_SUCH_TENSOR: f"as {NO_SUCH_TENSOR}", UNLISTED: f"being {UNLISTED}"}
"""Reasons for which the output has no place for a tensor, and how a warning tells them."""


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
        InputError: everything that is wrong with the parameters, slices and tensors of the recipes,
        at once.
    """
    made = _lift_all(recipes.needed(), stored, seed=seed)
    final = made[recipes.output]
    tensors = {name: final.model.tensors[name] for name in final.names}
    statistics = recipes.statistics()
    merged = {name: model for name, model in stored.items() if name not in statistics}
    idle = (*_unused(recipes), *_idle_templates(recipes))
    warnings = (*_of_entries(made, "warnings"), *idle, *_warnings(merged))
    notes = tuple(_of_entries(made, "notes"))
    reading = sum(lifted.reading_bytes for lifted in made.values())
    reading += text_bytes(model.checkpoint for model in stored.values())
    outputs = tuple(_outputs(tensors))
    omissions = tuple(_omissions(Graph(outputs).sources(), stored, made.values()))
    rounded = (*rounded_integers(tensors), *rounded_weights(tensors))
    warnings = (*warnings, *rounded, *_without_place(omissions))
    graph = expanded_where_needed(Graph(outputs, omissions, warnings, notes, reading))
    verify_graph(graph)
    return Build(graph, final.model, _parameters(made))


def _lift_all(entries: Iterable[Entry], stored: Models, *, seed: int) -> dict[str, Lifted]:
    """What every entry makes; of one whose inputs are wrong the parameters are checked."""
    models = dict(stored)
    made: dict[str, Lifted] = {}
    errors: list[InputError] = []
    for entry in entries:
        try:
            if any(reference not in models for reference in entry.references()):
                _require_right_parameters(entry)
            else:
                made[entry.name] = lifted = _lift(entry, models, seed=seed)
                models[lifted.model.reference] = lifted.model
        except InputError as error:  # noqa: PERF203 - problems of all entries are told at once
            located = (_within(problem, entry) for problem in error.problems)
            errors.append(type(error)(*located))
    if errors:
        kind = common_kind([type(error) for error in errors])
        raise kind(*(problem for error in errors for problem in error.problems))
    return made


def _lift(entry: Entry, models: Models, *, seed: int) -> Lifted:
    lifted = lift_entry(entry, models, seed=seed)
    inputs = (models[reference] for reference in entry.inputs())
    names = chain(*(model.tensors for model in inputs), lifted.names)
    return evolve(lifted, warnings=(*lifted.warnings, *idle_filters(entry.recipe, names)))


def lift_entry(entry: Entry, models: Models, *, seed: int) -> Lifted:
    """What a recipe makes of models whose vocabularies may differ.

    Args:
        entry: The recipe, and what its result is called.
        models: Every model that it refers to, its `tokenizer:` section included.
        seed: Seed of random masks.

    Raises:
        InputError: a model is none; or else everything that is wrong with the vocabularies; or else
            with the parameters, slices and tensors.
        MachineError: a tokenizer file cannot be read.
    """
    recipe, inputs = entry.recipe, {name: models[name] for name in entry.inputs()}
    refuse_records(recipe, models)
    aligned = align(recipe, {name: models[name] for name in entry.models()}, models)
    lifted = lift(
        recipe,
        _method(recipe),
        {**inputs, **aligned.models},
        seed=seed,
        reference=ModelReference(entry.name or "the output"),
        key=derived_key(recipe, {name: models[name] for name in entry.references()}),
    )
    return evolve(
        lifted,
        model=evolve(lifted.model, tokenizer=aligned.tokenizer),
        notes=aligned.notes,
        reading_bytes=aligned.reading_bytes,
    )


def _require_right_parameters(entry: Entry) -> None:
    problems = _parameter_problems(entry)
    if problems:
        raise RecipeError(*problems)


def parameter_problems(entry: Entry) -> tuple[Problem, ...]:
    """Everything wrong with the parameters of an entry, whose method is a known one."""
    return tuple(_within(problem, entry) for problem in _parameter_problems(entry))


def _parameter_problems(entry: Entry) -> tuple[Problem, ...]:
    signature = _method(entry.recipe).signature
    return check_parameters(entry.recipe, signature, all_names=parameter_names).problems


def _method(recipe: Recipe) -> Method:
    find = find_operation if recipe.is_operation else find_method
    return find(recipe.merge_method)


_PLACES_IN_OPERATIONS = (
    (re.compile(r"\$\.models\[(\d+)\]\.parameters\.weight\b"), r"$.weights[\1]"),
    (re.compile(r"\$\.parameters\.other\b"), "$.tensors"),
    (re.compile(r"\$\.parameters\."), "$."),
    (re.compile(r"\$\.models\b"), "$.inputs"),
)
"""Where a recipe has what an operation has elsewhere."""


def _within(problem: Problem, entry: Entry) -> Problem:
    """The problem with the entry of the recipe that it is in."""
    if not entry.name:
        return problem
    where = problem.where
    for place, in_operation in _PLACES_IN_OPERATIONS if entry.recipe.is_operation else ():
        where = place.sub(in_operation, where)
    return evolve(problem, where=", ".join(filter(None, (f"entry {entry.name}", where))))


def _outputs(tensors: Mapping[str, ModelTensor]) -> Iterator[Output]:
    """Every tensor in its stored dtype, simplified; worked out once for each pattern."""
    kinds = {(tensor.pattern, tensor.stored): None for tensor in tensors.values()}
    roots = {kind: _cast(kind[0].root, kind[1]) for kind in kinds}
    simplified = simplify(roots.values())
    finished = {
        kind: pruned(Pattern(simplified[root], kind[0].leaves, kind[0].tensors))
        for kind, root in roots.items()
    }
    for name, tensor in tensors.items():
        pattern, chosen = finished[tensor.pattern, tensor.stored]
        leaves = tensor.leaves
        if len(chosen) < len(leaves):
            leaves = tuple([leaves[index] for index in chosen])
        yield Output(name, Value(pattern, leaves, tensor.tensors), tensor.reason)


def _cast(node: Node, dtype: DType) -> Node:
    """The node in another dtype; cast below the layer's place, so that copies of it share work."""
    if isinstance(node.op, StackLayer):
        return make_node(node.op, _cast(node.inputs[0], dtype))
    return in_dtype(dtype, node)


def _omissions(used: Set[Op], stored: Models, made: Iterable[Lifted]) -> Iterator[Omission]:
    """Stored tensors that are not used."""
    loaded = Counter([op.model for op in used if isinstance(op, LoadTensor)])
    reasons = {
        (omission.model, omission.name): omission.reason
        for lifted in made
        for omission in lifted.omissions
    }
    for model in stored.values():
        leaves = [tensor.leaves for tensor in model.tensors.values()]
        if all(leaves) and loaded[model.label] == sum(map(len, leaves)):
            continue  # all of them
        for name, tensor in model.tensors.items():
            place = (model.label, name)
            if used.isdisjoint(tensor.leaves or tensor.pattern.fixed):
                yield Omission(*place, reasons.get(place, "nothing in the output depends on it"))


def _without_place(omissions: Iterable[Omission]) -> Iterator[str]:
    """Tensors for which the output has no place: biases that only one model has, say."""
    names: dict[tuple[str, str], list[str]] = {}
    for omission in omissions:
        if omission.reason in _WITHOUT_PLACE:
            names.setdefault((omission.model, omission.reason), []).append(omission.name)
    for (model, reason), own in names.items():
        count = they_are(own, "tensor")
        yield f"{model}: {count} left out, {_WITHOUT_PLACE[reason]}: {some(own)}"


def _parameters(made: Mapping[str, Lifted]) -> dict[str, Mapping[str, Scalar]]:
    return {
        f"{entry}: {tensor}" if entry and len(made) > 1 else tensor: values
        for entry, lifted in made.items()
        for tensor, values in lifted.parameters.items()
    }


def _of_entries(made: Mapping[str, Lifted], kind: str) -> Iterator[str]:
    """The warnings or notes of all entries, each with the entry that it is about."""
    for entry, lifted in made.items():
        yield from (f"entry {entry}: {text}" if entry else text for text in getattr(lifted, kind))


def _unused(recipes: RecipeGraph) -> Iterator[str]:
    """The entries that the output does not need."""
    needed = {entry.name for entry in recipes.needed()}
    unused = tuple(entry.name for entry in recipes.entries if entry.name not in needed)
    if unused:
        what = "entries are" if len(unused) > 1 else "entry is"
        yield f"{len(unused)} {what} left out, as the output does not need them: {some(unused)}"


def _idle_templates(recipes: RecipeGraph) -> Iterator[str]:
    """The entries whose chat template the output does not get."""
    for entry in recipes.needed():
        if entry.recipe.chat_template is not None and entry is not recipes.template_entry:
            what = "chat_template has no effect: the output has another one"
            yield f"entry {entry.name}: {what} (move it to the output, or leave it out)"


def _warnings(models: Models) -> tuple[str, ...]:
    notes = [
        f"{model.label}: {model.layout.note}" for model in models.values() if model.layout.note
    ]
    notes += [
        f"{model.label}: not part of the model and ignored: {some(model.checkpoint.unlisted)}"
        for model in models.values()
        if model.checkpoint.unlisted
    ]
    notes += [
        f"{model.label}: {note}" for model in models.values() for note in model.checkpoint.notes
    ]
    return tuple(notes)
