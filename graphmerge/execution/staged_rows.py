"""Run a stage of a program, which goes through whole rows, on tiles."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from graphmerge.execution.native_tiles import BoundCall
from graphmerge.execution.tiles import TileOutcome
from graphmerge.frozen_classes import frozen
from graphmerge.native import DivergentRows, RankedRows, Ranking
from graphmerge.ops.ranked import RankedMask, padded
from graphmerge.spec import DType

if TYPE_CHECKING:
    from collections.abc import Mapping

    from graphmerge.execution.buffers import Arena
    from graphmerge.execution.reading import Bytes
    from graphmerge.execution.tiles import TileTask
    from graphmerge.graph import Node
    from graphmerge.native import FilePlace
    from graphmerge.schedule.staging import Stage


@frozen(eq=False)
class StageMemory:
    """Memory that the stages of a program use one after the other, and where there is more."""

    values: tuple[Bytes, ...]
    """For the computed inputs of a stage: the first, the second, ..."""
    scratch: Bytes
    """For a native function."""
    rows: Bytes
    """For going through rows."""
    arena: Arena
    """For masks and partial results."""


class StageTiles(Protocol):
    """Runs one stage on tiles of one length."""

    def bind(self, stage: Stage, task: TileTask) -> None:
        """Take a stage of the same structure."""

    def run(
        self, task: TileTask, known: Mapping[Node, Bytes], files: Mapping[Node, FilePlace]
    ) -> TileOutcome:
        """Run it on a tile.

        Args:
            task: The tile.
            known: Loads, results of stages before, and room for what is in files.
            files: As in `Tiles.run`.

        Raises:
            CheckpointError: inputs that must be identical differ.
        """


def stage_tiles(stage: Stage, task: TileTask, elements: int, memory: StageMemory) -> StageTiles:
    """What runs a stage on tiles of so many elements."""
    if stage.reduces:
        return _Divergences(stage, task, elements, memory)
    if stage.is_one_function:
        return _Masks(stage, task, elements, memory)
    return _MasksOfLoads(stage, elements, memory)


class _Masks:
    """Makes masks by the ranks of rows of what a native function computes, block by block."""

    def __init__(self, stage: Stage, task: TileTask, elements: int, memory: StageMemory) -> None:
        block_elements = stage.block_elements(elements)
        mask, rest = memory.rows[: padded(block_elements)], memory.rows[padded(block_elements) :]
        self._ranking = Ranking(rest, block_elements)
        self._is_result = stage.node is task.part.result
        has_room = self._is_result and task.room is not None
        made = None if has_room else memory.arena.take(elements)
        self._call = BoundCall(
            stage.values[0],
            task.statistics,
            made,
            memory.scratch,
            memory.arena.take(0),
            elements,
            looks=task.looks,
            ranking=(memory.values[0], mask, *self._ranking.arrays),
        )

    def bind(self, stage: Stage, task: TileTask) -> None:
        """Take a stage of the same structure."""
        self._ranking.give(_op(stage), stage.row)
        self._call.bind(stage.values[0], task.statistics)

    def run(
        self, task: TileTask, known: Mapping[Node, Bytes], files: Mapping[Node, FilePlace]
    ) -> TileOutcome:
        """The mask of a tile."""
        room = task.room if self._is_result else None
        return self._call.run(known, task.start, files, room)


class _MasksOfLoads:
    """Makes masks by the ranks of rows of what is in memory."""

    def __init__(self, stage: Stage, elements: int, memory: StageMemory) -> None:
        self._mask = memory.arena.take(stage.mask_bytes(elements))
        self._made = self._mask[:elements]
        self._rows = RankedRows(memory.rows, elements)

    def bind(self, stage: Stage, task: TileTask) -> None:
        """Take a stage of the same structure."""
        self._rows.give(_op(stage), stage.row)
        (self._load,) = stage.values[0].loads

    def run(
        self, task: TileTask, known: Mapping[Node, Bytes], files: Mapping[Node, FilePlace]
    ) -> TileOutcome:
        """The mask of a tile."""
        self._rows(known[self._load], self._mask, task.start)
        return TileOutcome({}, self._made, ())


class _Divergences:
    """Takes the divergences of rows."""

    def __init__(self, stage: Stage, task: TileTask, elements: int, memory: StageMemory) -> None:
        left = iter(memory.values)
        self._made = [next(left) if computed else None for computed in stage.is_computed]
        self._calls = [
            BoundCall(
                program,
                task.statistics,
                made,
                memory.scratch,
                memory.arena.take(0),
                elements,
                looks=task.looks,
            )
            if made is not None
            else None
            for program, made in zip(stage.values, self._made, strict=True)
        ]
        self._rows = DivergentRows(
            stage.dtypes,
            stage.row,
            memory.arena.take(stage.partial_bytes(elements)),
            memory.rows,
            rows_at_once=stage.block_elements(elements) // stage.row,
            single=stage.node.inputs[0].spec.dtype is DType.F32,
        )

    def bind(self, stage: Stage, task: TileTask) -> None:
        """Take a stage of the same structure."""
        self._stage = stage
        for program, call in zip(stage.values, self._calls, strict=True):
            if call is not None:
                call.bind(program, task.statistics)

    def run(
        self, task: TileTask, known: Mapping[Node, Bytes], files: Mapping[Node, FilePlace]
    ) -> TileOutcome:
        """The divergences of a tile."""
        bad: list[Node] = []
        values: list[Bytes] = []
        places: list[FilePlace | None] = []
        for program, call, made in zip(self._stage.values, self._calls, self._made, strict=True):
            if call is not None and made is not None:
                bad += call.run(known, task.start).not_finite
                values.append(made)
                places.append(None)
            else:
                values.append(known[program.loads[0]])
                places.append(files.get(program.loads[0]))
        outcome = self._rows(values, task.start, places)
        if outcome.unread is not None:
            return TileOutcome({}, None, (), unread=self._stage.values[outcome.unread].loads[0])
        for number in outcome.not_finite:
            program = self._stage.values[number]
            bad += () if program.instructions else program.loads
        return TileOutcome({self._stage.node: outcome.partials[0]}, None, tuple(bad))


def _op(stage: Stage) -> RankedMask:
    assert isinstance(stage.node.op, RankedMask), "no other op makes a mask of rows"
    return stage.node.op
