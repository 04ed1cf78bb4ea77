"""Models of several components, each in a folder of its own: diffusers, sentence-transformers.

A diffusers folder has model_index.json, and unet/, transformer/, vae/, text_encoder/ and so on. A
sentence-transformers folder has modules.json; its transformer may lie in the folder itself. The
tensors of a component are named after its folder: `unet/conv_in.weight`.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from attrs import evolve

from graphmerge.checkpoint.access import read_bytes, read_json_object
from graphmerge.checkpoint.layer_layout import LayerLayout
from graphmerge.checkpoint.layers import find_layers
from graphmerge.checkpoint.own_files import CARD_NAME, MANIFEST_NAME, RECIPE_NAME
from graphmerge.checkpoint.shards import SAFETENSORS, TORCH_SUFFIXES
from graphmerge.checkpoint.values import component_of
from graphmerge.errors import CheckpointError, Problem

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from graphmerge.checkpoint.layer_layout import LayerStack
    from graphmerge.checkpoint.values import Component

PIPELINE, MODULES = "model_index.json", "modules.json"
"""Files that list the components: of diffusers, and of sentence-transformers."""
_WEIGHTS = {SAFETENSORS} | TORCH_SUFFIXES
"""Ends of files that make a folder a component."""
_NOT_COPIED = _WEIGHTS | {".msgpack", ".h5", ".onnx", ".onnx_data", ".pb", ".xml", ".gguf"}
"""Ends of weight files; those of other formats would hold the unmerged model."""
_WRITTEN = {CARD_NAME, MANIFEST_NAME, RECIPE_NAME}
"""Files at the top that the output has of its own."""


def component_folders(path: Path) -> tuple[str, ...]:
    """The folders of a model's components with weights; empty if it is no such model.

    Raises:
        CheckpointError: the file that lists the components is broken.
        OSError: a folder cannot be listed.
        MachineError: that file cannot be read.
    """
    if (path / PIPELINE).is_file():
        listed = list(_pipeline_folders(path / PIPELINE))
    elif (path / MODULES).is_file():
        listed = list(_module_folders(path / MODULES))
    else:
        return ()
    return tuple(sorted(folder for folder in set(listed) if _has_weights(path / folder)))


def _pipeline_folders(file: Path) -> Iterator[str]:
    """Names of the components: keys with a library and a class."""
    for name, value in read_json_object(file).items():
        if isinstance(value, list) and len(value) == 2 and value[1] is not None:
            yield _checked(name, file)


def _module_folders(file: Path) -> Iterator[str]:
    """Folders of the modules, which come one after the other."""
    try:
        modules = json.loads(read_bytes(file))
        yield from (_checked(str(module["path"]), file) for module in modules)
    except (ValueError, TypeError, KeyError) as error:
        wanted = "a list of modules with their paths"
        raise CheckpointError(Problem("invalid list", str(file), str(error), wanted)) from error


def _checked(folder: str, file: Path) -> str:
    if "/" in folder or "\\" in folder or folder.startswith("."):
        wanted = "a folder inside the model's"
        raise CheckpointError(Problem("a component elsewhere", str(file), ascii(folder), wanted))
    return folder


def _has_weights(folder: Path) -> bool:
    return folder.is_dir() and any(file.suffix in _WEIGHTS for file in folder.iterdir())


def component_side_files(
    path: Path, folders: Iterable[str], used: Iterable[Path]
) -> tuple[tuple[Path, ...], tuple[str, ...]]:
    """Every other file of a model, at any depth, and the names of weight files that are left out.

    Raises:
        OSError: a folder cannot be listed.
    """
    written = {path / name for name in _WRITTEN} | {path / name / "config.json" for name in folders}
    taken = {*written, *used}
    side_files, unlisted = [], []
    for file in sorted(path.rglob("*")):
        inside = file.relative_to(path)
        if file in taken or not file.is_file() or any(part[0] == "." for part in inside.parts):
            continue
        if file.suffix in _NOT_COPIED or ".index." in file.name:
            unlisted.append(inside.as_posix())
        else:
            side_files.append(file)
    return tuple(side_files), tuple(name for name in unlisted if ".index." not in name)


def find_component_layers(
    names: Iterable[str], config: Mapping[str, Any], components: Sequence[Component]
) -> LayerLayout:
    """The layers of every component whose config.json states their number.

    The blocks of a UNet or VAE are none: they do not follow one another with one shape.
    """
    grouped: dict[Component, list[str]] = {}
    for name in names:
        one = component_of(name, components)
        grouped.setdefault(one, []).append(name.removeprefix(one.prefix))
    stacks: list[LayerStack] = []
    for one, local in grouped.items():
        within = f"{one.folder}." if one.folder else ""
        found = find_layers(local, component_config(config, one, components))
        stacks += [
            evolve(x, prefix=one.prefix + x.prefix, config_key=within + x.config_key)
            for x in found.stacks
            if x.config_key
        ]
    return LayerLayout(tuple(stacks), "" if stacks else "no component states its number of layers")


def component_config(
    config: Mapping[str, Any], component: Component, components: Sequence[Component]
) -> Mapping[str, Any]:
    """config.json of one component."""
    if component.folder:
        found = config.get(component.folder, {})
        return found if isinstance(found, dict) else {}
    folders = {one.folder for one in components}
    return {key: value for key, value in config.items() if key not in folders}
