"""A checkpoint as frozen values: everything that its headers and config.json say."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from attrs import field

from graphmerge.checkpoint.name_set import NameSet, name_set
from graphmerge.frozen_classes import frozen

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from graphmerge.checkpoint.header_columns import Columns
    from graphmerge.checkpoint.shards import Listing
    from graphmerge.spec import TensorSpec


@frozen
class TensorEntry:
    """Where the bytes of one stored tensor are."""

    name: str
    """Tensor name, as the header has it."""
    spec: TensorSpec
    """Shape and stored dtype."""
    file: Path
    """The file, safetensors or torch."""
    offset: int
    """First byte, counted from the start of the file (not of the data section)."""


def read_only_tensors(tensors: Mapping[str, TensorEntry]) -> Mapping[str, TensorEntry]:
    """The same tensors, in a mapping that cannot be changed."""
    return MappingProxyType(dict(tensors))


def _read_only_config(config: Mapping[str, Any]) -> Mapping[str, Any]:
    return MappingProxyType(dict(config))


@frozen
class Component:
    """A part of a model that has a folder of its own, with its weights and its config.json."""

    folder: str
    """Name of the folder inside the model's; empty for the model's own folder."""
    stem: str
    """What the names of its weight files begin with: `diffusion_pytorch_model`."""

    @property
    def prefix(self) -> str:
        """What the names of its tensors begin with: `unet/`."""
        return f"{self.folder}/" if self.folder else ""

    def path(self, file_name: str) -> str:
        """The path of one of its files inside the model's folder."""
        return self.prefix + file_name


WHOLE = Component("", "model")
"""The only component of a model that is one folder."""


def component_of(name: str, components: Sequence[Component]) -> Component:
    """The component that a tensor belongs to."""
    inside = (one for one in components if one.folder and name.startswith(one.prefix))
    own = (one for one in components if not one.folder)
    return next(inside, None) or next(own, WHOLE)


@frozen(eq=False)
class StoredFile:
    """The directory of one weight file."""

    tensors: Mapping[str, TensorEntry] = field(converter=read_only_tensors)
    """Every tensor by name."""
    left_out: tuple[str, ...] = ()
    """`file: key (type)` for what is no tensor."""
    notes: tuple[str, ...] = ()
    """What the user should know of how the file was understood."""
    columns: Columns | None = None
    """What files with the same header share, if it is one of safetensors and in order."""


@frozen
class HubOrigin:
    """A commit of a repository of the Hub, and where its files are found on this machine."""

    repository: str
    """`organisation/name`."""
    revision: str
    """Branch, tag or commit that was asked for."""
    commit: str
    """The commit that this was when it was first asked."""
    folder: Path
    """A folder with every file of the commit: links into the cache of the Hub, and files of the
    right size that hold no data, or no more than the header, for what has not been downloaded."""

    def __str__(self) -> str:
        return f"{self.repository}@{self.commit}"

    def is_missing(self, file: Path) -> bool:
        """Whether a file of the folder is still to be downloaded."""
        return file.is_relative_to(self.folder) and not file.is_symlink()


@frozen(eq=False)
class Checkpoint:
    """The headers of one model folder or file."""

    path: Path
    """The folder, or the single file."""
    tensors: Mapping[str, TensorEntry] = field(converter=read_only_tensors)
    """Every tensor by name, in natural order of names (`layers.2` before `layers.10`)."""
    config: Mapping[str, Any] = field(converter=_read_only_config)
    """config.json; empty if there is none."""
    files: tuple[Path, ...]
    """The weight files, sorted by name."""
    side_files: tuple[Path, ...]
    """Tokenizer, generation-config, processor, chat-template and code files, sorted by name."""
    unlisted: tuple[str, ...] = ()
    """What lies in the folder but is no part of the model: names of weight files outside the
    index, then `file: tensor` for tensors that the index does not list, and for what is no tensor.
    For reports."""
    components: tuple[Component, ...] = (WHOLE,)
    """The parts with weights. Names of tensors begin with the prefix of their component, and the
    config.json of a component with a folder is in `config` under the name of that folder."""
    notes: tuple[str, ...] = ()
    """What the user should know of how the files were understood."""
    origin: HubOrigin | None = None
    """The commit that the files are from; None for files of this machine."""
    shared: tuple[Columns | Listing | None, ...] = ()
    """What is known of its headers and its index, for checkpoints that have the same ones."""
    stamps: tuple[tuple[int, int], ...] = ()
    """Size in bytes and modification time in ns of each weight file as its header was read."""
    names: NameSet = field(init=False, repr=False)
    """The names of its tensors, in their order."""

    @names.default
    def _names(self) -> NameSet:
        return name_set(self.tensors)
