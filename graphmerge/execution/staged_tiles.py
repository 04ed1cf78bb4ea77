"""Run a program on tiles by stages: whole rows first, then one native function for the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graphmerge.execution.native_tiles import BoundCall
from graphmerge.execution.staged_rows import StageMemory, stage_tiles
from graphmerge.execution.tiles import TileOutcome

if TYPE_CHECKING:
    from collections.abc import Mapping

    from graphmerge.execution.buffers import Arena
    from graphmerge.execution.reading import Bytes
    from graphmerge.execution.tiles import TileTask
    from graphmerge.graph import Node
    from graphmerge.native import FilePlace
    from graphmerge.schedule.staging import Staged
    from graphmerge.statistics import Partial


class StagedTiles:
    """The functions of one program with the arguments of one unit, and their memory."""

    def __init__(self, task: TileTask, elements: int, arena: Arena) -> None:
        staged = _staged(task)
        values = tuple([arena.take(size) for size in staged.values_bytes(elements)])
        scratch = arena.take(staged.scratch_bytes)
        memory = StageMemory(values, scratch, arena.take(staged.rows_bytes(elements)), arena)
        self._stages = [stage_tiles(stage, task, elements, memory) for stage in staged.stages]
        self._output: Bytes | None = None
        self._rest: BoundCall | None = None
        if staged.rest is not None:
            if staged.rest.result_node is not None and task.room is None:
                size_bytes = elements * staged.rest.result_node.spec.dtype.bits // 8
                self._output = arena.take(size_bytes)
            self._rest = BoundCall(
                staged.rest,
                task.statistics,
                self._output,
                scratch,
                arena.take(staged.rest_partial_bytes(elements)),
                elements,
                looks=task.looks,
            )
        self.bind(task)

    def bind(self, task: TileTask) -> None:
        """Take the program of another unit of the same structure, with its arguments."""
        self._staged = staged = _staged(task)
        for stage, bound in zip(staged.stages, self._stages, strict=True):
            bound.bind(stage, task)
        if self._rest is not None and staged.rest is not None:
            self._rest.bind(staged.rest, task.statistics)

    def run(
        self, task: TileTask, stored: Mapping[Node, Bytes], files: Mapping[Node, FilePlace]
    ) -> TileOutcome:
        """Run the program on one tile; where some of it is in files, there is but one stage."""
        known = dict(stored)
        bad: list[Node] = []
        partials: dict[Node, Partial] = {}
        is_finite, output = True, None
        for stage, bound in zip(self._staged.stages, self._stages, strict=True):
            outcome = bound.run(task, known, files)
            if outcome.unread is not None:
                return outcome
            bad += outcome.not_finite
            partials |= outcome.partials
            if outcome.output is not None:
                known[stage.node] = outcome.output
        rest = self._staged.rest
        if self._rest is not None and rest is not None:
            room = None if rest.result_node is None else task.room
            outcome = self._rest.run(known, task.start, room=room)
            output = outcome.output
            partials |= outcome.partials
            bad += outcome.not_finite
            is_finite = outcome.is_finite
        if task.part.result in known and output is None:
            output = known[task.part.result]
        return TileOutcome(partials, output, tuple(dict.fromkeys(bad)), is_finite)


def _staged(task: TileTask) -> Staged:
    staged = task.part.program.staged
    assert staged is not None, "only programs with stages are run by stages"
    return staged
