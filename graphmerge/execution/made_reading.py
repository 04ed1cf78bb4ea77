"""Readers of tensors that are made while they are read."""

from __future__ import annotations

import threading
from functools import partial
from typing import TYPE_CHECKING

from graphmerge.execution.low_rank_reading import LowRankReader
from graphmerge.execution.row_reading import RowReader
from graphmerge.execution.stored_values import Readable
from graphmerge.ops import GatherRows, LoadTensor

if TYPE_CHECKING:
    from graphmerge.execution.reading import FileReader
    from graphmerge.graph import Node


class MadeReaders:
    """The readers of a run, each made when it is first needed."""

    def __init__(self, reader: FileReader) -> None:
        self._reader = reader
        self._made: dict[Node, RowReader | LowRankReader] = {}
        self._lock = threading.RLock()  # what is made may be made from what is made

    def of(self, node: Node) -> RowReader | LowRankReader:
        """The reader of a tensor that is gathered row by row, or has a product added."""
        with self._lock:
            if node not in self._made:
                inputs = tuple(self._readable(value) for value in node.inputs)
                kind = RowReader if isinstance(node.op, GatherRows) else LowRankReader
                self._made[node] = kind(node, inputs)
            return self._made[node]

    def _readable(self, node: Node) -> Readable:
        if isinstance(node.op, LoadTensor):
            return Readable(node.spec, partial(self._reader.read, node.op.entry))
        return Readable(node.spec, self.of(node).read)
