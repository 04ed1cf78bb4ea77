"""Lay out a program in which ops go through whole rows: stage after stage, then all the rest.

A stage makes the result of one such op for a whole tile. Stages and the rest are programs of their
own, for which results of stages before are as loads.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import evolve, frozen

from graphmerge.ops.ranked import MASK_PADDING_BYTES, ranking_bytes
from graphmerge.schedule.fusion import fused_layout
from graphmerge.schedule.program import compile_program, is_read, tensor_inputs

if TYPE_CHECKING:
    from graphmerge.graph import Node
    from graphmerge.schedule.fusion import FusedLayout
    from graphmerge.schedule.program import Program


@frozen(eq=False)
class Stage:
    """The result of one op for a tile."""

    node: Node
    """What is made: a mask of bytes, of rows of float32."""
    values: Program
    """What it is made of: a native function, or a load."""

    @property
    def row(self) -> int:
        """Elements of a row."""
        shape = self.node.spec.shape
        return shape[-1] if shape else 1


@frozen(eq=False)
class Staged:
    """The stages of a program, and the rest."""

    stages: tuple[Stage, ...]
    """In an order in which inputs come before users."""
    rest: Program | None
    """Everything else, with the results of stages as loads; None if the result is a stage's."""
    layouts: tuple[FusedLayout | None, ...]
    """Those of stages and rest: programs that share them have the same code."""

    @property
    def scratch_bytes(self) -> int:
        """The most that a native function needs; one runs at a time."""
        return max((layout.scratch_bytes for layout in self.layouts if layout), default=0)

    def ranking_bytes(self, elements: int) -> int:
        """The same for going through the rows of a tile."""
        return max(ranking_bytes(stage.row, elements) for stage in self.stages)

    def working_bytes(self, elements: int) -> int:
        """Results and values of stages and scratch, each with room up to the next alignment."""
        results = len(self.stages) * (elements + 2 * MASK_PADDING_BYTES)
        values = 4 * elements + MASK_PADDING_BYTES
        scratch = self.scratch_bytes + self.ranking_bytes(elements) + 2 * MASK_PADDING_BYTES
        return results + values + scratch


def staged_layout(program: Program) -> Staged | None:
    """The stages of a program; None if it has none, or another op without native code."""
    rows = [item.node for item in program.instructions if _goes_through_rows(item.node)]
    if not rows:
        return None
    given = {load for load in program.loads if not is_read(load)}
    stages = []
    for node in rows:
        (made_of,) = tensor_inputs(node)
        values = compile_program((), made_of, given)
        stages.append(Stage(node, evolve(values, fused=fused_layout(values))))
        given.add(node)
    rest = _rest(program, given)
    programs = [stage.values for stage in stages] + ([rest] if rest else [])
    if any(one.instructions and one.fused is None for one in programs):
        return None
    return Staged(tuple(stages), rest, tuple(one.fused for one in programs))


def _rest(program: Program, given: set[Node]) -> Program | None:
    """What is left once the results of all stages are there."""
    reductions = [item.node for item in program.instructions if item.output is None]
    result = None if program.result_node in given else program.result_node
    if result is None and not reductions:
        return None
    rest = compile_program(reductions, result, given)
    return evolve(rest, fused=fused_layout(rest))


def _goes_through_rows(node: Node) -> bool:
    needs = node.op.fusion(tuple(value.spec for value in node.inputs))
    return needs is not None and needs.whole_rows
