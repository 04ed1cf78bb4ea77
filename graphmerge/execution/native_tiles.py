"""Run the program of a pass on tiles by its native function."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from graphmerge.execution.finite import is_finite
from graphmerge.execution.tiles import TileOutcome
from graphmerge.native import PreparedCall, arguments_of, function_for
from graphmerge.ops.sources import RequireIdentical

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from graphmerge.execution.buffers import Arena
    from graphmerge.execution.reading import Bytes
    from graphmerge.execution.tiles import TileTask
    from graphmerge.graph import Node
    from graphmerge.native import FilePlace
    from graphmerge.schedule.program import Program
    from graphmerge.statistics import Statistic


class BoundCall:
    """The function of one program, with arguments and memory."""

    def __init__(
        self,
        program: Program,
        statistics: Mapping[Node, Statistic],
        output: Bytes | None,
        scratch: Bytes,
        partials: Bytes,
        elements: int,
        tensors: int = 1,
        *,
        looks: bool,
        ranking: Sequence[Bytes | NDArray[Any]] = (),
    ) -> None:
        """Prepare.

        It `looks` for NaN and infinity in loads, or not. With a `ranking`, as `PreparedCall` takes
        it, the output is the mask of the rows of the program's result.
        """
        assert program.fused is not None, "only programs with a layout are run as native code"
        self._program = program
        self._output = output
        self._ranks = bool(ranking)
        given = arguments_of(program, statistics)
        function = function_for(program, given, looks=looks, ranks=self._ranks)
        self._call = PreparedCall(
            function, program.fused, given, scratch, partials, elements, tensors, ranking
        )

    def bind(self, program: Program, statistics: Mapping[Node, Statistic]) -> None:
        """Take another program of the same structure, with its arguments."""
        self._program = program
        self._call.give(arguments_of(program, statistics))

    def run(
        self,
        stored: Mapping[Node, Bytes],
        start: int,
        files: Mapping[Node, FilePlace] | None = None,
        room: Bytes | None = None,
    ) -> TileOutcome:
        """Run the program on one tile; `files` as in `Tiles.run`, None where all is in memory.

        The output goes to `room`, if there is one.

        Raises:
            CheckpointError: inputs that must be identical differ.
        """
        loads = self._program.loads
        places = [files.get(load) for load in loads] if files else ()
        output = self._output if room is None else room
        outcome = self._call([stored[load] for load in loads], start, places, output)
        if outcome.unread is not None:
            return TileOutcome({}, None, (), unread=loads[outcome.unread])
        instructions = self._program.instructions
        for number in outcome.failed:
            op = instructions[number].node.op
            assert isinstance(op, RequireIdentical), "no other op checks anything"
            raise op.difference()
        partials = {
            instructions[number].node: partial for number, partial in outcome.partials.items()
        }
        bad = tuple(loads[number] for number in outcome.not_finite)
        is_well = outcome.is_finite or self._ranks or self._is_finite(output)
        return TileOutcome(partials, output, bad, is_well)

    def _is_finite(self, output: Bytes | None) -> bool:
        node = self._program.result_node
        return output is None or node is None or is_finite(output, node.spec.dtype)


class NativeTiles:
    """The function of one program with the arguments of one unit, and its memory."""

    def __init__(self, task: TileTask, elements: int, arena: Arena) -> None:
        program = task.part.program
        assert program.fused is not None, "only programs with a layout are run as native code"
        output: Bytes | None = None
        if task.part.result is not None and task.room is None:
            bits = task.part.result.spec.dtype.bits
            output = arena.take(task.tensors * elements * bits // 8)
        scratch = arena.take(program.fused.scratch_bytes)
        self._call = BoundCall(
            program,
            task.statistics,
            output,
            scratch,
            arena.take(program.fused.partial_bytes(elements)),
            elements,
            task.tensors,
            looks=task.looks,
        )

    def bind(self, task: TileTask) -> None:
        """Take the program of another unit of the same structure, with its arguments."""
        self._call.bind(task.part.program, task.statistics)

    def run(
        self, task: TileTask, stored: Mapping[Node, Bytes], files: Mapping[Node, FilePlace]
    ) -> TileOutcome:
        """Run the program on one tile; the inputs that are in files are read block by block."""
        return self._call.run(stored, task.start, files, task.room)
