"""Which files of the Hub a merge needs, and what of them is still to be downloaded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graphmerge.checkpoint.card import card_files
from graphmerge.checkpoint.vocabulary import find_embeddings, vocabulary_rows
from graphmerge.frozen_classes import frozen
from graphmerge.hub import download
from graphmerge.vocabulary.chat_templates import TOKENIZER_FILES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from graphmerge.build.graph import Build
    from graphmerge.build.models import Model
    from graphmerge.checkpoint.values import Checkpoint, HubOrigin
    from graphmerge.recipe.values import RecipeGraph


@frozen
class Downloads:
    """What a run downloads of one repository."""

    repository: str
    """`organisation/name`."""
    revision: str
    """Branch, tag or commit that was asked for."""
    commit: str
    """The commit that this was when it was first asked."""
    missing_files: tuple[str, ...]
    """Files that are downloaded, sorted by name."""
    missing_bytes: int
    """Their size."""
    cached_files: tuple[str, ...]
    """Files that are needed and in the cache, sorted by name."""
    cached_bytes: int
    """Their size."""


def fetch_vocabularies(recipe: RecipeGraph, models: Iterable[Model]) -> None:
    """Download the tokenizers of models if building the graph may read them.

    That is where the recipe says something of tokenizers or chat templates, or where the models
    have different numbers of tokens.

    Raises:
        InputError: the files may not be read.
        MachineError: the Hub cannot be reached.
    """
    checkpoints = [part for model in models for part in model.files]
    named = [file for one in checkpoints for file in one.side_files if file.name in TOKENIZER_FILES]
    files = [pair for pair in _of_hub(named, checkpoints) if pair[0].is_missing(pair[1])]
    if files and (_speaks_of_tokens(recipe) or _differ_in_tokens(checkpoints)):
        download(files)


def _speaks_of_tokens(recipe: RecipeGraph) -> bool:
    recipes = [entry.recipe for entry in recipe.needed()]
    return any(one.tokenizer is not None or one.chat_template is not None for one in recipes)


def _differ_in_tokens(checkpoints: Iterable[Checkpoint]) -> bool:
    rows = {
        vocabulary_rows(name, checkpoint.tensors[name].spec.shape)
        for checkpoint in checkpoints
        for name in find_embeddings(checkpoint)
    }
    return len(rows) > 1


def download_needed(
    build: Build,
    models: Iterable[Model],
    weights: Iterable[Path],
    progressed: Callable[[int], None] | None = None,
) -> None:
    """Download what a run needs and the cache does not have.

    Args:
        build: The graph, and whose side files the output has.
        models: The checkpoints.
        weights: The weight files that the plan reads.
        progressed: Called with the number of bytes that have come since the last call.

    Raises:
        InputError: the files may not be read.
        MachineError: the Hub cannot be reached, or the disk is full; what is complete is kept.
    """
    download(_needed(build, models, weights), progressed)


def downloads_of(
    build: Build, models: Iterable[Model], weights: Iterable[Path]
) -> tuple[Downloads, ...]:
    """What a run needs of every repository, sorted by their names."""
    found: dict[HubOrigin, list[Path]] = {}
    for origin, file in _needed(build, models, weights):
        found.setdefault(origin, []).append(file)
    made = (_downloads(origin, files) for origin, files in found.items())
    return tuple(sorted(made, key=lambda one: (one.repository, one.revision)))


def _downloads(origin: HubOrigin, files: Iterable[Path]) -> Downloads:
    names = {path.relative_to(origin.folder).as_posix(): path for path in files}
    missing = sorted(name for name, path in names.items() if origin.is_missing(path))
    cached = sorted(names.keys() - set(missing))
    return Downloads(
        origin.repository,
        origin.revision,
        origin.commit,
        tuple(missing),
        sum(names[name].stat().st_size for name in missing),
        tuple(cached),
        sum(names[name].stat().st_size for name in cached),
    )


def _needed(
    build: Build, models: Iterable[Model], weights: Iterable[Path]
) -> list[tuple[HubOrigin, Path]]:
    """The weights that are read, files beside them that the output has, and cards; each once."""
    tokenizer = [build.model.tokenizer.checkpoint] if build.model.tokenizer else []
    kept = [file for one in (*build.model.files, *tokenizer) for file in one.side_files]
    checkpoints = [part for model in models for part in model.files]
    folders = [one.origin.folder for one in checkpoints if one.origin]
    cards = [card for folder in folders for card in card_files(folder)]
    return _of_hub(dict.fromkeys((*weights, *kept, *cards)), checkpoints)


def _of_hub(
    files: Iterable[Path], checkpoints: Iterable[Checkpoint]
) -> list[tuple[HubOrigin, Path]]:
    """Those files that are of repositories, with these."""
    origins = {one.origin.folder: one.origin for one in checkpoints if one.origin}
    return [
        (origin, file)
        for file in files
        for folder, origin in origins.items()
        if file.is_relative_to(folder)
    ]
