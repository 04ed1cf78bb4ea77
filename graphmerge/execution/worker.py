"""A worker: runs the program of a pass on one tile after another."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import define

from graphmerge.execution.buffers import Arena
from graphmerge.execution.finite import is_finite
from graphmerge.ops import LoadTensor

if TYPE_CHECKING:
    from graphmerge.execution.evaluation import Registers
    from graphmerge.execution.reading import Bytes, FileReader
    from graphmerge.execution.running import TileTask
    from graphmerge.graph import Node
    from graphmerge.kernels import Partial
    from graphmerge.schedule.program import Program


@define
class _Views:
    """Registers and read buffers of one program for one length of tile."""

    program: Program
    elements: int
    registers: Registers
    buffers: dict[Node, Bytes]


@define
class TileResult:
    """What came out of a tile."""

    partials: dict[Node, Partial]
    """Partial result of every reduction."""
    output: Bytes | None
    """Bytes of the output tensor's tile, in the worker's memory: gone with the next tile."""
    read_bytes: int
    """Bytes read from files."""
    not_finite: tuple[Node, ...]
    """Stored tensors in which NaN or infinity was seen."""


class Worker:
    """Runs tiles in one thread, in memory that it holds from beginning to end."""

    def __init__(self, reader: FileReader, arena_bytes: int) -> None:
        self._reader = reader
        self._arena = Arena(arena_bytes)
        self._views: _Views | None = None

    def run(self, task: TileTask) -> TileResult:
        """Read, compute and hand back one tile.

        Raises:
            GraphmergeError: an input cannot be read or does not hold what its header says.
        """
        program = task.part.program
        views = self._views_for(task)
        stored, read_bytes = self._load(task, views)
        bad = self._not_finite(task, stored)
        partials: dict[Node, Partial] = {}
        output = None
        if program.instructions:
            from graphmerge.execution.evaluation import evaluate  # noqa: PLC0415 - imports torch

            partials, output = evaluate(task, views.registers, stored)
        if program.result is not None and program.result < 0:
            output = stored[program.loads[-1 - program.result]]
        return TileResult(partials, output, read_bytes, bad)

    def _views_for(self, task: TileTask) -> _Views:
        """Registers for this tile, those of the tile before if it had the same shape of work."""
        program, elements = task.part.program, task.stop - task.start
        views = self._views
        if views is None or views.program is not program or views.elements != elements:
            self._views = None
            self._arena.reset()
            views = self._views = self._carve(task, program, elements)
        return views

    def _carve(self, task: TileTask, program: Program, elements: int) -> _Views:
        registers: Registers = []
        if program.registers:
            from graphmerge.execution.evaluation import make_registers  # noqa: PLC0415 - torch

            registers = make_registers(program, elements, task.part.device, self._arena)
        buffers = {
            load: self._arena.take(_byte_range(load, 0, elements)[1])
            for load in program.loads
            if load not in task.unit.kept
        }
        return _Views(program, elements, registers, buffers)

    def _load(self, task: TileTask, views: _Views) -> tuple[dict[Node, Bytes], int]:
        """The stored bytes of every load, read where they are not in memory."""
        stored: dict[Node, Bytes] = {}
        read_bytes = 0
        for load in task.part.program.loads:
            if load in views.buffers:
                buffer, wanted = views.buffers[load], True
            else:
                first, last = _byte_range(load, task.start, task.stop)
                buffer, wanted = task.unit.kept[load][first:last], load in task.first_reads
            if wanted:
                assert isinstance(load.op, LoadTensor)
                self._reader.read(load.op.entry, task.start, buffer)
                read_bytes += buffer.nbytes
            stored[load] = buffer
        return stored, read_bytes

    def _not_finite(self, task: TileTask, stored: dict[Node, Bytes]) -> tuple[Node, ...]:
        return tuple(
            load
            for load in task.part.program.loads
            if load in task.first_reads and not is_finite(stored[load], load.spec.dtype)
        )


def _byte_range(load: Node, start: int, stop: int) -> tuple[int, int]:
    bits = load.spec.dtype.bits
    return start * bits // 8, (stop * bits + 7) // 8
