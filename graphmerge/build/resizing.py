"""Without a tokenizer section rows stand for themselves; unequal numbers of rows are made equal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import evolve

from graphmerge.build.alignment import (
    Aligned,
    gathered,
    has_tokenizer,
    origin_of,
    refuse_rows_for_images,
    row_counts,
    tokenizer_of,
)
from graphmerge.errors import CheckpointError, Problem
from graphmerge.vocabulary.reading import reading_bytes
from graphmerge.vocabulary.rows import cropped, extended
from graphmerge.vocabulary.tokenizer import share_ids

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from graphmerge.build.matching import Models
    from graphmerge.build.models import Model
    from graphmerge.recipe.values import ModelReference, Recipe


def align_by_rows(recipe: Recipe, inputs: Models) -> Aligned:
    """Give the inputs of a recipe as many rows each, as its `embeddings:` says.

    Args:
        recipe: The recipe.
        inputs: Its models, the donor of the config first: its tokenizer is kept where it fits.

    Raises:
        CheckpointError: the recipe does not allow it, or rows of a result would have to change.
        MachineError: a tokenizer file cannot be read.
    """
    donor = inputs[recipe.donor]
    ends = {reference: inputs[reference] for reference in _at_the_ends(recipe, inputs)}
    counts = {reference: row_counts(model) for reference, model in ends.items()}
    most = {reference: max(rows.values(), default=0) for reference, rows in counts.items()}
    sizes = {size for size in most.values() if size}
    if len(sizes) < 2:
        return Aligned(inputs, donor.tokenizer)
    shown = {ends[reference].label: size for reference, size in most.items()}
    policy = recipe.embeddings
    least = min(count for rows in counts.values() for count in rows.values())
    target = max(sizes) if policy == "extend" else least
    if policy == "error" or (policy == "auto" and not _is_proven(ends.values(), least)):
        raise CheckpointError(_unequal(shown))
    _refuse_results(ends, counts, target)
    refuse_rows_for_images(ends.values())
    changed = {ref: _resized(model, counts[ref], target) for ref, model in ends.items()}
    fitting = next((model for model in ends.values() if _fits(model, target)), None)
    done = "extended" if policy == "extend" else "cropped"
    why = ", as the tokenizer files say that common ids mean the same" if policy == "auto" else ""
    lost = "" if fitting else "; no model's tokenizer has so few tokens"
    return Aligned(
        {**inputs, **changed},
        origin_of(fitting) if fitting else donor.tokenizer,
        (f"embeddings: {done} to {target:,} rows{why}{lost}",),
        reading_bytes((origin_of(model).checkpoint for model in ends.values()), growth=0),
    )


def _at_the_ends(recipe: Recipe, inputs: Models) -> tuple[ModelReference, ...]:
    """The models that give tensors outside the layers, in the order of the inputs."""
    found: dict[ModelReference, None] = {}
    for module in recipe.modules:
        if module.is_whole_model:
            found.update(dict.fromkeys(inputs))
        for part in (module.slices[0], module.slices[-1]):
            found.update((source.model, None) for source in part.sources)
    return tuple(reference for reference in inputs if reference in found)


def _is_proven(models: Iterable[Model], rows: int) -> bool:
    """Whether tokenizer files say that all ids below `rows` mean the same in all models."""
    listed = list(models)
    if not all(map(has_tokenizer, listed)):
        return False
    return share_ids(map(tokenizer_of, listed), rows)


def _fits(model: Model, rows: int) -> bool:
    return has_tokenizer(model) and tokenizer_of(model).size <= rows


def _refuse_results(
    models: Models, counts: Mapping[ModelReference, Mapping[str, int]], rows: int
) -> None:
    """Rows can be left out or added where they are stored, not where they are computed."""
    wrong = [
        f"{model.label} {max(counts[reference].values()):,}"
        for reference, model in models.items()
        if not model.is_stored and any(count != rows for count in counts[reference].values())
    ]
    if wrong:
        what = "the rows of a result cannot be cropped or extended"
        hint = "give tokenizer: or embeddings: to the entries that read the checkpoints"
        raise CheckpointError(
            Problem(what, "$.embeddings", ", ".join(wrong), f"{rows:,} rows", hint)
        )


def _resized(model: Model, counts: Mapping[str, int], rows: int) -> Model:
    tensors = dict(model.tensors)
    for name, count in counts.items():
        if count != rows:
            made = cropped(rows) if count > rows else extended(count, rows)
            tensors[name] = gathered(name, made, [tensors[name].value.node], tensors[name])
    return evolve(model, tensors=tensors)


def _unequal(sizes: Mapping[str, int]) -> Problem:
    got = ", ".join(f"{label} {size:,}" for label, size in sizes.items())
    hint = (
        "add tokenizer: {source: union} to merge token by token, embeddings: crop to keep the "
        "common rows, or embeddings: extend to fill the missing ones"
    )
    what = "the vocabularies differ in size, and no tokenizer files prove that ids agree"
    return Problem(what, "$.embeddings", got, "one number of rows", hint)
