"""Run the program of a pass on tiles by its native function."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graphmerge.execution.tiles import TileOutcome
from graphmerge.native import PreparedCall, arguments_of, function_for
from graphmerge.ops.sources import RequireIdentical

if TYPE_CHECKING:
    from collections.abc import Mapping

    from graphmerge.execution.buffers import Arena
    from graphmerge.execution.reading import Bytes
    from graphmerge.execution.tiles import TileTask
    from graphmerge.graph import Node


class NativeTiles:
    """The function of one program with the arguments of one unit, and its memory."""

    def __init__(self, task: TileTask, elements: int, arena: Arena) -> None:
        program = task.part.program
        assert program.fused is not None, "only programs with a layout are run as native code"
        self._program = program
        self._output: Bytes | None = None
        if task.part.result is not None:
            self._output = arena.take(elements * task.part.result.spec.dtype.bits // 8)
        scratch = arena.take(program.fused.scratch_bytes)
        given = arguments_of(program, task.statistics)
        function = function_for(program, given)
        self._call = PreparedCall(function, program.fused, given, self._output, scratch, elements)

    def bind(self, task: TileTask) -> None:
        """Take the program of another unit of the same structure, with its arguments."""
        self._program = task.part.program
        self._call.give(arguments_of(self._program, task.statistics))

    def run(self, task: TileTask, stored: Mapping[Node, Bytes]) -> TileOutcome:
        """Run the program on one tile.

        Raises:
            CheckpointError: inputs that must be identical differ.
        """
        loads = self._program.loads
        outcome = self._call([stored[load] for load in loads], task.start)
        instructions = self._program.instructions
        for number in outcome.failed:
            op = instructions[number].node.op
            assert isinstance(op, RequireIdentical), "no other op checks anything"
            raise op.difference()
        partials = {
            instructions[number].node: partial for number, partial in outcome.partials.items()
        }
        not_finite = tuple(loads[number] for number in outcome.not_finite)
        return TileOutcome(partials, self._output, not_finite)
