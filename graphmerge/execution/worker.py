"""A worker: runs the program of a pass on one tile after another."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from attrs import define, evolve

from graphmerge.errors import MachineError, Problem
from graphmerge.execution.buffers import Arena
from graphmerge.execution.finite import is_finite, not_finite
from graphmerge.execution.nan_sources import sources_of_nan
from graphmerge.execution.tiles import TileOutcome
from graphmerge.ops.sources import LoadTensor
from graphmerge.schedule.executors import Executor
from graphmerge.schedule.tiling import buffer_bytes, reads_itself, tile_bytes

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping

    from graphmerge.checkpoint.values import TensorEntry
    from graphmerge.execution.batches import Stack
    from graphmerge.execution.made_reading import MadeReaders
    from graphmerge.execution.reading import Bytes, FileReader
    from graphmerge.execution.tiles import Tiles, TileTask
    from graphmerge.graph import Node
    from graphmerge.native import FilePlace
    from graphmerge.schedule.program import Program
    from graphmerge.spec import DType

_MOST_VIEWS = 32
"""Kinds of tiles, those used last, whose views a worker keeps: preparing them takes 0.15 ms."""
_MOST_READS = 4
"""How often native code tries to read what Python can read."""


@define
class _Views:
    """The executor and the read buffers of one program for one length of tile."""

    program: Program
    tiles: Tiles
    buffers: tuple[Bytes | None, ...]
    """Of every load; None for those that are, or are to be, elsewhere in memory."""

    def bind(self, task: TileTask) -> None:
        """Go on to another program of the same structure."""
        if self.program is not task.part.program:
            self.program = task.part.program
            self.tiles.bind(task)


def _kind(task: TileTask) -> tuple[Executor, Hashable]:
    """What tiles must have in common to be run with the same views, after `bind`.

    Views hold the program that is told by its place in memory, so that nothing else comes there.
    """
    program = task.part.program
    code: Hashable = id(program if program.layout is None else program.layout)
    if task.part.executor is Executor.COPY:
        code = tuple([load.spec.dtype for load in program.loads])
    held = tuple([load in task.in_memory for load in program.loads])
    has_room = task.room is not None
    size = task.stop - task.start, task.tensors
    return task.part.executor, (code, held, size, task.is_stack, task.looks, has_room)


@define
class TileResult:
    """What came out of a tile."""

    outcome: TileOutcome
    """What the executor made of it."""
    read_bytes: int
    """Bytes read from files."""
    not_finite: tuple[LoadTensor, ...]
    """Stored tensors in which NaN or infinity was seen, and that no pass before has read."""
    overflowed: tuple[int, ...] = ()
    """Of tensors that lie one behind the other, those with either in the output alone."""


class Worker:
    """Runs tiles in one thread, in memory that it holds from beginning to end."""

    def __init__(self, reader: FileReader, made: MadeReaders, arena_bytes: int) -> None:
        self._reader = reader
        self._made = made
        self._arena = Arena(arena_bytes)
        self._views: dict[tuple[Executor, Hashable], _Views] = {}
        self._blamed: dict[Node, tuple[LoadTensor, ...]] = {}

    def run(self, task: TileTask) -> TileResult:
        """Read, compute and hand back one tile.

        Raises:
            GraphmergeError: an input cannot be read or does not hold what its header says.
        """
        views = self._views_for(task)
        stored, unread, read_bytes = self._load(task, views)
        outcome = _in_room(task, self._compute(task, views, stored, unread))
        bad = [
            source
            for load in outcome.not_finite
            if load in task.first_reads
            for source in self._sources(load)
        ]
        return TileResult(outcome, read_bytes, tuple(bad))

    def run_stack(self, stack: Stack) -> TileResult:
        """Read, compute and hand back small tensors that lie one behind the other.

        Raises:
            GraphmergeError: an input cannot be read or does not hold what its header says.
        """
        task, loads = stack.task, stack.task.part.program.loads
        views = self._views_for(task)
        stored: dict[Node, Bytes] = {}
        for load, buffer, sources in zip(loads, views.buffers, stack.sources, strict=True):
            assert buffer is not None, "no load of a small tensor is in memory"
            self._reader.read_whole([source.entry for source in sources], buffer)
            stored[load] = buffer
        outcome = views.tiles.run(task, stored, {})
        read_bytes = sum(buffer.nbytes for buffer in stored.values())
        bad: list[LoadTensor] = []
        spoilt: set[int] = set()
        for load, sources in zip(loads, stack.sources, strict=True):
            if load in outcome.not_finite:
                found = _not_finite(stored[load], task.tensors, load.spec.dtype)
                bad += [sources[number] for number in found]
                spoilt.update(found)
        overflowed: list[int] = []
        if not outcome.is_finite and outcome.output is not None and task.part.result is not None:
            overflowed = _not_finite(outcome.output, task.tensors, task.part.result.spec.dtype)
        alone = tuple(number for number in overflowed if number not in spoilt)
        return TileResult(outcome, read_bytes, tuple(bad), alone)

    def _compute(
        self,
        task: TileTask,
        views: _Views,
        stored: Mapping[Node, Bytes],
        unread: Mapping[Node, TensorEntry],
    ) -> TileOutcome:
        """Run the program on a tile; what native code cannot read is read here, which says why."""
        if not unread:
            return views.tiles.run(task, stored, {})
        for _ in range(_MOST_READS):
            with self._reader.places(tuple(unread.values()), task.start) as places:
                files = dict(zip(unread, places, strict=True))
                outcome = views.tiles.run(task, stored, files)
            if outcome.unread is None:
                return outcome
            entry = unread[outcome.unread]
            self._read_again(entry, task, stored[outcome.unread])
        where = f"{entry.file}, tensor {entry.name}"
        hint = "run the same command again: it resumes"
        raise MachineError(Problem("reading fails now and then", where, hint=hint))

    def _read_again(self, entry: TensorEntry, task: TileTask, buffer: Bytes) -> None:
        """Read what native code could not: mostly the file has ended, or cannot be read."""
        bits = entry.spec.dtype.bits
        step = buffer.nbytes * 8 // bits
        for start in range(task.start, task.stop, step):
            count = min(step, task.stop - start)
            self._reader.read(entry, start, buffer[: count * bits // 8])

    def _sources(self, load: Node) -> tuple[LoadTensor, ...]:
        """The stored tensors by which a load has NaN or infinity, looked for once."""
        if load not in self._blamed:
            self._blamed[load] = sources_of_nan(load, self._reader)
        return self._blamed[load]

    def _views_for(self, task: TileTask) -> _Views:
        """Views for this tile, those of a tile of the same kind if there are any.

        All of them lie in the same memory, of which nothing is needed from one tile to the next.
        """
        kind = _kind(task)
        views = self._views.pop(kind, None)
        if views is None:
            if task.part.executor is Executor.TORCH:
                torch = [other for other in self._views if other[0] is Executor.TORCH]
                for other in torch:  # they may hold memory of a GPU
                    del self._views[other]
            elif len(self._views) >= _MOST_VIEWS:
                del self._views[next(iter(self._views))]
            views = self._carve(task)
        self._views[kind] = views
        views.bind(task)
        return views

    def _carve(self, task: TileTask) -> _Views:
        program, elements = task.part.program, task.stop - task.start
        self._arena.reset()
        tiles = _tiles(task, elements, self._arena)
        every = task.tensors * elements
        buffers = tuple(
            None
            if load in task.in_memory or task.part.reads_in_place
            else self._arena.take(buffer_bytes(load, task.part, every, is_stack=task.is_stack))
            for load in program.loads
        )
        return _Views(program, tiles, buffers)

    def _load(
        self, task: TileTask, views: _Views
    ) -> tuple[dict[Node, Bytes], dict[Node, TensorEntry], int]:
        """The stored bytes of every load, or room for them; what native code is to read; its size.

        What is neither in memory nor for native code to read has been read.
        """
        stored: dict[Node, Bytes] = {}
        unread: dict[Node, TensorEntry] = {}
        read_bytes = 0
        for load, own in zip(task.part.program.loads, views.buffers, strict=True):
            size = tile_bytes(load, task.part, task.stop - task.start)
            if own is not None:
                buffer, wanted = own, True
            elif task.part.reads_in_place and task.room is not None:
                buffer, wanted = task.room, True
            else:
                first = task.start * load.spec.dtype.bits // 8
                buffer = task.in_memory[load][first : first + size]
                wanted = load in task.first_reads
            if wanted:
                read_bytes += size
                if isinstance(load.op, LoadTensor) and reads_itself(task.part.program, load):
                    unread[load] = load.op.entry
                else:
                    self._read(load, task.start, buffer)
            stored[load] = buffer
        return stored, unread, read_bytes

    def _read(self, load: Node, start: int, buffer: Bytes) -> None:
        if isinstance(load.op, LoadTensor):
            self._reader.read(load.op.entry, start, buffer)
        else:
            self._made.of(load).read(start, buffer)


def _in_room(task: TileTask, outcome: TileOutcome) -> TileOutcome:
    """The outcome with the output where others need it."""
    if task.room is None or outcome.output is None or outcome.output is task.room:
        return outcome
    task.room[:] = outcome.output
    return evolve(outcome, output=task.room)


class _CopiedTiles:
    """A program without instructions: its output is what was read."""

    def bind(self, task: TileTask) -> None:
        """Nothing: a copy holds nothing of its program."""

    def run(
        self, task: TileTask, stored: Mapping[Node, Bytes], files: Mapping[Node, FilePlace]
    ) -> TileOutcome:
        program = task.part.program
        output = None
        if program.result is not None:
            output = stored[program.loads[-1 - program.result]]
        return TileOutcome({}, output, not_finite(task, stored))


def _tiles(task: TileTask, elements: int, arena: Arena) -> Tiles:
    """The executor that the plan has chosen; its libraries are imported when it is first used."""
    if task.part.executor is Executor.COPY:
        return _CopiedTiles()
    if task.part.executor is Executor.NATIVE:
        from graphmerge.execution.native_tiles import NativeTiles  # noqa: PLC0415
        from graphmerge.execution.staged_tiles import StagedTiles  # noqa: PLC0415

        kind = StagedTiles if task.part.program.staged else NativeTiles
        return kind(task, elements, arena)
    from graphmerge.execution.evaluation import TorchTiles  # noqa: PLC0415

    return TorchTiles(task, elements, arena)


def _not_finite(stored: Bytes, tensors: int, dtype: DType) -> list[int]:
    """Which of tensors that lie one behind the other have NaN or infinity."""
    pieces = np.split(stored, tensors)
    return [number for number, piece in enumerate(pieces) if not is_finite(piece, dtype)]
