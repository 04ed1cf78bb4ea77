"""Lay out a program in which ops go through whole rows: stage after stage, then all the rest.

A stage makes the result of one such op for a whole tile. Stages and the rest are programs of their
own, for which results of stages before are as loads.
"""

from __future__ import annotations

import math
from itertools import zip_longest
from typing import TYPE_CHECKING

from attrs import evolve

from graphmerge.frozen_classes import frozen
from graphmerge.graph import Access
from graphmerge.ops.arithmetic import Cast
from graphmerge.ops.blocks import BLOCK_ELEMENTS
from graphmerge.ops.importance import divergence_bytes
from graphmerge.ops.ranked import MASK_PADDING_BYTES, padded, ranking_bytes
from graphmerge.schedule.fusion import CHUNK_ELEMENTS, fused_layout
from graphmerge.schedule.program import compile_program, is_read, tensor_inputs
from graphmerge.schedule.tiling import row_elements

if TYPE_CHECKING:
    from collections.abc import Set

    from graphmerge.graph import Node
    from graphmerge.schedule.fusion import FusedLayout
    from graphmerge.schedule.program import Program
    from graphmerge.spec import DType

_ROW_RESULT_BYTES = 16
"""Of a row: its number and the result."""
_ROW_COMBINING_BYTES = 8
"""The number as an integer, when results are combined."""


@frozen(eq=False)
class Stage:
    """The result of one op for a tile."""

    node: Node
    """What is made: a mask of bytes, or what a reduction makes of each row."""
    values: tuple[Program, ...]
    """What it is made of, a program for each input: a native function, or a load."""

    @property
    def row(self) -> int:
        """Elements of a row."""
        return row_elements(self.node)

    @property
    def reduces(self) -> bool:
        """Whether the op is a reduction."""
        return self.node.op.access is Access.REDUCE

    @property
    def is_computed(self) -> tuple[bool, ...]:
        """Of which inputs the values are not a load's."""
        return tuple(bool(program.instructions) for program in self.values)

    @property
    def dtypes(self) -> tuple[DType, ...]:
        """Dtypes of the values."""
        nodes = (program.result_node for program in self.values)
        return tuple(node.spec.dtype for node in nodes if node)

    @property
    def is_one_function(self) -> bool:
        """Whether one native function does all of it, and reads the loads that it needs."""
        return self.reduces != any(self.is_computed)

    def block_elements(self, elements: int) -> int:
        """Elements of a tile that such a function reads and works on at a time: whole rows."""
        step = self.row if self.reduces else math.lcm(CHUNK_ELEMENTS, self.row)
        return min(elements, -(-BLOCK_ELEMENTS // step) * step)

    def values_bytes(self, elements: int) -> tuple[int, ...]:
        """What the computed values of a tile take, input by input; of a mask those of a block."""
        held = elements if self.reduces else self.block_elements(elements)
        pairs = zip(self.dtypes, self.is_computed, strict=True)
        return tuple(dtype.bits // 8 * held for dtype, computed in pairs if computed)

    def mask_bytes(self, elements: int) -> int:
        """What the mask of a tile takes, where the stage makes one."""
        return elements + MASK_PADDING_BYTES

    def partial_bytes(self, elements: int) -> int:
        """What the partial result of a tile takes."""
        return _ROW_RESULT_BYTES * (elements // self.row) if self.reduces else 0

    def combining_bytes(self, elements: int) -> int:
        """What combining it with those of other tiles takes."""
        return _ROW_COMBINING_BYTES * (elements // self.row) if self.reduces else 0

    def working_bytes(self, elements: int) -> int:
        """What native code takes to go through the rows of a tile."""
        if self.reduces:
            return divergence_bytes(self.row)
        if not self.is_one_function:
            return ranking_bytes(self.row, elements)
        block = self.block_elements(elements)
        return padded(block) + ranking_bytes(self.row, block)


@frozen(eq=False)
class Staged:
    """The stages of a program, and the rest."""

    stages: tuple[Stage, ...]
    """In an order in which inputs come before users."""
    rest: Program | None
    """Everything else, with the results of stages as loads; None if all results are those of
    stages."""
    layouts: tuple[FusedLayout | None, ...]
    """Those of stages and rest: programs that share them have the same code."""

    @property
    def reads_files(self) -> bool:
        """Whether loads are read where they are needed: at one place, by one native function."""
        return self.rest is None and len(self.stages) == 1 and self.stages[0].is_one_function

    def block_elements(self, elements: int) -> int:
        """Elements of a tile that are read at a time, if loads are read where they are needed."""
        return self.stages[0].block_elements(elements)

    @property
    def scratch_bytes(self) -> int:
        """The most that a native function needs; one runs at a time."""
        return max((layout.scratch_bytes for layout in self.layouts if layout), default=0)

    def rows_bytes(self, elements: int) -> int:
        """The same for going through the rows of a tile."""
        return max(stage.working_bytes(elements) for stage in self.stages)

    def values_bytes(self, elements: int) -> list[int]:
        """The most that computed values of a stage take: the first, the second, ..."""
        sizes = (stage.values_bytes(elements) for stage in self.stages)
        return [max(places) for places in zip_longest(*sizes, fillvalue=0)]

    def working_bytes(self, elements: int) -> int:
        """Masks and values of stages, scratch, partial results; each up to the next alignment."""
        results = [
            stage.partial_bytes(elements) if stage.reduces else stage.mask_bytes(elements)
            for stage in self.stages
        ]
        parts = (
            *results,
            self.rest_partial_bytes(elements),
            *self.values_bytes(elements),
            self.rows_bytes(elements),
        )
        return sum(size + MASK_PADDING_BYTES for size in (*parts, self.scratch_bytes))

    def rest_partial_bytes(self, elements: int) -> int:
        """Partial results of the rest."""
        fused = self.rest.fused if self.rest else None
        return fused.partial_bytes(elements) if fused else 0

    def combining_bytes(self, elements: int) -> int:
        """What combining partial results of a tile takes."""
        return sum(stage.combining_bytes(elements) for stage in self.stages)


def staged_layout(program: Program) -> Staged | None:
    """The stages of a program; None if it has none, or another op without native code."""
    rows = [item.node for item in program.instructions if _goes_through_rows(item.node)]
    if not rows:
        return None
    given = {load for load in program.loads if not is_read(load)}
    stages = []
    for node in rows:
        values = tuple(_values(node, value, given) for value in tensor_inputs(node))
        stages.append(Stage(node, values))
        given.add(node)
    rest = _rest(program, given)
    programs = [one for stage in stages for one in stage.values] + ([rest] if rest else [])
    if any(one.instructions and one.fused is None for one in programs):
        return None
    return Staged(tuple(stages), rest, tuple(one.fused for one in programs))


def _values(node: Node, value: Node, given: Set[Node]) -> Program:
    """The program of an input of a stage; a reduction takes loads of any float as they are."""
    source = value
    if node.op.access is Access.REDUCE and isinstance(value.op, Cast):
        (below,) = tensor_inputs(value)
        is_wider = value.spec.dtype.bits > below.spec.dtype.bits
        if below.spec.dtype.is_mergeable_float and is_wider and (is_read(below) or below in given):
            source = below
    program = compile_program((), source, given)
    return evolve(program, fused=fused_layout(program))


def _rest(program: Program, given: set[Node]) -> Program | None:
    """What is left once the results of all stages are there."""
    reductions = [
        item.node for item in program.instructions if item.output is None and item.node not in given
    ]
    result = None if program.result_node in given else program.result_node
    if result is None and not reductions:
        return None
    rest = compile_program(reductions, result, given)
    return evolve(rest, fused=fused_layout(rest))


def _goes_through_rows(node: Node) -> bool:
    needs = node.op.fusion(tuple(value.spec for value in node.inputs))
    return needs is not None and needs.whole_rows
