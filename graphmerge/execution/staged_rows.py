"""Run a stage of a program on tiles: its values first, then what goes through their rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graphmerge.execution.native_tiles import BoundCall
from graphmerge.execution.tiles import TileOutcome
from graphmerge.native import DivergentRows, RankedRows
from graphmerge.ops.ranked import RankedMask
from graphmerge.spec import DType

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from graphmerge.execution.buffers import Arena
    from graphmerge.execution.reading import Bytes
    from graphmerge.execution.tiles import TileTask
    from graphmerge.graph import Node
    from graphmerge.schedule.staging import Stage


class StageValues:
    """The values of a stage, each a load or the result of a native function."""

    def __init__(
        self, stage: Stage, task: TileTask, buffers: Sequence[Bytes], scratch: Bytes, elements: int
    ) -> None:
        """Prepare, with a buffer for each input that is computed."""
        left = iter(buffers)
        self._made = [next(left) if computed else None for computed in stage.is_computed]
        self._calls = [
            BoundCall(program, task.statistics, made, scratch, elements, looks=task.looks)
            if made is not None
            else None
            for program, made in zip(stage.values, self._made, strict=True)
        ]
        self._stage = stage

    def bind(self, stage: Stage, task: TileTask) -> None:
        """Take a stage of the same structure."""
        self._stage = stage
        for program, call in zip(stage.values, self._calls, strict=True):
            if call is not None:
                call.bind(program, task.statistics)

    def of(self, known: Mapping[Node, Bytes], start: int) -> tuple[list[Bytes], list[Node]]:
        """The values of a tile, and loads in which NaN or infinity was seen.

        Raises:
            CheckpointError: inputs that must be identical differ.
        """
        values: list[Bytes] = []
        bad: list[Node] = []
        for program, call, made in zip(self._stage.values, self._calls, self._made, strict=True):
            if call is None or made is None:
                values.append(known[program.loads[0]])
            else:
                bad += call.run(known, start).not_finite
                values.append(made)
        return values, bad


class MaskStage:
    """Makes a mask, by the ranks of rows."""

    def __init__(
        self, stage: Stage, values: StageValues, memory: Bytes, elements: int, arena: Arena
    ) -> None:
        self._values = values
        self._mask = arena.take(stage.mask_bytes(elements))
        self._made = self._mask[:elements]
        self._rows = RankedRows(memory)

    def bind(self, stage: Stage, task: TileTask) -> None:
        """Take a stage of the same structure."""
        assert isinstance(stage.node.op, RankedMask), "no other op makes a mask of rows"
        self._rows.give(stage.node.op, stage.row)
        self._values.bind(stage, task)

    def run(self, known: Mapping[Node, Bytes], start: int) -> TileOutcome:
        """The mask of a tile."""
        (values,), bad = self._values.of(known, start)
        self._rows(values, self._mask, start)
        return TileOutcome({}, self._made, tuple(bad))


class DivergenceStage:
    """Takes the divergences of rows."""

    def __init__(
        self, stage: Stage, values: StageValues, memory: Bytes, elements: int, arena: Arena
    ) -> None:
        self._values = values
        single = stage.node.inputs[0].spec.dtype is DType.F32
        self._rows = DivergentRows(
            stage.dtypes, stage.row, elements // stage.row, memory, single=single
        )

    def bind(self, stage: Stage, task: TileTask) -> None:
        """Take a stage of the same structure."""
        self._stage = stage
        self._values.bind(stage, task)

    def run(self, known: Mapping[Node, Bytes], start: int) -> TileOutcome:
        """The divergences of a tile."""
        (first, second), bad = self._values.of(known, start)
        partial, seen = self._rows(first, second, start)
        for program, is_bad in zip(self._stage.values, seen, strict=True):
            bad += program.loads if is_bad and not program.instructions else ()
        return TileOutcome({self._stage.node: partial}, None, tuple(bad))
