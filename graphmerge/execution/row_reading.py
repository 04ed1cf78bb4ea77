"""Read gathered rows: a range of a tensor whose rows lie anywhere in the stored ones.

Rows that follow each other are read as one range. What is computed is float64, rounded once, and
goes by fixed numbers of rows, so that no byte depends on where tiles are cut.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import numpy as np

from graphmerge.execution.stored_values import NUMPY_DTYPES, decoded, tables
from graphmerge.ops.rows import COMBINED_ROW, GATHER_ELEMENTS, ZERO_ROW, GatherRows

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from graphmerge.execution.reading import Bytes
    from graphmerge.execution.stored_values import Readable
    from graphmerge.graph import Node
    from graphmerge.ops.rows import RowMap

_SHORT_RUN_BYTES = 4096
"""Runs that are shorter than this on average are read together with what lies between them."""


class RowReader:
    """Reads ranges of one gathered tensor; shared by all workers."""

    def __init__(self, node: Node, inputs: tuple[Readable, ...]) -> None:
        assert isinstance(node.op, GatherRows)
        self._rows: RowMap = node.op.rows
        self._dtype = node.spec.dtype
        self._row_elements = node.spec.numel // max(self._rows.rows, 1)
        self._entries = inputs
        self._mean: NDArray[np.float64] | None = None
        self._lock = threading.Lock()

    def read(self, start_element: int, buffer: Bytes) -> None:
        """Fill the buffer with the tensor's bytes from an element on.

        Raises:
            CheckpointError: a file ends early.
            MachineError: a file cannot be opened or read.
        """
        words = buffer.view(f"u{self._dtype.bits // 8}")
        for first, last, begin, end, table in tables(words, start_element, self._row_elements):
            self._fill(first, last, begin, end, table.view(np.uint8))

    def _fill(self, first: int, last: int, begin: int, end: int, out: Bytes) -> None:
        """Rows [first, last), of each the columns [begin, end)."""
        real = min(last, len(self._rows.source))
        if real > first:
            self._fill_real(first, real, begin, end, out[: real - first])
        if last > real:
            padding = self._round(self._padding_row()[begin:end])
            out[max(real - first, 0) :] = padding.view(np.uint8)

    def _fill_real(self, first: int, last: int, begin: int, end: int, out: Bytes) -> None:
        source, row = self._rows.source[first:last], self._rows.row[first:last]
        if source.min() < 0:
            out[source == ZERO_ROW] = 0
            self._combine(row, np.flatnonzero(source == COMBINED_ROW), begin, end, out)
        for number, entry in enumerate(self._entries):
            places = np.flatnonzero(source == number)
            if len(places) and not self._copy_runs(entry, row[places], places, begin, end, out):
                self._copy_scattered(entry, row[places], places, begin, end, out)

    def _copy_runs(
        self,
        entry: Readable,
        rows: NDArray[np.int64],
        places: NDArray[np.int64],
        begin: int,
        end: int,
        out: Bytes,
    ) -> bool:
        """Read rows that follow each other right into their places; False where few do."""
        is_partial = end - begin < self._row_elements and len(rows) > 1
        if entry.spec.dtype is not self._dtype or is_partial:
            return False
        breaks = np.flatnonzero((np.diff(rows) != 1) | (np.diff(places) != 1)) + 1
        starts, stops = np.append(0, breaks), np.append(breaks, len(rows))
        if len(starts) > 1 and out.shape[1] * len(rows) < _SHORT_RUN_BYTES * len(starts):
            return False
        for start, stop in zip(starts.tolist(), stops.tolist(), strict=True):
            target = out[places[start] : places[start] + stop - start].reshape(-1)
            entry.read(int(rows[start]) * self._row_elements + begin, target)
        return True

    def _copy_scattered(
        self,
        entry: Readable,
        rows: NDArray[np.int64],
        places: NDArray[np.int64],
        begin: int,
        end: int,
        out: Bytes,
    ) -> None:
        for chosen, words in self._scattered(entry, rows, begin, end):
            if entry.spec.dtype is not self._dtype:
                words = self._round(decoded(words, entry.spec.dtype))
            out[places[chosen]] = np.ascontiguousarray(words).view(np.uint8)

    def _combine(
        self, number: NDArray[np.int64], places: NDArray[np.int64], begin: int, end: int, out: Bytes
    ) -> None:
        """Weighted sums of rows into their places, each sum in the order of its entries."""
        starts = self._rows.combinations.starts
        step = max(1, GATHER_ELEMENTS // max(end - begin, 1))
        for some in (places[at : at + step] for at in range(0, len(places), step)):
            begins, counts = starts[number[some]], np.diff(starts)[number[some]]
            total = np.zeros((len(some), end - begin))
            for position in range(int(counts.max())):
                has_more = np.flatnonzero(counts > position)
                self._add(total, has_more, begins[has_more] + position, begin, end)
            out[some] = self._round(total).view(np.uint8)

    def _add(
        self,
        total: NDArray[np.float64],
        which: NDArray[np.int64],
        entries: NDArray[np.int64],
        begin: int,
        end: int,
    ) -> None:
        """Add one entry to each of some sums."""
        sums = self._rows.combinations
        for number, entry in enumerate(self._entries):
            mine = np.flatnonzero(sums.source[entries] == number)
            rows = sums.row[entries[mine]]
            for chosen, words in self._scattered(entry, rows, begin, end):
                weight = sums.weight[entries[mine[chosen]]][:, None]
                total[which[mine[chosen]]] += weight * decoded(words, entry.spec.dtype)

    def _scattered(
        self, entry: Readable, rows: NDArray[np.int64], begin: int, end: int
    ) -> Iterator[tuple[NDArray[np.int64], NDArray[Any]]]:
        """Columns [begin, end) of rows that lie anywhere, a few at a time: which, and words."""
        order = np.argsort(rows, kind="stable")
        for part in self._windows(rows[order], entry.spec.dtype.bits // 8):
            yield order[part], self._stored(entry, rows[order[part]], begin, end)

    def _windows(self, rows: NDArray[np.int64], size: int) -> Iterator[slice]:
        """Slices of sorted rows, each of which lies in a stretch that is read at once."""
        most = max(1, GATHER_ELEMENTS // max(self._row_elements, 1))
        gap = 1 + _SHORT_RUN_BYTES // max(self._row_elements * size, 1)
        start = 0
        far = np.append(np.flatnonzero(np.diff(rows) > gap) + 1, len(rows))
        while start < len(rows):
            within = int(np.searchsorted(rows, rows[start] + most))
            stop = min(within, int(far[np.searchsorted(far, start, side="right")]))
            yield slice(start, stop)
            start = stop

    def _stored(
        self, entry: Readable, rows: NDArray[np.int64], begin: int, end: int
    ) -> NDArray[Any]:
        """Sorted rows as words of their size, columns [begin, end)."""
        first, last = int(rows[0]), int(rows[-1]) + 1
        size = entry.spec.dtype.bits // 8
        if len(rows) == 1:
            buffer = np.empty((end - begin) * size, np.uint8)
            entry.read(first * self._row_elements + begin, buffer)
            return buffer.view(f"u{size}").reshape(1, -1)
        buffer = np.empty((last - first) * self._row_elements * size, np.uint8)
        entry.read(first * self._row_elements, buffer)
        table = buffer.view(f"u{size}").reshape(last - first, self._row_elements)
        is_dense = bool(np.all(np.diff(rows) == 1))
        return table[:, begin:end] if is_dense else table[rows - first, begin:end]

    def _padding_row(self) -> NDArray[np.float64]:
        """The mean of all rows: added up once, chunk by chunk from the first row on."""
        with self._lock:
            if self._mean is None:
                self._mean = self._sum_of_rows() / max(len(self._rows.source), 1)
            return self._mean

    def _sum_of_rows(self) -> NDArray[np.float64]:
        total = np.zeros(self._row_elements)
        step = max(1, GATHER_ELEMENTS // max(self._row_elements, 1))
        size, count = self._dtype.bits // 8, len(self._rows.source)
        for first in range(0, count, step):
            last = min(first + step, count)
            buffer = np.empty((last - first, self._row_elements * size), np.uint8)
            self._fill_real(first, last, 0, self._row_elements, buffer)
            total += buffer.view(NUMPY_DTYPES[self._dtype]).sum(axis=0, dtype=np.float64)
        return total

    def _round(self, values: NDArray[Any]) -> NDArray[Any]:
        return values.astype(NUMPY_DTYPES[self._dtype], copy=False)
