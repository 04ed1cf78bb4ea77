"""From a recipe's text to its graph: everything that can be known without reading a weight."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import evolve

from graphmerge.build.adapters import adapted_model
from graphmerge.build.chat_template import choose_template
from graphmerge.build.graph import Build, build_graph, parameter_problems
from graphmerge.build.lift import common_kind
from graphmerge.build.models import Model, open_model
from graphmerge.checkpoint.adapter import is_adapter
from graphmerge.checkpoint.adapter_config import ADAPTER_CONFIG
from graphmerge.checkpoint.fingerprint import fingerprint
from graphmerge.checkpoint.stamps import require_unchanged
from graphmerge.collection import paused_collection
from graphmerge.errors import GraphmergeError, InputError, MachineError, Problem, RecipeError
from graphmerge.frozen_classes import frozen
from graphmerge.hub_files import fetch_vocabularies
from graphmerge.places import PLANNING, Place, find_place
from graphmerge.plugins.discovery import require_method_of
from graphmerge.recipe.cursor import Cursor
from graphmerge.recipe.graph_section import load_recipe_graph, with_cropped_embeddings
from graphmerge.recipe.tokenizer import read_chat_template
from graphmerge.recipe.values import ModelReference

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from graphmerge.checkpoint.adapter import Adapter
    from graphmerge.places import HubUse
    from graphmerge.recipe.values import Entry, RecipeGraph


@frozen(eq=False)
class Compiled:
    """A recipe with everything that headers and methods say about it."""

    recipe: RecipeGraph
    """The recipe, or the recipes that are inputs of one another."""
    models: Mapping[ModelReference, Model]
    """The checkpoints."""
    build: Build
    """The graph, and what the output's config needs."""
    seed: int
    """Seed of random masks."""
    chat_template: str = ""
    """Chat template that the recipe gives the output; empty if that of the donor stays."""

    def fingerprints(self) -> dict[str, str]:
        """Fingerprint of every model's files, by label.

        Raises:
            MachineError: a file cannot be read.
        """
        return {
            model.label: "+".join(fingerprint(part) for part in model.files)
            for model in self.models.values()
        }

    def require_unchanged(self) -> None:
        """Check that the weights of all models are still those whose headers were read.

        Raises:
            CheckpointError: files have changed.
            MachineError: a file cannot be found.
        """
        require_unchanged(part for model in self.models.values() for part in model.files)

    def commits(self) -> dict[str, str]:
        """Commit of every model of the Hub, by `organisation/name@revision`."""
        parts = (part for model in self.models.values() for part in model.files)
        origins = [part.origin for part in parts if part.origin]
        return {f"{one.repository}@{one.revision}": one.commit for one in origins}


def compile_recipe(
    path: Path, *, seed: int = 0, crop_embeddings: bool = False, hub: HubUse = PLANNING
) -> Compiled:
    """Read a recipe and the headers of its models, and build the graph.

    Args:
        path: The file.
        seed: Seed of random masks.
        crop_embeddings: Have `embeddings: crop` where the recipe says nothing of vocabularies.
        hub: How models of the Hub are opened.

    Raises:
        InputError: everything that is wrong with the recipe or its models.
        MachineError: a file cannot be read, or the Hub cannot be reached.
    """
    recipe = load_recipe_graph(path)
    if crop_embeddings:
        recipe = with_cropped_embeddings(recipe)
    return compile_graph(
        recipe, lambda reference: open_stored(reference, path.parent, hub=hub), seed=seed
    )


@paused_collection()
def compile_graph(
    recipe: RecipeGraph, open_one: Callable[[ModelReference], Model], *, seed: int = 0
) -> Compiled:
    """Build the graph of a recipe.

    Args:
        recipe: The recipe.
        open_one: Gives each checkpoint that the recipe needs.
        seed: Seed of random masks.

    Raises:
        InputError: everything that is wrong with the recipe or its models.
        MachineError: a file cannot be read.
    """
    models = _opened(recipe, open_one)
    fetch_vocabularies(recipe, models.values())
    build = build_graph(recipe, models, seed=seed)
    return _with_template(Compiled(recipe, models, build, seed), recipe.chat_template)


def _opened(
    recipe: RecipeGraph, open_one: Callable[[ModelReference], Model]
) -> dict[ModelReference, Model]:
    """Every checkpoint of a recipe; where one is missing, mistakes in parameters are told too."""
    models: dict[ModelReference, Model] = {}
    errors: list[GraphmergeError] = []
    for reference in recipe.stored():
        try:
            models[reference] = open_one(reference)
        except GraphmergeError as error:  # noqa: PERF203 - all that are missing are told at once
            errors.append(error)
            if isinstance(error, MachineError):
                break  # a Hub that cannot be reached is not asked again
    unknown = {entry: _unknown(entry) for entry in recipe.needed()}
    if errors or any(unknown.values()):
        wrong = [own for entry in unknown for own in unknown[entry] or parameter_problems(entry)]
        errors += [RecipeError(*wrong)] if wrong else []
        problems = (problem for error in errors for problem in error.problems)
        raise common_kind([type(error) for error in errors])(*dict.fromkeys(problems))
    return models


def with_chat_template(compiled: Compiled, wanted: str) -> Compiled:
    """The same merge, whose output gets another chat template; the text of the recipe stays.

    Raises:
        InputError: it is no chat template.
    """
    place = Cursor(wanted, path="chat_template")
    read_chat_template(place)
    if place.problems:
        raise RecipeError(*place.problems)
    return _with_template(
        evolve(compiled, recipe=compiled.recipe.with_chat_template(wanted)), wanted
    )


def _with_template(compiled: Compiled, wanted: str | None) -> Compiled:
    """The merge with the chat template that it asks for."""
    if wanted is None:
        return compiled
    build = compiled.build
    chosen = choose_template(wanted, compiled.models.values(), build.model)
    graph = evolve(
        build.graph,
        notes=(*build.graph.notes, *chosen.notes),
        warnings=(*build.graph.warnings, *chosen.warnings),
        reading_bytes=build.graph.reading_bytes + chosen.reading_bytes,
    )
    return evolve(compiled, build=evolve(build, graph=graph), chat_template=chosen.text)


def _unknown(entry: Entry) -> tuple[Problem, ...]:
    """What is wrong with the name of the entry's method or operation."""
    try:
        require_method_of(entry.recipe)
    except RecipeError as error:
        within = f"entry {entry.name}, " if entry.name else ""
        return tuple(evolve(p, where=f"{within}{p.where}") for p in error.problems)
    return ()


def open_stored(
    reference: ModelReference,
    folder: Path,
    *,
    absolute: bool = False,
    hub: HubUse = PLANNING,
) -> Model:
    """A checkpoint, with its adapter if the reference names one or is one, by their headers.

    Args:
        reference: As recipes have it.
        folder: Where relative paths may start, beside the working directory.
        absolute: Keep absolute paths, to find the files again from any working directory.
        hub: How models of the Hub are opened.

    Raises:
        InputError: there is none, or it is not what it should be.
        MachineError: a file cannot be read, or the Hub cannot be reached.
    """

    def find(part: ModelReference) -> Place:
        place = find_place(part, folder, hub)
        return evolve(place, path=place.path.absolute()) if absolute else place

    place = find(reference)
    if reference.lora is None and not is_adapter(place.path):
        return open_model(reference, place.checkpoint())
    adapter = (place if reference.lora is None else find(reference.lora)).adapter()
    if reference.lora is None:
        place = _base_of(reference, adapter, find)
    return adapted_model(reference, place.checkpoint(), adapter)


def _base_of(
    reference: ModelReference, adapter: Adapter, find: Callable[[ModelReference], Place]
) -> Place:
    """Where the base model of an adapter is that stands alone, by what its config says."""
    base = adapter.config.base
    try:
        return find(ModelReference(base, adapter.config.revision))
    except InputError as error:
        what = "the base model of the adapter is not found"
        hint = f"write BASE+{reference} with the path of its base model for BASE"
        where = str(adapter.checkpoint.path / ADAPTER_CONFIG)
        got = f"base_model_name_or_path {base!r}"
        raise InputError(Problem(what, where, got, hint=hint)) from error
