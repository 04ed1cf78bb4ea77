"""The summary of a checkpoint; the field names are those of `graphmerge inspect --json`."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from attrs import field

from graphmerge.checkpoint.layers import find_layers
from graphmerge.checkpoint.quantisation import find_quantisation
from graphmerge.checkpoint.shards import TORCH_SUFFIXES
from graphmerge.checkpoint.vocabulary import find_embeddings, tied_head
from graphmerge.frozen_classes import frozen

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from graphmerge.checkpoint.layer_layout import LayerStack
    from graphmerge.checkpoint.values import Checkpoint


@frozen
class TensorSummary:
    """One stored tensor."""

    dtype: str
    """Dtype as safetensors names it."""
    shape: tuple[int, ...]
    """Lengths of the axes."""
    data_bytes: int
    """Its size."""
    file: str
    """Name of its file."""


@frozen
class CheckpointSummary:
    """What headers and config.json say of a checkpoint."""

    path: str
    """The folder or file, or `ORGANISATION/NAME@COMMIT`."""
    files: tuple[str, ...]
    """Names of its weight files."""
    format: str
    """`safetensors`, `torch`, or the end of the files' names of a plug-in's format."""
    quantisation: str
    """The method of quantisation; empty for plain numbers."""
    dequantised: tuple[str, ...]
    """Weights that are computed from codes and scales; empty where the model is refused."""
    data_bytes: int
    """Bytes of all tensors."""
    dtypes: Mapping[str, int] = field(hash=False)
    """Number of tensors of each dtype."""
    layers: tuple[LayerStack, ...]
    """Stacks of layers."""
    note: str
    """What is odd about the layers; empty if nothing is."""
    embeddings: tuple[str, ...]
    """Tensors whose rows are the tokens of the vocabulary."""
    tied: Mapping[str, str] = field(hash=False)
    """A head that is not stored, and the embedding that stands for it."""
    config: Mapping[str, Any] = field(hash=False)
    """The numbers, names and switches of config.json; no nested sections."""
    unlisted: tuple[str, ...]
    """What lies in the folder but is no part of the model."""
    notes: tuple[str, ...]
    """How the files were understood."""
    tensors: Mapping[str, TensorSummary] = field(hash=False)
    """Every tensor by name."""


def summarise(checkpoint: Checkpoint) -> CheckpointSummary:
    """The summary of a checkpoint."""
    names = tuple(checkpoint.tensors)
    layout = find_layers(names, checkpoint.config)
    tied = tied_head(names, checkpoint.config)
    entries = checkpoint.tensors.values()
    quantisation = find_quantisation(checkpoint)
    return CheckpointSummary(
        path=str(checkpoint.origin or checkpoint.path),
        files=tuple(_inside(checkpoint, file) for file in checkpoint.files),
        format=_format(checkpoint),
        quantisation=quantisation.kind if quantisation else "",
        dequantised=tuple(quantisation.weights) if quantisation else (),
        data_bytes=sum(entry.spec.nbytes for entry in entries),
        dtypes=dict(Counter(entry.spec.dtype.value for entry in entries).most_common()),
        layers=layout.stacks,
        note=layout.note,
        embeddings=find_embeddings(checkpoint),
        tied=dict([tied]) if tied else {},
        config={
            key: value
            for key, value in checkpoint.config.items()
            if isinstance(value, (str, int, float))
        },
        unlisted=checkpoint.unlisted,
        notes=checkpoint.notes,
        tensors={
            entry.name: TensorSummary(
                entry.spec.dtype.value,
                entry.spec.shape,
                entry.spec.nbytes,
                _inside(checkpoint, entry.file),
            )
            for entry in entries
        },
    )


def _inside(checkpoint: Checkpoint, file: Path) -> str:
    """The path of a weight file inside the model's folder."""
    is_inside = checkpoint.path in file.parents
    return file.relative_to(checkpoint.path).as_posix() if is_inside else file.name


def _format(checkpoint: Checkpoint) -> str:
    suffix = checkpoint.files[0].suffix
    return "torch" if suffix in TORCH_SUFFIXES else suffix.removeprefix(".")
