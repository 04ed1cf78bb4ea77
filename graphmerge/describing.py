"""What the model card says of an output, from the recipe and the headers of its models."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import evolve

from graphmerge.build.matching import listed_sources, slice_length
from graphmerge.checkpoint.card import read_card
from graphmerge.checkpoint.components import MODULES, PIPELINE
from graphmerge.hub import is_repository
from graphmerge.methods.registry import find_method, find_operation
from graphmerge.output import Card, CardLayers, CardPart, CardStep, contributions
from graphmerge.tokenizer_output import folder_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from graphmerge.build.models import Model
    from graphmerge.checkpoint.values import Checkpoint
    from graphmerge.compilation import Compiled
    from graphmerge.methods.base import Method
    from graphmerge.recipe.values import ModelReference, Module, Recipe, Scalar, Slice

_CACHED = re.compile(r"models--(?P<owner>.+?)--(?P<name>.+)")
"""Folder of a model in the cache of huggingface_hub, over `snapshots/COMMIT`."""
_LIBRARIES = {PIPELINE: "diffusers", MODULES: "sentence-transformers"}
"""By the file that lists the components of a model."""


def card_of(compiled: Compiled, output: Path, title: str) -> Card:
    """What the card of an output says.

    Args:
        compiled: What was merged.
        output: The folder with all files of the output but the card.
        title: What the output is called.
    """
    made, donor = compiled.build.model, compiled.build.model.checkpoint
    library = "" if made.record else _library(donor)
    statistics = compiled.recipe.statistics()
    merged = {ref: model for ref, model in compiled.models.items() if ref not in statistics}
    return Card(
        title=title,
        models={model.label: _parts(ref, model) for ref, model in merged.items()},
        steps=tuple(_steps(compiled)),
        recipe_text=compiled.recipe.text,
        library=library,
        use=_use(library, donor, output, title),
        record=made.record,
    )


def _library(donor: Checkpoint) -> str:
    stated = read_card(folder_of(donor)).get("library_name")
    if isinstance(stated, str) and stated:
        return stated
    listed = [file.name for file in donor.side_files if file.name in _LIBRARIES]
    return _LIBRARIES[listed[0]] if listed else "transformers"


def _parts(reference: ModelReference, model: Model) -> tuple[CardPart, ...]:
    """The checkpoint, and the adapter that is added to it."""
    if model.adapter is None:
        return (card_part(model.checkpoint, reference.path, reference.revision),)
    if reference.lora is None:
        base = card_part(model.checkpoint, str(model.checkpoint.path), None)
        return (base, card_part(model.adapter, reference.path, reference.revision))
    return (
        card_part(model.checkpoint, reference.path, reference.revision),
        card_part(model.adapter, reference.lora.path, reference.lora.revision),
    )


def card_part(checkpoint: Checkpoint, path: str, revision: str | None) -> CardPart:
    """What cards say of a checkpoint.

    Args:
        checkpoint: The model or adapter.
        path: How it was named.
        revision: Branch, tag or commit that was named with it.
    """
    card = read_card(folder_of(checkpoint))
    origin = checkpoint.origin
    if origin:
        return CardPart(origin.repository, is_hub=True, revision=origin.commit, card=card)
    return evolve(named_part(path, revision, checkpoint.path), card=card)


def named_part(path: str, revision: str | None, place: Path | None) -> CardPart:
    """What cards say of a model by its name; a local one is named without its folder, for privacy.

    Args:
        path: How it was named.
        revision: Branch, tag or commit that was named with it.
        place: Where it is on this machine; None where it is not.
    """
    cached = [found for part in Path(place or path).parts if (found := _CACHED.fullmatch(part))]
    if cached:
        return CardPart(
            f"{cached[-1]['owner']}/{cached[-1]['name']}", is_hub=True, revision=revision
        )
    is_local = (place is not None and place.as_posix().endswith(path)) or not is_repository(path)
    name = path.rstrip("/").split("/")[-1] if is_local else path
    return CardPart(name, is_hub=not is_local, revision=revision)


def _use(library: str, donor: Checkpoint, output: Path, title: str) -> str:
    """Code that loads the output; empty for libraries that are not known here."""
    quoted = json.dumps(title, ensure_ascii=False)
    if library == "diffusers":
        return (
            "from diffusers import DiffusionPipeline\n\n"
            f"pipeline = DiffusionPipeline.from_pretrained({quoted})"
        )
    if library == "sentence-transformers":
        return (
            "from sentence_transformers import SentenceTransformer\n\n"
            f"model = SentenceTransformer({quoted})"
        )
    return _use_of_transformers(donor, output, quoted) if library == "transformers" else ""


def _use_of_transformers(donor: Checkpoint, output: Path, quoted: str) -> str:
    code = donor.config.get("auto_map")
    architectures = donor.config.get("architectures") or ["AutoModel"]
    if isinstance(code, dict):
        kind = next((name for name in code if name.startswith("AutoModel")), "AutoModel")
        options = "trust_remote_code=True, "
    else:
        kind, options = str(architectures[0]), ""
    helper = _helper(output)
    helpers = [helper] if helper else []
    lines = [
        f"from transformers import {', '.join(sorted((*helpers, kind)))}\n",
        f'model = {kind}.from_pretrained({quoted}, {options}dtype="auto")',
        *(f"{name[4:].lower()} = {name}.from_pretrained({quoted})" for name in helpers),
    ]
    return "\n".join(lines)


def _helper(output: Path) -> str | None:
    """The class that prepares a model's inputs, by the files there are."""
    if (output / "processor_config.json").exists() or (
        output / "preprocessor_config.json"
    ).exists():
        return "AutoProcessor"
    return "AutoTokenizer" if (output / "tokenizer_config.json").exists() else None


def _steps(compiled: Compiled) -> Iterator[CardStep]:
    entries = compiled.recipe.needed()
    parameters = _by_entry(compiled.build.parameters, [entry.name for entry in entries])
    for entry in entries:
        recipe = entry.recipe
        find = find_operation if recipe.is_operation else find_method
        method = find(recipe.merge_method)
        yield CardStep(
            entry.name if len(entries) > 1 else "",
            method.name,
            method.summary,
            str(recipe.base_model) if recipe.base_model else "",
            contributions(parameters.get(entry.name, {}), ends=_ends(method, recipe)),
            list(_layers(recipe)),
        )


def _by_entry(
    parameters: Mapping[str, Mapping[str, Scalar]], names: Sequence[str]
) -> dict[str, dict[str, Mapping[str, Scalar]]]:
    """Parameters of tensors by entry: where there are several, keys begin with its name."""
    if len(names) == 1:
        return {names[0]: dict(parameters)}
    found: dict[str, dict[str, Mapping[str, Scalar]]] = {name: {} for name in names}
    for key, values in parameters.items():
        entry, _, tensor = key.partition(": ")
        if entry in found:
            found[entry][tensor] = values
        else:  # the last document of a file may have no name
            found[names[-1]][key] = values
    return found


def _ends(method: Method, recipe: Recipe) -> tuple[str, str, str] | None:
    """For an interpolation of the same two models everywhere: its position, and the two."""
    if method.position is None:
        return None
    pairs = {
        _base_first(module, part, part.base_model or recipe.base_model)
        for module in recipe.modules
        for part in module.slices
    }
    (pair, *others) = pairs
    return None if others or len(pair) != 2 else (method.position, *pair)


def _base_first(module: Module, part: Slice, base: ModelReference | None) -> tuple[str, ...]:
    sources = listed_sources(module, part, base)
    ordered = sorted(sources, key=lambda source: source.model != base)
    return tuple(str(source.model) for source in ordered)


def _layers(recipe: Recipe) -> Iterator[CardLayers]:
    """Layers of the output, and the layers that they are made from, slice by slice."""
    for module in recipe.modules:
        start = 0
        for part in () if module.is_whole_model else module.slices:
            end = start + slice_length(part)
            within = f"{module.name}: " if module.name else ""
            ranges = [(str(x.model), _counted(*(x.layer_range or (0, 0)))) for x in part.sources]
            if end > start:
                yield CardLayers(within + _counted(start, end), ranges)
            start = end


def _counted(start: int, end: int) -> str:
    return f"{start} to {end - 1}" if end - start > 1 else str(start)
