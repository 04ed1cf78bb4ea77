"""Writes tensors at their final offsets: any order, any thread, no shard ever in memory."""

from __future__ import annotations

import errno
import os
import sys
import threading
from typing import TYPE_CHECKING, Any

from graphmerge.descriptors import DescriptorPool
from graphmerge.neighbours import neighbours
from graphmerge.output.buffers import byte_view
from graphmerge.output.failures import write_errors
from graphmerge.units import format_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from graphmerge.output.layout import ShardLayout, TensorSlot

_UNSUPPORTED = frozenset({errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL})
"""Answers of file systems that cannot reserve space; EINVAL is the one that POSIX names."""


class ShardWriter:
    """The shard files of one output, sized and headed on entry and then filled by `write`.

    Files that a killed run left are opened as they are: the bytes of its finished tensors stay.
    """

    def __init__(self, folder: Path, layout: ShardLayout) -> None:
        self._layout = layout
        self._paths = [folder / shard.file_name for shard in layout.shards]
        self._files = DescriptorPool(os.O_RDWR | os.O_CREAT, write_errors)
        self._turns = [threading.Lock() for _ in self._paths]
        self._unsynced: set[int] = set()

    def __enter__(self) -> ShardWriter:
        """Reserve the space of all files and write their headers.

        Raises:
            MachineError: the disk has too little space, or a file cannot be created.
        """
        try:
            for number in range(len(self._paths)):
                self._create(number)
        except BaseException:
            self._files.close()
            raise
        return self

    def __exit__(self, *raised: object) -> None:
        self._files.close()

    def write(self, slot: TensorSlot, start_byte: int, data: memoryview | NDArray[Any]) -> None:
        """Write a contiguous piece of a tensor; safe to call from many threads.

        Args:
            slot: Place of the tensor.
            start_byte: Where the piece starts, counted from the start of the tensor.
            data: The bytes, a C-contiguous array of any type and shape.

        Raises:
            MachineError: the file system refused the write.
            ValueError: the piece reaches outside the tensor.
        """
        if start_byte < 0 or start_byte + data.nbytes > slot.spec.nbytes:
            raise ValueError(
                f"bytes {start_byte} to {start_byte + data.nbytes} reach outside {slot.name}, "
                f"which has {format_bytes(slot.spec.nbytes)}"
            )
        self._write(slot.shard, slot.offset + start_byte, byte_view(data))

    def write_whole(self, slots: Sequence[TensorSlot], data: NDArray[Any]) -> None:
        """Write tensors of one size that lie one behind the other, neighbours at once.

        Args:
            slots: Their places.
            data: The bytes of all of them, a C-contiguous array.

        Raises:
            MachineError: the file system refused the write.
            ValueError: the bytes are not those of the tensors.
        """
        size, view = slots[0].spec.nbytes, byte_view(data)
        if any(slot.spec.nbytes != size for slot in slots) or size * len(slots) != len(view):
            raise ValueError(f"{len(view)} bytes are not {len(slots)} tensors of {size} bytes")
        places = [(slot.shard, slot.offset) for slot in slots]
        for first, stop in neighbours(places, size):
            self._write(*places[first], view[first * size : stop * size])

    def fsync_all(self) -> None:
        """Wait until all writes so far are on the disk itself, not just in the page cache.

        Raises:
            MachineError: the disk failed.
        """
        while self._unsynced:
            number = self._unsynced.pop()
            path = self._paths[number]
            with self._files.borrow(path) as (descriptor,), write_errors(path):
                os.fsync(descriptor)

    def _create(self, number: int) -> None:
        shard, path = self._layout.shards[number], self._paths[number]
        if shard.component.folder:
            with write_errors(path.parent):
                path.parent.mkdir(exist_ok=True)
        with (
            self._files.borrow(path) as (descriptor,),
            write_errors(path, needed_bytes=shard.size_bytes),
        ):
            _reserve(descriptor, shard.size_bytes)
        self._write(number, 0, memoryview(shard.header))

    def _write(self, number: int, position: int, view: memoryview) -> None:
        path = self._paths[number]
        with (
            self._files.borrow(path) as (descriptor,),
            write_errors(path, needed_bytes=view.nbytes),
            # file systems let one thread at a time write to a file, and one that waits for its turn
            # in the kernel burns its core: measured 13% of the CPU time of a linear merge
            self._turns[number],
        ):
            while view:
                written = os.pwrite(descriptor, view, position)
                view, position = view[written:], position + written
        self._unsynced.add(number)


def _reserve(descriptor: int, size_bytes: int) -> None:
    """Give the file its final size, with the space set aside where the file system can do that.

    Raises:
        OSError: there is too little space.
    """
    if os.fstat(descriptor).st_size >= size_bytes:
        return
    if sys.platform == "linux":
        try:
            os.posix_fallocate(descriptor, 0, size_bytes)
        except OSError as error:
            if error.errno not in _UNSUPPORTED:
                raise
        else:
            return
    os.ftruncate(descriptor, size_bytes)
