"""Reads ranges of stored tensors into buffers, by pread."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeAlias

from graphmerge.checkpoint.access import machine_errors
from graphmerge.descriptors import DescriptorPool
from graphmerge.errors import CheckpointError, MachineError, Problem
from graphmerge.neighbours import neighbours

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np

    from graphmerge.checkpoint.values import TensorEntry

Bytes: TypeAlias = "np.ndarray[Any, np.dtype[np.uint8]]"


class FileReader:
    """Input files, shared by all workers, of which a bounded number is open at a time."""

    def __init__(self) -> None:
        self._files = DescriptorPool(os.O_RDONLY, machine_errors)

    def __enter__(self) -> FileReader:
        return self

    def __exit__(self, *raised: object) -> None:
        self._files.close()

    def read(self, entry: TensorEntry, start_element: int, buffer: Bytes) -> None:
        """Fill the buffer with a tensor's bytes from an element on; safe to call from many threads.

        Raises:
            CheckpointError: the file ends early.
            MachineError: the file cannot be opened or read.
        """
        position = _position(entry, start_element)
        view = buffer.data
        try:
            with self._files.borrow(entry.file) as (descriptor,):
                while view:
                    count = os.preadv(descriptor, [view], position)
                    if count == 0:
                        end = position + len(view)
                        what = f"the file ends before byte {end}, so it has changed"
                        raise CheckpointError(Problem(what, f"{entry.file}, tensor {entry.name}"))
                    view, position = view[count:], position + count
        except OSError as error:
            what = f"cannot read: {error.strerror}"
            raise MachineError(Problem(what, f"{entry.file}, tensor {entry.name}")) from error

    @contextmanager
    def places(
        self, entries: Sequence[TensorEntry], start_element: int
    ) -> Iterator[list[tuple[int, int]]]:
        """Descriptor and position of an element of every tensor; files stay open during the block.

        Raises:
            MachineError: a file cannot be opened.
        """
        with self._files.borrow(*(entry.file for entry in entries)) as descriptors:
            yield [
                (descriptor, _position(entry, start_element))
                for descriptor, entry in zip(descriptors, entries, strict=True)
            ]

    def read_whole(self, entries: Sequence[TensorEntry], buffer: Bytes) -> None:
        """Fill the buffer with tensors of one size, one behind the other, neighbours at once.

        Raises:
            CheckpointError: a file ends early.
            MachineError: a file cannot be opened or read.
        """
        size, view = entries[0].spec.nbytes, buffer.data
        places = [(entry.file, entry.offset) for entry in entries]
        for first, stop in neighbours(places, size):
            entry, wanted = entries[first], view[first * size : stop * size]
            if stop - first > 1 and self._read_at_once(entry, wanted):
                continue
            for number in range(first, stop):  # which says whose bytes cannot be read
                self.read(entries[number], 0, buffer[number * size : (number + 1) * size])

    def _read_at_once(self, entry: TensorEntry, wanted: memoryview) -> bool:
        """Whether as many bytes as wanted could be read from the beginning of a tensor on."""
        try:
            with self._files.borrow(entry.file) as (descriptor,):
                return os.preadv(descriptor, [wanted], entry.offset) == len(wanted)
        except OSError:
            return False


def _position(entry: TensorEntry, element: int) -> int:
    """Where in its file an element of a tensor begins."""
    return entry.offset + element * entry.spec.dtype.bits // 8
