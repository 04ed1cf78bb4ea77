"""Model references: `PATH[@REVISION][+LORA[@REVISION]]`, or the same as a mapping."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from attrs import evolve

from graphmerge.errors import RecipeError
from graphmerge.recipe.cursor import Cursor
from graphmerge.recipe.values import ModelReference

_FORM = "PATH[@REVISION][+LORA[@REVISION]]"


def parse_reference(
    value: str | Mapping[str, object], *, recipe_folder: Path | None
) -> ModelReference:
    """The model that a text or a mapping names.

    An existing local path that contains `@` or `+` is a path as a whole.

    Raises:
        RecipeError: the value is no model reference.
    """
    place = Cursor(value, folder=recipe_folder)
    reference = read_reference(place)
    if reference is None or place.problems:
        raise RecipeError(*place.problems)
    return reference


def resolve_local(reference: ModelReference, recipe_folder: Path | None) -> Path | None:
    """The local path of the model (not of its adapter), or None when no such path exists.

    A relative path starts at the working directory or else at the recipe's folder.
    """
    return _find_local(reference.path, recipe_folder)


def read_reference(place: Cursor) -> ModelReference | None:
    """The model reference at a place of a recipe; None, with problems reported, if it is none."""
    if not isinstance(place.value, Mapping):
        return _read_text(place)
    fields = place.fields(("model", "lora", "override_architecture"), required=("model",))
    model = _read_part(fields["model"]) if "model" in fields else None
    lora = _read_part(fields["lora"]) if "lora" in fields else None
    architecture = (
        fields["override_architecture"].text() if "override_architecture" in fields else None
    )
    if model is None:
        return None
    if model.lora and lora:
        fields["lora"].report(
            "the adapter is given twice", hint=f"'model' names {model.lora} already"
        )
    return evolve(model, lora=lora or model.lora, override_architecture=architecture)


def _read_part(place: Cursor) -> ModelReference | None:
    """One of the two parts of a reference: a text, or `{path, revision}`."""
    if not isinstance(place.value, Mapping):
        return _read_text(place)
    fields = place.fields(("path", "revision"), required=("path",))
    path = fields["path"].text() if "path" in fields else None
    revision = fields["revision"].text() if "revision" in fields else None
    return ModelReference(path, revision) if path else None


def _read_text(place: Cursor) -> ModelReference | None:
    text = place.text()
    if text is None:
        return None
    model, lora = _split(text, "+", place.folder)
    path, revision = _split(model, "@", place.folder)
    lora_path, lora_revision = _split(lora or "", "@", place.folder)
    is_second_lora = "+" in lora_path and not _find_local(lora_path, place.folder)
    is_incomplete = "" in {path, revision, lora, lora_revision} or (
        lora is not None and not lora_path
    )
    if is_second_lora or is_incomplete:
        place.report("not a model reference", wanted=_FORM)
        return None
    return ModelReference(
        path, revision, ModelReference(lora_path, lora_revision) if lora else None
    )


def _split(text: str, separator: str, folder: Path | None) -> tuple[str, str | None]:
    """Text before and after the separator; None when all of it is before.

    The longest local path that exists goes before; without one the first separator counts.
    """
    if _find_local(text, folder):
        return text, None
    ends = [index for index, character in enumerate(text) if character == separator]
    if not ends:
        return text, None
    end = next((end for end in reversed(ends) if _find_local(text[:end], folder)), ends[0])
    return text[:end], text[end + 1 :]


def _find_local(path: str, folder: Path | None) -> Path | None:
    candidates = [Path(path)] if folder is None else [Path(path), folder / path]
    # os.path.exists is False where Path.exists raises: a name too long, or with a null byte.
    found = (candidate for candidate in candidates if path and os.path.exists(candidate))  # noqa: PTH110
    return next(found, None)
