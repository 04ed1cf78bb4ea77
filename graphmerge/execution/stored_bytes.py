"""Whole stored tensors, piece by piece: whether two are the same, and copies."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from graphmerge.checkpoint.values import TensorEntry
    from graphmerge.execution.reading import Bytes, FileReader

PIECE_ELEMENTS = 1 << 20
"""Elements that are read at a time."""


def pieces(entry: TensorEntry, reader: FileReader) -> Iterator[tuple[int, Bytes]]:
    """The bytes of a tensor, each piece with its first element.

    Raises:
        CheckpointError: the file ends early.
        MachineError: the file cannot be read.
    """
    bits = entry.spec.dtype.bits
    for start in range(0, entry.spec.numel, PIECE_ELEMENTS):
        count = min(PIECE_ELEMENTS, entry.spec.numel - start)
        buffer = np.empty((count * bits + 7) // 8, np.uint8)
        reader.read(entry, start, buffer)
        yield start, buffer


def is_same(first: TensorEntry, second: TensorEntry, reader: FileReader) -> bool:
    """Whether two tensors have one shape, one dtype and the same bytes.

    Raises:
        CheckpointError: a file ends early.
        MachineError: a file cannot be read.
    """
    if first.spec != second.spec:
        return False
    pairs = zip(pieces(first, reader), pieces(second, reader), strict=True)
    return all(np.array_equal(own, other) for (_, own), (_, other) in pairs)
