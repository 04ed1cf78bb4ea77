"""How a pass is cut into tiles, by the access patterns of its ops."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from graphmerge.graph import Access
from graphmerge.ops.blocks import BLOCK_ELEMENTS
from graphmerge.ops.sources import LoadTensor

if TYPE_CHECKING:
    from graphmerge.graph import Node
    from graphmerge.schedule.passes import Pass
    from graphmerge.schedule.program import Program

MOST_READ_ELEMENTS = 8 * BLOCK_ELEMENTS
"""Most elements of a tile whose inputs are read before it is worked on: they should stay in cache.
Where native code reads them itself, block by block, or they go elsewhere at once, a tile may be
larger."""
ROW_GROUP = 64
"""Tiles of rows are a multiple of this many rows."""


def tile_step(program: Program, numel: int) -> int:
    """What the tiles of a program must be a multiple of, in elements; the last one may be short.

    Elementwise ops take any number. Where an op looks at rows a tile is a whole number of rows, in
    groups that fill the vectors of any processor (a row's norm is the same then wherever the tiles
    are cut), and of numerics blocks, by which checksums and reductions go. Where an op looks at the
    whole tensor it is all of it.
    """
    nodes = [instruction.node for instruction in program.instructions]
    if any(node.op.access is Access.WHOLE for node in nodes):
        return max(numel, 1)
    rows = [row_elements(node) for node in nodes if looks_at_rows(node)]
    return math.lcm(BLOCK_ELEMENTS, *(ROW_GROUP * row for row in rows)) if rows else 1


def looks_at_rows(node: Node) -> bool:
    """Whether a node's op must have whole rows."""
    return node.op.access is Access.ROWS or node.op.row_wise


def row_elements(node: Node) -> int:
    """Elements of a row of a node's first input: its last axis; 1 for a single number."""
    shape = node.inputs[0].spec.shape
    return max(shape[-1], 1) if shape else 1


def tile_bytes(load: Node, part: Pass, elements: int) -> int:
    """Bytes of a load in a tile of this many elements.

    Where an op looks at whole tensors, they may be of other lengths than the result.
    """
    if load.spec.numel != part.numel and part.tile_step >= part.numel:
        return load.spec.nbytes
    return (load.spec.dtype.bits * elements + 7) // 8


def reads_itself(program: Program, load: Node) -> bool:
    """Whether native code reads a load from its file, block by block, when it works on a tile."""
    return program.reads_files and isinstance(load.op, LoadTensor)


def buffer_bytes(load: Node, part: Pass, elements: int, *, is_stack: bool) -> int:
    """Bytes of the buffer that a load is read into, if it does not go elsewhere at once.

    Args:
        load: What is read.
        part: The pass.
        elements: Those of a tile, or of small tensors that lie one behind the other.
        is_stack: Whether it is such tensors, which are read before native code is called.
    """
    if part.reads_in_place:
        return 0
    in_blocks = reads_itself(part.program, load) and not is_stack
    return tile_bytes(load, part, part.program.block_elements(elements) if in_blocks else elements)


def tile_shape(node: Node, elements: int) -> tuple[int, ...]:
    """Shape in which an op sees a tile of this many elements."""
    if node.op.access is Access.WHOLE:
        return node.inputs[0].spec.shape
    if looks_at_rows(node):
        row = row_elements(node)
        return (elements // row, row)
    return (elements,)
