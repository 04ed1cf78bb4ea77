"""Ranges of tensors that are read, and what stored words mean."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from graphmerge.errors import CheckpointError, Problem
from graphmerge.execution.float8 import decode_float8
from graphmerge.frozen_classes import frozen
from graphmerge.spec import DType

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from graphmerge.checkpoint.values import TensorEntry
    from graphmerge.execution.reading import Bytes, FileReader
    from graphmerge.spec import TensorSpec

NUMPY_DTYPES = {DType.F16: np.float16, DType.F32: np.float32, DType.F64: np.float64}
"""Dtypes that numpy has."""
_FLOAT8 = (DType.F8_E4M3, DType.F8_E5M2, DType.F8_E8M0)


@frozen(eq=False)
class Readable:
    """A tensor that can be read in ranges: a stored one, or one that is made while it is read."""

    spec: TensorSpec
    """Its shape and dtype."""
    read: Callable[[int, Bytes], None]
    """Fills a buffer with the tensor's bytes from an element on; safe to call from many threads."""

    def numbers(self, start: int, count: int) -> NDArray[Any]:
        """Elements [start, start + count); those of bfloat16 and of 8 bits as float32."""
        buffer = np.empty(count * self.spec.dtype.bits // 8, np.uint8)
        self.read(start, buffer)
        return decoded(buffer.view(f"u{self.spec.dtype.bits // 8}"), self.spec.dtype)


def finite_numbers(entry: TensorEntry, reader: FileReader) -> NDArray[np.float64]:
    """All elements of a stored tensor.

    Raises:
        CheckpointError: some are NaN or infinite, and arithmetic would spread them.
        MachineError: the file cannot be read.
    """
    numbers = stored(entry, reader).numbers(0, entry.spec.numel).astype(np.float64)
    if not all_finite(numbers):
        where = f"{entry.file}, tensor {entry.name}"
        raise CheckpointError(Problem("the tensor has NaN or infinity", where))
    return numbers


def all_finite(numbers: NDArray[np.floating[Any]]) -> bool:
    """Whether no element is NaN or infinite."""
    with np.errstate(all="ignore"):
        total = numbers.sum()  # takes no memory, and is finite unless numbers are huge
    return math.isfinite(total) or bool(np.isfinite(numbers).all())


def stored(entry: TensorEntry, reader: FileReader) -> Readable:
    """A tensor of a file."""
    return Readable(entry.spec, partial(reader.read, entry))


def decoded(words: NDArray[Any], dtype: DType) -> NDArray[Any]:
    """Stored words as numbers; of bfloat16 and of 8 bits those of float32."""
    if dtype in _FLOAT8:
        numbers = np.empty(len(words), np.float32)
        decode_float8(words, dtype, numbers)
        return numbers
    if dtype is DType.BF16:
        return (words.astype(np.uint32) << 16).view(np.float32)
    return words.view(NUMPY_DTYPES[dtype])


def tables(
    out: NDArray[Any], start: int, width: int
) -> Iterator[tuple[int, int, int, int, NDArray[Any]]]:
    """Parts of a flat buffer as tables, with their rows and columns.

    Args:
        out: Elements from `start` on.
        start: Where the buffer starts in a tensor, in elements.
        width: Length of a row of the tensor.

    Yields:
        First row, last row, first column, last column (the last ones not included), and the part.
    """
    for first, last, begin, end in _rectangles(start, start + len(out), width):
        shape = (last - first, end - begin)
        piece, out = np.split(out, [shape[0] * shape[1]])
        yield first, last, begin, end, piece.reshape(shape)


def _rectangles(start: int, stop: int, width: int) -> Iterator[tuple[int, int, int, int]]:
    """Rows and columns of a flat range: the rest of a row, whole rows, the beginning of a row."""
    first, begin = divmod(start, width)
    last, end = divmod(stop, width)
    if begin and first == last:
        yield first, first + 1, begin, end
        return
    if begin:
        yield first, first + 1, begin, width
        first += 1
    if last > first:
        yield first, last, 0, width
    if end:
        yield last, last + 1, 0, end
