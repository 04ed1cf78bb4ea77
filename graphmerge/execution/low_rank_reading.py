"""Reads tensors to which a low-rank product is added: any range of them, without the whole.

Every element is a sum over the ranks in rising order, by additions and multiplications that are
each rounded, so no byte depends on where tiles are cut. (A library's matrix product is not used:
the order of its sums depends on the shape that it is given.)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from graphmerge.execution.stored_values import NUMPY_DTYPES, tables
from graphmerge.ops.low_rank import LOW_RANK_ELEMENTS, AddLowRank, row_length

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from graphmerge.execution.reading import Bytes
    from graphmerge.execution.stored_values import Readable
    from graphmerge.graph import Node

    Product = Callable[[NDArray[Any], float], NDArray[Any]]


class LowRankReader:
    """Reads ranges of one adapted tensor; shared by all workers."""

    def __init__(self, node: Node, inputs: tuple[Readable, ...], *, native: bool) -> None:
        assert isinstance(node.op, AddLowRank)
        self._op = node.op
        self._number = NUMPY_DTYPES[node.spec.dtype]
        self._weight, self._a, self._b = inputs
        self._rank = self._a.spec.shape[0]
        self._columns = row_length(node.spec)
        self._native = native

    def read(self, start_element: int, buffer: Bytes) -> None:
        """Fill the buffer with the tensor's bytes from an element on.

        Raises:
            CheckpointError: a file ends early.
            MachineError: a file cannot be opened or read.
        """
        out = buffer.view(self._number)
        for first, last, begin, end, table in tables(out, start_element, self._columns):
            self._fill(first, last, begin, end, table)

    def _fill(self, first: int, last: int, begin: int, end: int, out: NDArray[Any]) -> None:
        """Rows [first, last), of each the columns [begin, end)."""
        width = end - begin
        product = _product(self._right(begin, end), native=self._native)
        step = max(1, LOW_RANK_ELEMENTS // width)
        for row in range(first, last, step):
            stop = min(row + step, last)
            part = out[row - first : stop - first]
            weight = self._weight.numbers(row * self._columns + begin, part.size)
            added = product(self._left(row, stop), self._op.scale)
            np.add(added[:, :width], weight.reshape(part.shape), out=part)

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
            together = LOW_RANK_ELEMENTS // self._columns if end - begin == self._columns else 1
            for rank in range(0, self._rank, max(together, 1)):
                part = right[rank : rank + max(together, 1)]
                numbers = self._a.numbers(rank * self._columns + begin, part.size)
                part[...] = numbers.reshape(part.shape)
            return right
        step = max(1, LOW_RANK_ELEMENTS // self._rank)
        for row in range(begin, end, step):
            stop = min(row + step, end)
            numbers = self._b.numbers(row * self._rank, (stop - row) * self._rank)
            right[:, row - begin : stop - begin] = numbers.reshape(-1, self._rank).T
        return right


def _product(right: NDArray[Any], *, native: bool) -> Product:
    """What multiplies rows by the right factor, and by a scale; the bytes are the same."""
    if native:
        from graphmerge.native.low_rank import NativeProduct  # noqa: PLC0415 - loads llvmlite

        return NativeProduct(right)

    def product(left: NDArray[Any], scale: float) -> NDArray[Any]:
        total = np.zeros((len(left), right.shape[1]), right.dtype)
        step = np.empty_like(total)
        for rank in range(len(right)):
            np.multiply(left[:, rank, None], right[rank], out=step)
            total += step
        total *= right.dtype.type(scale)
        return total

    return product
