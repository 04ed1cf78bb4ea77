"""Checksums of tensors as they are on the disk, read with bounded memory."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from graphmerge.checkpoint.access import machine_errors
from graphmerge.descriptors import DescriptorPool
from graphmerge.output.checksums import CHECKSUM_BLOCK_ELEMENTS, TensorChecksum
from graphmerge.output.failures import write_errors
from graphmerge.units import MIB

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from graphmerge.output.layout import ShardLayout
    from graphmerge.spec import TensorSpec

BUFFER_BYTES = 4 * MIB
"""Bytes read at once: a whole number of checksum blocks of every dtype, and few system calls."""


def checksum_on_disk(
    descriptor: int, offset: int, spec: TensorSpec, *, buffer: bytearray
) -> str | None:
    """Checksum of a stored tensor; None if the file ends before the tensor does.

    Args:
        descriptor: The open file.
        offset: First byte of the tensor in the file.
        spec: Shape and dtype of the tensor.
        buffer: Scratch space of `BUFFER_BYTES`.

    Raises:
        OSError: the file cannot be read.
    """
    checksum = TensorChecksum(spec)
    block_bytes = CHECKSUM_BLOCK_ELEMENTS * spec.dtype.bits // 8
    step_bytes = len(buffer) // block_bytes * block_bytes
    for start in range(0, spec.nbytes, step_bytes):
        view = memoryview(buffer)[: min(step_bytes, spec.nbytes - start)]
        if not _read_full(descriptor, offset + start, view):
            return None
        checksum.update(start // block_bytes * CHECKSUM_BLOCK_ELEMENTS, view)
    return checksum.hexdigest()


def intact_tensors(
    folder: Path, layout: ShardLayout, finished: Mapping[str, str]
) -> dict[str, str]:
    """The finished tensors of an unfinished output whose bytes really are on the disk.

    Args:
        folder: The unfinished output.
        layout: Its layout.
        finished: Checksums by name, from the journal.

    Raises:
        MachineError: a shard cannot be read.
    """
    buffer = bytearray(BUFFER_BYTES)
    paths = [folder / shard.file_name for shard in layout.shards]
    files = DescriptorPool(os.O_RDWR | os.O_CREAT, write_errors)
    intact: dict[str, str] = {}
    try:
        for name, checksum in finished.items():
            slot = layout.slots[name]
            path = paths[slot.shard]
            with files.borrow(path) as (descriptor,), machine_errors(path):
                found = checksum_on_disk(descriptor, slot.offset, slot.spec, buffer=buffer)
            if found == checksum:
                intact[name] = checksum
    finally:
        files.close()
    return intact


def _read_full(descriptor: int, position: int, view: memoryview) -> bool:
    """Fill `view`; False at the end of the file."""
    while view:
        count = os.preadv(descriptor, [view], position)
        if count == 0:
            return False
        view, position = view[count:], position + count
    return True
