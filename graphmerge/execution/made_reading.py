"""Readers of tensors that are made while they are read."""

from __future__ import annotations

import threading
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

from graphmerge.execution.dequantised_reading import DequantisingReader
from graphmerge.execution.low_rank_reading import LowRankReader
from graphmerge.execution.packed_reading import PackedReader
from graphmerge.execution.row_reading import RowReader
from graphmerge.execution.stored_values import Readable, stored
from graphmerge.ops.dequantise import Dequantise, DequantisePacked
from graphmerge.ops.low_rank import AddLowRank
from graphmerge.ops.rows import GatherRows
from graphmerge.ops.sources import LoadTensor

if TYPE_CHECKING:
    from collections.abc import Callable

    from graphmerge.execution.reading import FileReader
    from graphmerge.graph import Node, Op

Reader: TypeAlias = RowReader | LowRankReader | DequantisingReader | PackedReader


class MadeReaders:
    """The readers of a run.

    Those of gathered rows are kept, as they know a sum; of the others there would be as many as
    there are tensors, and they are made anew.
    """

    def __init__(self, reader: FileReader, *, native: bool) -> None:
        """Prepare.

        Args:
            reader: Reads what they are made from.
            native: Whether native code may be compiled for them; the bytes are the same.
        """
        self._reader = reader
        self._kinds: dict[type[Op], Callable[[Node, tuple[Readable, ...]], Reader]] = {
            GatherRows: RowReader,
            AddLowRank: partial(LowRankReader, native=native),
            Dequantise: DequantisingReader,
            DequantisePacked: PackedReader,
        }
        self._kept: dict[Node, Reader] = {}
        self._lock = threading.RLock()  # what is made may be made from what is made

    def of(self, node: Node) -> Reader:
        """The reader of a tensor that is made while it is read."""
        if not isinstance(node.op, GatherRows):
            return self._make(node)
        with self._lock:
            if node not in self._kept:
                self._kept[node] = self._make(node)
            return self._kept[node]

    def _make(self, node: Node) -> Reader:
        return self._kinds[type(node.op)](node, tuple(map(self._readable, node.inputs)))

    def _readable(self, node: Node) -> Readable:
        if isinstance(node.op, LoadTensor):
            return stored(node.op.entry, self._reader)
        return Readable(node.spec, self.of(node).read)
