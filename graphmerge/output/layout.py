"""Where every byte of the output will be, computed from names and specs before any is written."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from types import MappingProxyType
from typing import TYPE_CHECKING

from attrs import field

from graphmerge.checkpoint.header import LENGTH_BYTES
from graphmerge.checkpoint.shards import INDEX_SUFFIX, SAFETENSORS
from graphmerge.checkpoint.values import WHOLE, Component, component_of
from graphmerge.errors import OutputError, Problem
from graphmerge.frozen_classes import frozen

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from graphmerge.spec import TensorSpec

DATA_ALIGNMENT = 64
"""The data of a shard starts at a multiple of this many bytes: the size of a cache line."""


@frozen
class TensorSlot:
    """The place of one tensor in the output."""

    name: str
    """Tensor name."""
    spec: TensorSpec
    """Shape and dtype."""
    shard: int
    """Position of the shard in `ShardLayout.shards`."""
    offset: int
    """First byte, counted from the start of the file (not of the data section)."""


@frozen
class Shard:
    """One file of the output."""

    file_name: str
    """Path inside the output folder."""
    header: bytes = field(repr=False)
    """First bytes of the file: length, JSON and padding."""
    size_bytes: int
    """Size of the whole file, header included."""
    component: Component = WHOLE
    """The component whose tensors it holds."""


@frozen(eq=False)
class ShardLayout:
    """Every file of the output and the place of every tensor in them."""

    shards: tuple[Shard, ...]
    """Files in order."""
    slots: Mapping[str, TensorSlot] = field(converter=MappingProxyType[str, TensorSlot], repr=False)
    """Place of every tensor, in the order in which the files hold them."""
    total_size_bytes: int
    """Sum of the sizes of the tensors, without headers."""

    @property
    def digest(self) -> str:
        """Hex digest of all file names and headers: equal digests are equal layouts."""
        parts = (shard.file_name.encode() + b"\0" + shard.header for shard in self.shards)
        return hashlib.sha256(b"\0".join(parts)).hexdigest()

    def indexes(self) -> dict[str, str]:
        """Text of every index by its path: one for each component of several shards."""
        slots: dict[Component, list[TensorSlot]] = {}
        for slot in self.slots.values():
            slots.setdefault(self.shards[slot.shard].component, []).append(slot)
        return {
            one.path(f"{one.stem}{INDEX_SUFFIX}"): self._index(one, own)
            for one, own in slots.items()
            if len({slot.shard for slot in own}) > 1
        }

    def _index(self, component: Component, slots: list[TensorSlot]) -> str:
        cut = len(component.prefix)
        weight_map = {slot.name[cut:]: self.shards[slot.shard].file_name[cut:] for slot in slots}
        total_size = sum(slot.spec.nbytes for slot in slots)
        index = {"metadata": {"total_size": total_size}, "weight_map": weight_map}
        return json.dumps(index, indent=2) + "\n"


def layout_shards(
    tensors: Sequence[tuple[str, TensorSpec]],
    *,
    max_shard_bytes: int,
    components: Sequence[Component] = (WHOLE,),
) -> ShardLayout:
    """Cut the tensors into shards of at most `max_shard_bytes` of tensor data.

    Every component has shards of its own, in its folder; names in them are without its prefix.

    A larger tensor gets a shard of its own. Tensors stay in the given order, except that those of
    wider elements go first in a shard that mixes widths: each is then aligned to its elements.

    Raises:
        OutputError: two tensors have the same name.
    """
    counts = Counter(name for name, _ in tensors)
    if len(counts) < len(tensors):
        twice = (name for name, count in counts.items() if count > 1)
        raise OutputError(*(Problem("two outputs have the same name", name) for name in twice))
    parts: dict[Component, list[tuple[str, TensorSpec]]] = {}
    for tensor in tensors:
        parts.setdefault(component_of(tensor[0], components), []).append(tensor)
    shards: list[Shard] = []
    slots: dict[str, TensorSlot] = {}
    for component, own in (parts or {WHOLE: []}).items():
        groups = group_tensors(own, max_shard_bytes=max_shard_bytes)
        for number, group in enumerate(groups):
            file_name = component.path(_file_name(component.stem, number, len(groups)))
            shard, shard_slots = _lay_out(group, len(shards), file_name, component)
            shards.append(shard)
            slots.update(shard_slots)
    total_size_bytes = sum(shard.size_bytes - len(shard.header) for shard in shards)
    return ShardLayout(tuple(shards), slots, total_size_bytes)


def group_tensors(
    tensors: Iterable[tuple[str, TensorSpec]], *, max_shard_bytes: int
) -> list[list[tuple[str, TensorSpec]]]:
    """Which tensors go to which shard; there is one shard even of no tensors."""
    groups: list[list[tuple[str, TensorSpec]]] = []
    group: list[tuple[str, TensorSpec]] = []
    size_bytes = 0
    for name, spec in tensors:
        tensor_bytes = spec.nbytes
        if group and size_bytes + tensor_bytes > max_shard_bytes:
            groups.append(group)
            group, size_bytes = [], 0
        group.append((name, spec))
        size_bytes += tensor_bytes
    return [*groups, group] if group or not groups else groups


def _lay_out(
    group: list[tuple[str, TensorSpec]], number: int, file_name: str, component: Component
) -> tuple[Shard, dict[str, TensorSlot]]:
    wide_first = sorted(group, key=lambda tensor: -tensor[1].dtype.bits)
    entries: dict[str, object] = {"__metadata__": {"format": "pt"}}
    starts, end = [], 0
    for name, spec in wide_first:
        start, end = end, end + spec.nbytes
        starts.append(start)
        dtype = spec.dtype.value
        entries[name.removeprefix(component.prefix)] = {
            "dtype": dtype,
            "shape": spec.shape,
            "data_offsets": (start, end),
        }
    header = _encode(entries)
    slots = {
        name: TensorSlot(name, spec, number, len(header) + start)
        for (name, spec), start in zip(wide_first, starts, strict=True)
    }
    return Shard(file_name, header, len(header) + end, component), slots


def _encode(entries: dict[str, object]) -> bytes:
    text = json.dumps(entries, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-(LENGTH_BYTES + len(text)) % DATA_ALIGNMENT)
    return len(text).to_bytes(LENGTH_BYTES, "little") + text


def _file_name(stem: str, number: int, count: int) -> str:
    if count == 1:
        return f"{stem}{SAFETENSORS}"
    return f"{stem}-{number + 1:05d}-of-{count:05d}{SAFETENSORS}"
