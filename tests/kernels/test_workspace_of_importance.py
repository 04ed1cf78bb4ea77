"""What the kernels of importance allocate is what their ops declare, for short rows and long."""

import tracemalloc

import numpy as np
import pytest
import torch

from graphmerge.kernels.importance import importance, row_divergence
from graphmerge.kernels.registry import ReducedTile, Tile
from graphmerge.ops.importance import Importance, RowDivergence
from graphmerge.spec import DType, TensorSpec

ELEMENTS = 2**19


def allocated(work):
    """The most that numpy had at one time, in bytes; torch's tensors are not counted."""
    work()  # whatever is made once in a process
    tracemalloc.start()
    work()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def divergence(row):
    x = torch.linspace(-1, 1, ELEMENTS)
    tile = ReducedTile([x, x.flip(0)], [], [], 0, (ELEMENTS // row, row))
    return RowDivergence(), lambda: row_divergence(None, tile)


def of_changes(row):
    op = Importance(row)
    x, scratch = torch.ones(ELEMENTS), [torch.empty(ELEMENTS)]
    factors = np.ones(ELEMENTS // row)
    tile = Tile([x], [factors], torch.empty(ELEMENTS), scratch, 0, (ELEMENTS,))
    return op, lambda: importance(op, tile)


@pytest.mark.parametrize("row", [1, 4, 64, 2048])
@pytest.mark.parametrize("kernel", [divergence, of_changes])
def test_kernels_allocate_what_their_ops_declare(kernel, row):
    op, work = kernel(row)
    spec = TensorSpec((ELEMENTS // row, row), DType.F32)
    needs = op.workspace((spec, spec))
    declared = needs.at(ELEMENTS)
    rounded_up = ELEMENTS * (32 % row > 0) + 16 * row  # a byte per element, and rows cut at edges
    assert declared - needs.fixed_bytes - rounded_up <= allocated(work) <= declared
