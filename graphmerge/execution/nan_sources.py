"""Which stored tensor it is that has NaN or infinity, where what is read is made from several."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graphmerge.execution.finite import is_finite
from graphmerge.execution.stored_bytes import pieces
from graphmerge.ops.low_rank import AddLowRank
from graphmerge.ops.sources import LoadTensor
from graphmerge.schedule.program import stored_inputs

if TYPE_CHECKING:
    from graphmerge.execution.reading import FileReader
    from graphmerge.graph import Node


def sources_of_nan(load: Node, reader: FileReader) -> tuple[LoadTensor, ...]:
    """The stored tensors by which a load has NaN or infinity.

    Factors of adapters are small and are looked through. What else is made in reading is made from
    its first stored tensor mostly, which takes the blame.

    Raises:
        CheckpointError: a file ends early.
        MachineError: a file cannot be read.
    """
    if not isinstance(load.op, AddLowRank):
        return (_stored(stored_inputs(load)[0]),)
    weight, *factors = load.inputs
    bad = [factor for factor in map(_stored, factors) if not _is_finite(factor, reader)]
    return tuple(bad) or sources_of_nan(weight, reader)


def _stored(node: Node) -> LoadTensor:
    assert isinstance(node.op, LoadTensor), "values of files are made from stored tensors"
    return node.op


def _is_finite(load: LoadTensor, reader: FileReader) -> bool:
    dtype = load.entry.spec.dtype
    return all(is_finite(piece, dtype) for _, piece in pieces(load.entry, reader))
