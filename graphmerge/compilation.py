"""From a recipe's text to its graph: everything that can be known without reading a weight."""

from __future__ import annotations

from typing import TYPE_CHECKING

import xxhash
from attrs import frozen

from graphmerge.build.graph import Build, build_graph
from graphmerge.build.models import Model, open_model, references
from graphmerge.checkpoint.fingerprint import fingerprint
from graphmerge.checkpoint.reading import read_checkpoint
from graphmerge.collection import paused_collection
from graphmerge.errors import InputError, Problem
from graphmerge.methods.registry import find_method
from graphmerge.recipe.parse import load_recipe
from graphmerge.recipe.references import resolve_local

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from graphmerge.methods.base import Method
    from graphmerge.recipe.values import ModelReference, Recipe


@frozen(eq=False)
class Compiled:
    """A recipe with everything that headers and methods say about it."""

    recipe: Recipe
    """The recipe."""
    method: Method
    """Its method."""
    models: Mapping[ModelReference, Model]
    """The models."""
    build: Build
    """The graph, and what the output's config needs."""
    seed: int
    """Seed of random masks."""

    def fingerprints(self) -> dict[str, str]:
        """Fingerprint of every model's files, by label.

        Raises:
            MachineError: a file cannot be read.
        """
        return {model.label: fingerprint(model.checkpoint) for model in self.models.values()}


@paused_collection()
def compile_recipe(path: Path, *, seed: int = 0) -> Compiled:
    """Read a recipe and the headers of its models, and build the graph.

    Raises:
        InputError: everything that is wrong with the recipe or its models.
        MachineError: a file cannot be read.
    """
    recipe = load_recipe(path)
    method = find_method(recipe.merge_method)
    models = {
        reference: open_model(reference, read_checkpoint(_local(reference, path.parent)))
        for reference in references(recipe)
    }
    _refuse_unsupported(recipe, models)
    return Compiled(recipe, method, models, build_graph(recipe, method, models, seed=seed), seed)


def _local(reference: ModelReference, recipe_folder: Path) -> Path:
    if reference.lora is not None:
        what = "adapters (LoRA) are not supported yet"
        raise InputError(
            Problem(what, str(reference), hint="merge the adapter into its model first")
        )
    path = resolve_local(reference, recipe_folder)
    if path is None:
        hint = "models from the Hub are not supported yet: download it and give the path"
        raise InputError(Problem("no such local folder", str(reference), hint=hint))
    return path


_TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json", "merges.txt", "vocab.txt")


def _refuse_unsupported(recipe: Recipe, models: Mapping[ModelReference, Model]) -> None:
    """A tokenizer section is a no-op where all vocabularies are the same, and refused elsewhere."""
    problems = []
    settings = recipe.tokenizer
    if recipe.chat_template is not None:
        problems.append(Problem("chat templates are not supported yet", "$.chat_template"))
    if settings is not None:
        vocabularies = {_vocabulary_digest(model) for model in models.values()}
        if len(vocabularies) > 1 or settings.tokens or settings.pad_to_multiple_of:
            problems.append(
                Problem(
                    "combining different vocabularies is not supported yet",
                    "$.tokenizer",
                    hint="leave the section out if the vocabularies are the same",
                )
            )
    if problems:
        raise InputError(*problems)


def _vocabulary_digest(model: Model) -> str:
    files = [file for file in model.checkpoint.side_files if file.name in _TOKENIZER_FILES]
    digest = xxhash.xxh3_128()
    for file in files:
        digest.update(file.name.encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()
