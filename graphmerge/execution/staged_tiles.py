"""Run a program on tiles by stages: whole rows first, then one native function for the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graphmerge.execution.native_tiles import BoundCall
from graphmerge.execution.tiles import TileOutcome
from graphmerge.native import RankedRows
from graphmerge.ops import RankedMask
from graphmerge.ops.ranked import MASK_PADDING_BYTES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from graphmerge.execution.buffers import Arena
    from graphmerge.execution.reading import Bytes
    from graphmerge.execution.tiles import TileTask
    from graphmerge.graph import Node
    from graphmerge.schedule.staging import Staged
    from graphmerge.statistics import Partial


class StagedTiles:
    """The functions of one program with the arguments of one unit, and their memory."""

    def __init__(self, task: TileTask, elements: int, arena: Arena) -> None:
        self._staged = staged = _staged(task)
        self._masks = [arena.take(elements + MASK_PADDING_BYTES) for _ in staged.stages]
        self._made = [mask[:elements] for mask in self._masks]
        self._values = arena.take(4 * elements)
        scratch = arena.take(staged.scratch_bytes)
        ranking = arena.take(staged.ranking_bytes(elements))
        self._rows = [RankedRows(ranking) for _ in staged.stages]
        self._calls = [
            BoundCall(stage.values, task.statistics, self._values, scratch, elements)
            if stage.values.instructions
            else None
            for stage in staged.stages
        ]
        self._output: Bytes | None = None
        self._rest: BoundCall | None = None
        if staged.rest is not None:
            if staged.rest.result_node is not None:
                size_bytes = elements * staged.rest.result_node.spec.dtype.bits // 8
                self._output = arena.take(size_bytes)
            self._rest = BoundCall(staged.rest, task.statistics, self._output, scratch, elements)
        self.bind(task)

    def bind(self, task: TileTask) -> None:
        """Take the program of another unit of the same structure, with its arguments."""
        self._staged = staged = _staged(task)
        for stage, call, rows in zip(staged.stages, self._calls, self._rows, strict=True):
            assert isinstance(stage.node.op, RankedMask), "no other op goes through rows"
            rows.give(stage.node.op, stage.row)
            if call is not None:
                call.bind(stage.values, task.statistics)
        if self._rest is not None and staged.rest is not None:
            self._rest.bind(staged.rest, task.statistics)

    def run(self, task: TileTask, stored: Mapping[Node, Bytes]) -> TileOutcome:
        """Run the program on one tile.

        Raises:
            CheckpointError: inputs that must be identical differ.
        """
        known = dict(stored)
        bad: list[Node] = []
        parts = zip(self._staged.stages, self._calls, self._rows, strict=True)
        for number, (stage, call, rows) in enumerate(parts):
            values = self._values
            if call is None:
                values = known[stage.values.loads[0]]
            else:
                bad += call.run(known, task.start)[1]
            rows(values, self._masks[number], task.start)
            known[stage.node] = self._made[number]
        partials: Mapping[Node, Partial] = {}
        if self._rest is not None:
            partials, found = self._rest.run(known, task.start)
            bad += found
        output = self._output
        if task.part.result in known and output is None:
            output = known[task.part.result]
        return TileOutcome(partials, output, tuple(dict.fromkeys(bad)))


def _staged(task: TileTask) -> Staged:
    staged = task.part.program.staged
    assert staged is not None, "only programs with stages are run by stages"
    return staged
