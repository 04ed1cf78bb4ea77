"""Reads tensors that are stored as packed 4-bit codes, transposed: any range of them.

A row of the result is a code of every stored row. So stored rows are read whole, some at a time,
and what is needed of each is decoded. What is read again for the next tile is in the page cache.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from graphmerge.checkpoint.packed_weights import BLOCK_BYTES
from graphmerge.execution.float8 import decode_float8
from graphmerge.execution.stored_values import tables
from graphmerge.ops.dequantise import (
    PACKED_DECODED_BYTES,
    PACKED_READ_BYTES,
    DequantisePacked,
)
from graphmerge.spec import DType
from graphmerge.statistics.quiet import QUIET

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from graphmerge.execution.reading import Bytes
    from graphmerge.execution.stored_values import Readable
    from graphmerge.graph import Node

_CODES = 2 * BLOCK_BYTES
_MOST_BLOCKS = 8
"""Blocks of a row that are decoded at a time."""
_SIZES = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6], np.float32)
_VALUES = np.concatenate([_SIZES, -_SIZES])
_PAIRS = np.stack([np.tile(_VALUES, 16), np.repeat(_VALUES, 16)], axis=1).view(np.uint64).ravel()
"""The two numbers of every byte, that of its lower half first. Shape (256,)."""


class PackedReader:
    """Reads ranges of one packed tensor; shared by all workers."""

    def __init__(self, node: Node, inputs: tuple[Readable, ...]) -> None:
        assert isinstance(node.op, DequantisePacked)
        self._codes, self._scales = inputs
        _, self._rows, self._blocks = self._scales.spec.shape
        self._columns = _CODES * self._blocks
        self._step = min(
            PACKED_READ_BYTES // (BLOCK_BYTES * self._blocks),
            PACKED_DECODED_BYTES // (BLOCK_BYTES * min(self._blocks, _MOST_BLOCKS)),
        )

    @QUIET
    def read(self, start_element: int, buffer: Bytes) -> None:
        """Fill the buffer with the tensor's bytes from an element on.

        Raises:
            CheckpointError: a file ends early.
            MachineError: a file cannot be opened or read.
        """
        out = buffer.view(np.float32)
        for first, last, begin, end, table in tables(out, start_element, self._rows):
            self._fill(first, last, begin, end, table)

    def _fill(self, first: int, last: int, begin: int, end: int, out: NDArray[np.float32]) -> None:
        """Columns of the stored matrices [first, last), counted over all, of rows [begin, end)."""
        column = first
        while column < last:
            matrix, within = divmod(column, self._columns)
            most = (within // _CODES + _MOST_BLOCKS) * _CODES
            stop = min(last - column + within, self._columns, most)
            part = out[column - first : column - first + stop - within]
            for row in range(begin, end, max(1, self._step)):
                count = min(max(1, self._step), end - row)
                piece = part[:, row - begin : row - begin + count]
                self._decode(matrix * self._rows + row, within, stop, piece)
            column += stop - within

    def _decode(self, row: int, start: int, stop: int, out: NDArray[np.float32]) -> None:
        """Columns [start, stop) of one stored matrix, of as many rows as `out` has columns."""
        rows = out.shape[1]
        first, last = start // _CODES, -(-stop // _CODES)
        stored = np.empty((rows, self._blocks, BLOCK_BYTES), np.uint8)
        self._codes.read(row * self._blocks * BLOCK_BYTES, stored.reshape(-1))
        exponents = np.empty((rows, self._blocks), np.uint8)
        self._scales.read(row * self._blocks, exponents.reshape(-1))
        wanted = np.ascontiguousarray(exponents[:, first:last]).reshape(-1)
        scales = np.empty(len(wanted), np.float32)
        decode_float8(wanted, DType.F8_E8M0, scales)
        codes = np.ascontiguousarray(stored[:, first:last])
        numbers = np.take(_PAIRS, codes).view(np.float32).reshape(len(scales), _CODES)
        numbers *= scales[:, None]
        table = numbers.reshape(rows, -1)
        out[...] = table[:, start - first * _CODES : stop - first * _CODES].T
