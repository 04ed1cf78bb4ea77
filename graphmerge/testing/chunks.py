"""Fill the tensors of a checkpoint with values, a chunk at a time and in threads."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from graphmerge.frozen_classes import frozen
from graphmerge.testing.float_bytes import decode, encode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    import numpy as np
    from numpy.typing import NDArray

    from graphmerge.checkpoint.values import TensorEntry

_CHUNK_ELEMENTS = 1 << 20
"""Elements that a thread makes at a time: a few MiB, so that they stay in the cache."""


@frozen
class Chunk:
    """A range of the elements of a stored tensor."""

    entry: TensorEntry
    """The tensor."""
    start: int
    """First element, counted in the tensor."""
    count: int
    """Number of elements."""

    def offset(self, entry: TensorEntry) -> int:
        """Where this range begins in the file of a tensor, in bytes."""
        return entry.offset + self.start * entry.spec.dtype.bits // 8

    def read(self, entry: TensorEntry) -> NDArray[np.float32]:
        """The values of this range in another tensor of the same spec.

        Raises:
            InputError: the tensor is no float of 16 bits or more.
        """
        with entry.file.open("rb") as stream:
            stream.seek(self.offset(entry))
            data = stream.read(self.count * entry.spec.dtype.bits // 8)
        return decode(data, entry.spec.dtype)


def fill(entries: Iterable[TensorEntry], values: Callable[[Chunk], NDArray[np.float32]]) -> None:
    """Write the values of every element; `values` is called by several threads at once.

    Raises:
        InputError: a tensor is no float of 16 bits or more.
    """

    def write(chunk: Chunk) -> None:
        data = encode(values(chunk), chunk.entry.spec.dtype)
        with chunk.entry.file.open("r+b") as stream:
            stream.seek(chunk.offset(chunk.entry))
            stream.write(data.data)

    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        for _ in pool.map(write, _chunks(entries)):
            pass  # asking for the result raises what the thread raised


def _chunks(entries: Iterable[TensorEntry]) -> Iterator[Chunk]:
    for entry in entries:
        for start in range(0, entry.spec.numel, _CHUNK_ELEMENTS):
            yield Chunk(entry, start, min(_CHUNK_ELEMENTS, entry.spec.numel - start))
