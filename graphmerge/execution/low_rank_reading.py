"""Reads tensors to which a low-rank product is added: any range of them, without the whole.

Every element is a sum over the ranks in rising order, by additions and multiplications that are
each rounded, so no byte depends on where tiles are cut. (A library's matrix product is not used:
the order of its sums depends on the shape that it is given.)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from graphmerge.execution.stored_values import NUMPY_DTYPES, rectangles
from graphmerge.ops.low_rank import LOW_RANK_ELEMENTS, AddLowRank, row_length

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from graphmerge.execution.reading import Bytes
    from graphmerge.execution.stored_values import Readable
    from graphmerge.graph import Node


class LowRankReader:
    """Reads ranges of one adapted tensor; shared by all workers."""

    def __init__(self, node: Node, inputs: tuple[Readable, ...]) -> None:
        assert isinstance(node.op, AddLowRank)
        self._op = node.op
        self._number = NUMPY_DTYPES[node.spec.dtype]
        self._weight, self._a, self._b = inputs
        self._rank = self._a.spec.shape[0]
        self._columns = row_length(node.spec)

    def read(self, start_element: int, buffer: Bytes) -> None:
        """Fill the buffer with the tensor's bytes from an element on.

        Raises:
            CheckpointError: a file ends early.
            MachineError: a file cannot be opened or read.
        """
        out = buffer.view(self._number)
        stop_element = start_element + len(out)
        for first, last, begin, end in rectangles(start_element, stop_element, self._columns):
            elements = (last - first) * (end - begin)
            piece, out = out[:elements], out[elements:]
            self._fill(first, last, begin, end, piece.reshape(last - first, end - begin))

    def _fill(self, first: int, last: int, begin: int, end: int, out: NDArray[Any]) -> None:
        """Rows [first, last), of each the columns [begin, end)."""
        right = self._right(begin, end)
        step = max(1, LOW_RANK_ELEMENTS // (end - begin))
        product = np.empty((min(step, last - first), end - begin), self._number)
        for row in range(first, last, step):
            stop = min(row + step, last)
            part = out[row - first : stop - first]
            self._add(self._left(row, stop), right, part, product[: stop - row])
            start = row * self._columns + begin
            part += self._weight.numbers(start, part.size).reshape(part.shape)

    def _add(
        self,
        left: NDArray[Any],
        right: NDArray[Any],
        out: NDArray[Any],
        product: NDArray[Any],
    ) -> None:
        """The scaled product of (rows, rank) by (rank, columns)."""
        out[...] = 0
        for rank in range(self._rank):
            np.multiply(left[:, rank, None], right[rank], out=product)
            out += product
        out *= self._number(self._op.scale)

    def _left(self, first: int, last: int) -> NDArray[Any]:
        """Rows of the left factor: of B, or of A transposed. Shape (rows, rank)."""
        if not self._op.is_transposed:
            numbers = self._b.numbers(first * self._rank, (last - first) * self._rank)
            return numbers.astype(self._number, copy=False).reshape(-1, self._rank)
        left = np.empty((last - first, self._rank), self._number)
        for rank in range(self._rank):
            start = rank * self._a.spec.shape[1] + first
            left[:, rank] = self._a.numbers(start, last - first)
        return left

    def _right(self, begin: int, end: int) -> NDArray[Any]:
        """Columns of the right factor: of A, or of B transposed. Shape (rank, columns)."""
        right = np.empty((self._rank, end - begin), self._number)
        if not self._op.is_transposed:
            for rank in range(self._rank):
                right[rank] = self._a.numbers(rank * self._columns + begin, end - begin)
            return right
        step = max(1, LOW_RANK_ELEMENTS // self._rank)
        for row in range(begin, end, step):
            stop = min(row + step, end)
            numbers = self._b.numbers(row * self._rank, (stop - row) * self._rank)
            right[:, row - begin : stop - begin] = numbers.reshape(-1, self._rank).T
        return right
