"""The pool of memory for kept inputs and stored results."""

from __future__ import annotations

import mmap
import threading
from typing import TYPE_CHECKING

import numpy as np
from attrs import define

from graphmerge.arrays import address_of
from graphmerge.execution.buffers import anonymous_memory, ask_for_huge_pages, return_pages

if TYPE_CHECKING:
    from graphmerge.execution.reading import Bytes


@define(eq=False)
class _Piece:
    """Whole pages of a mapping, free or in use."""

    mapping: mmap.mmap
    start: int
    stop: int
    resident_bytes: int
    """How much of it holds memory, at most; the rest the kernel clears when it is used."""

    @property
    def size_bytes(self) -> int:
        """Its length."""
        return self.stop - self.start

    def left_resident_bytes(self, length: int) -> int:
        """What may hold memory of the piece without its first bytes."""
        return min(self.resident_bytes, self.size_bytes - length)

    def growth_bytes(self, length: int) -> int:
        """By how much more may hold memory once its first bytes are in use."""
        return length + self.left_resident_bytes(length) - self.resident_bytes

    def release(self, wanted_bytes: int) -> int:
        """Return pages of its end to the kernel, all if it is not known which hold memory.

        Args:
            wanted_bytes: How much is to be returned; less is if the piece has less.

        Returns:
            How many bytes do not hold memory any more.
        """
        released = self.resident_bytes
        start = self.start
        if released == self.size_bytes:
            released = min(released, _whole_pages(wanted_bytes))
            start = self.stop - released
        if released:
            return_pages(self.mapping, start, self.stop - start)
        self.resident_bytes -= released
        return released


class BufferPool:
    """Buffers of kept inputs and stored results.

    What is freed is used again, whole or in parts, which spares the kernel from clearing pages, as
    long as all that is held stays within the limit: beyond it, free pages go back to the kernel.
    """

    def __init__(self, limit_bytes: int) -> None:
        self.held_bytes = 0
        """Of buffers in use, and of free pieces that hold memory."""
        self._limit_bytes = limit_bytes
        self._free: list[_Piece] = []
        self._used: dict[int, _Piece] = {}
        self._lock = threading.Lock()

    def take(self, size_bytes: int) -> Bytes:
        """A buffer of this size."""
        length = _whole_pages(max(size_bytes, 1))
        with self._lock:
            piece = self._cut(length)
            buffer = np.frombuffer(piece.mapping, np.uint8, size_bytes, piece.start)
            self._used[address_of(buffer)] = piece
        return buffer

    def give(self, buffer: Bytes) -> None:
        """Take a buffer back; nobody may use it any more."""
        with self._lock:
            piece = self._used.pop(address_of(buffer))
            for other in [free for free in self._free if free.mapping is piece.mapping]:
                if other.stop == piece.start or other.start == piece.stop:
                    self._free.remove(other)
                    piece.start = min(piece.start, other.start)
                    piece.stop = max(piece.stop, other.stop)
                    piece.resident_bytes += other.resident_bytes
            self._free.append(piece)

    def _cut(self, length: int) -> _Piece:
        """So many bytes of a free piece, of a resident one if possible, or a new mapping."""
        enough = [piece for piece in self._free if piece.size_bytes >= length]
        if not enough:
            self._grow(length)
            return _Piece(anonymous_memory(length), 0, length, length)
        piece = min(enough, key=lambda piece: (piece.growth_bytes(length), piece.size_bytes))
        self._free.remove(piece)
        left, cut = piece.left_resident_bytes(length), piece.start + length
        if cut < piece.stop:
            self._free.append(_Piece(piece.mapping, cut, piece.stop, left))
        growth = piece.growth_bytes(length)
        self._grow(growth)
        if growth:
            ask_for_huge_pages(piece.mapping, piece.start, length)
        return _Piece(piece.mapping, piece.start, cut, length)

    def _grow(self, more_bytes: int) -> None:
        """Hold more; as many free pages go back to the kernel, those of large pieces first."""
        self.held_bytes += more_bytes
        for piece in sorted(self._free, key=lambda piece: piece.size_bytes, reverse=True):
            excess = self.held_bytes - self._limit_bytes
            if excess > 0:
                self.held_bytes -= piece.release(excess)
            if not piece.resident_bytes and piece.size_bytes == len(piece.mapping):
                self._free.remove(piece)


def _whole_pages(size_bytes: int) -> int:
    return -(-size_bytes // mmap.PAGESIZE) * mmap.PAGESIZE
