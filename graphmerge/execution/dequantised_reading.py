"""Reads tensors that are stored as codes and scales: any range of them, without the whole.

Every element is one product, rounded once, so no byte depends on where tiles are cut.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from graphmerge.execution.float8 import decode_float8
from graphmerge.execution.stored_values import tables
from graphmerge.ops.dequantise import DEQUANTISED_ELEMENTS, Dequantise
from graphmerge.statistics.quiet import QUIET

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from graphmerge.execution.reading import Bytes
    from graphmerge.execution.stored_values import Readable
    from graphmerge.graph import Node


class DequantisingReader:
    """Reads ranges of one tensor of codes; shared by all workers."""

    def __init__(self, node: Node, inputs: tuple[Readable, ...]) -> None:
        assert isinstance(node.op, Dequantise)
        self._op = node.op
        self._codes, self._scales = inputs
        self._rows, self._columns = node.spec.shape[-2:]
        self._row_blocks, self._column_blocks = node.op.blocks(self._codes.spec)

    @QUIET
    def read(self, start_element: int, buffer: Bytes) -> None:
        """Fill the buffer with the tensor's bytes from an element on.

        Raises:
            CheckpointError: a file ends early.
            MachineError: a file cannot be opened or read.
        """
        out = buffer.view(np.float32)
        for first, last, begin, end, table in tables(out, start_element, self._columns):
            step = max(1, DEQUANTISED_ELEMENTS // (end - begin))
            for row in range(first, last, step):
                part = table[row - first : row - first + step]
                self._decode(row, begin, part.reshape(-1))
                self._scale(row, begin, part)

    def _decode(self, row: int, begin: int, out: NDArray[np.float32]) -> None:
        codes = np.empty(len(out), np.uint8)
        self._codes.read(row * self._columns + begin, codes)
        decode_float8(codes, self._codes.spec.dtype, out)

    def _scale(self, first: int, begin: int, out: NDArray[np.float32]) -> None:
        """Multiply rows from `first` on, of each the columns from `begin` on, by their scales."""
        blocks = self._blocks_of(first + np.arange(len(out)))
        lowest, highest = int(blocks[0]), int(blocks[-1])
        count = (highest - lowest + 1) * self._column_blocks
        numbers = self._scales.numbers(lowest * self._column_blocks, count)
        scales = numbers.astype(np.float32, copy=False).reshape(-1, self._column_blocks)
        if self._column_blocks == 1:
            out *= scales[blocks - lowest]
            return
        columns = np.arange(begin, begin + out.shape[1]) // self._op.block_columns
        edges = [0, *(np.flatnonzero(np.diff(blocks)) + 1).tolist(), len(out)]
        for number, (start, stop) in enumerate(pairwise(edges)):
            out[start:stop] *= scales[number, columns]

    def _blocks_of(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """The row of the scales that belongs to rows of the codes, counted over all matrices."""
        matrix = rows // self._rows
        within = rows - matrix * self._rows
        return matrix * self._row_blocks + within // self._op.block_rows
