"""graphmerge.json: what the output was made from, how, and the checksum of each tensor."""

from __future__ import annotations

import json
from collections.abc import Mapping  # noqa: TC003 - cattrs reads the types of the fields
from itertools import starmap
from json.encoder import encode_basestring_ascii as _quoted
from pathlib import Path  # noqa: TC003 - as above
from typing import TYPE_CHECKING, Any

from attrs import asdict, evolve, field

from graphmerge.checkpoint.access import read_json_object
from graphmerge.checkpoint.own_files import MANIFEST_NAME
from graphmerge.errors import CheckpointError, Problem
from graphmerge.frozen_classes import frozen
from graphmerge.output.side_files import write_text
from graphmerge.spec import DType  # noqa: TC001 - as above

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from graphmerge.checkpoint.values import Checkpoint
    from graphmerge.output.layout import ShardLayout

MANIFEST_FORMAT_VERSION = 1
"""Raised when fields change their meaning; newer manifests are refused."""


@frozen
class ManifestInput:
    """One model that took part."""

    reference: str
    """As the recipe has it."""
    path: str
    """Where its files were: a folder or file, or `hf://ORGANISATION/NAME@COMMIT`."""
    fingerprint: str
    """Digest that changes when its files do."""
    revision: str | None = None
    """Commit of a model of the Hub, of one with an adapter of both, joined by `+`; None for files
    of this machine."""


@frozen
class ManifestTensor:
    """One tensor of the output."""

    checksum: str
    """`TensorChecksum.hexdigest()` of its bytes."""
    dtype: DType
    """Stored dtype."""
    shape: tuple[int, ...]
    """Lengths of the axes."""
    shard: str
    """Name of the file that holds it."""


@frozen(kw_only=True)
class Manifest:
    """Everything that graphmerge.json says."""

    format_version: int = MANIFEST_FORMAT_VERSION
    """Version of this file's format."""
    graphmerge_version: str
    """Version that wrote the output."""
    recipe: str = ""
    """Text of the recipe; empty where a command without one has made the output."""
    command: str = ""
    """That command, as a shell takes it; empty where there was a recipe."""
    method: str
    """Name of the merge method, or of the command."""
    parameters: Mapping[str, Any] = field(hash=False)
    """Resolved parameters, defaults included."""
    seed: int | None = None
    """Seed of random masks; None where the output can have none."""
    versions: Mapping[str, str] = field(hash=False)
    """Versions of python, torch, numpy and safetensors."""
    inputs: tuple[ManifestInput, ...]
    """The models, in the order of the recipe or command."""
    tensors: Mapping[str, ManifestTensor] = field(hash=False, repr=False)
    """Every tensor by name."""
    predicted_peak_bytes: int | None = None
    """Peak memory of the process, as planned; None where nothing is planned."""
    measured_peak_bytes: int
    """Peak memory of the process, as it was."""
    budget_bytes: int | None = None
    """Memory budget; None when there was none."""
    seconds: float
    """Duration of the run; of a continued run, of its last part."""
    read_bytes: int | None = None
    """Bytes read from the inputs; None where they are not counted."""
    written_bytes: int
    """Bytes written to the shards."""
    warnings: tuple[str, ...] = ()
    """What the user was told."""


def manifest_input(reference: str, parts: Sequence[Checkpoint], fingerprint: str) -> ManifestInput:
    """What the manifest says of a model.

    Args:
        reference: As the recipe or the command has it.
        parts: Its checkpoint, and the adapter that is added to it if there is one.
        fingerprint: Of both.
    """
    places = (f"hf://{part.origin}" if part.origin else str(part.path) for part in parts)
    commits = [part.origin.commit for part in parts if part.origin]
    return ManifestInput(reference, "+".join(places), fingerprint, "+".join(commits) or None)


def manifest_tensors(
    layout: ShardLayout, checksums: Mapping[str, str]
) -> dict[str, ManifestTensor]:
    """What the manifest says of tensors: every one of a layout, with its checksum."""
    return {
        name: ManifestTensor(
            checksums[name],
            slot.spec.dtype,
            slot.spec.shape,
            layout.shards[slot.shard].file_name,
        )
        for name, slot in layout.slots.items()
    }


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write graphmerge.json.

    Raises:
        MachineError: the file cannot be written.
    """
    write_text(folder / MANIFEST_NAME, _text(manifest))


def _text(manifest: Manifest) -> str:
    """JSON with a line for each tensor, and for the parameters of each: there may be many."""
    content = asdict(evolve(manifest, parameters={}, tensors={}))
    del content["parameters"], content["tensors"]
    known: dict[int, str] = {}  # tensors of one kind have the very same parameters
    parameters = []
    for name, value in manifest.parameters.items():
        if id(value) not in known:
            known[id(value)] = json.dumps(value)
        parameters.append(f"  {_quoted(name)}: {known[id(value)]}")
    tensors = starmap(_tensor_line, manifest.tensors.items())
    parts = (
        json.dumps(content, indent=1).removesuffix("\n}"),
        _object("parameters", parameters),
        _object("tensors", tensors),
    )
    return ",\n".join(parts) + "\n}\n"


def _tensor_line(name: str, tensor: ManifestTensor) -> str:
    name, checksum, shard = map(_quoted, (name, tensor.checksum, tensor.shard))
    rest = f'"dtype": "{tensor.dtype.value}", "shape": {list(tensor.shape)}, "shard": {shard}'
    return f'  {name}: {{"checksum": {checksum}, {rest}}}'


def _object(key: str, lines: Iterable[str]) -> str:
    text = ",\n".join(lines)
    return f' "{key}": {{\n{text}\n }}'


def read_manifest(folder: Path) -> Manifest:
    """Read and check graphmerge.json.

    Raises:
        CheckpointError: there is none, it is of a newer graphmerge, or it is damaged.
        MachineError: the file cannot be read.
    """
    from cattrs import BaseValidationError, transform_error  # noqa: PLC0415 - no merge reads one
    from cattrs.preconf.json import make_converter  # noqa: PLC0415 - as above

    path = folder / MANIFEST_NAME
    if not path.exists():
        hint = "only outputs of graphmerge have one"
        raise CheckpointError(Problem(f"no {MANIFEST_NAME}", str(folder), hint=hint))
    content = read_json_object(path)
    version = content.get("format_version")
    if isinstance(version, int) and version > MANIFEST_FORMAT_VERSION:
        got, wanted = f"format {version}", f"at most {MANIFEST_FORMAT_VERSION}"
        raise CheckpointError(Problem("written by a newer graphmerge", str(path), got, wanted))
    try:
        return make_converter().structure(content, Manifest)
    except BaseValidationError as error:
        problems = (Problem(message, str(path)) for message in transform_error(error))
        raise CheckpointError(*problems) from error
