"""The engine: hands tiles to workers, unit by unit, within the plan's memory."""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import TYPE_CHECKING

import numpy as np
from attrs import evolve

from graphmerge.errors import CheckpointError, GraphmergeError, Problem, RecipeError
from graphmerge.execution.allocator import keep_freed_pages
from graphmerge.execution.batches import Batch, take_batch
from graphmerge.execution.made_reading import MadeReaders
from graphmerge.execution.overflow import Overflows
from graphmerge.execution.pool import BufferPool
from graphmerge.execution.reading import FileReader
from graphmerge.execution.running import RunningUnit
from graphmerge.execution.shared import SharedValues
from graphmerge.execution.worker import Worker
from graphmerge.graph import Access
from graphmerge.schedule.executors import Executor
from graphmerge.schedule.memory import tiles_of, worker_memory

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from graphmerge.execution.batches import Stack
    from graphmerge.execution.events import Progress
    from graphmerge.execution.reading import Bytes
    from graphmerge.execution.sink import Sink
    from graphmerge.execution.tiles import TileTask
    from graphmerge.execution.worker import TileResult
    from graphmerge.graph import Node, Output
    from graphmerge.ops.sources import LoadTensor
    from graphmerge.schedule.plan import Plan, UnitPlan
    from graphmerge.statistics import Statistic

_POLL_SECONDS = 0.2  # how long the main thread may be deaf to Ctrl-C


def execute(
    plan: Plan,
    sink: Sink,
    progress: Progress,
    *,
    finished: Collection[str] = (),
    strict: bool = False,
) -> None:
    """Run a plan.

    Args:
        plan: A plan that fits its budget.
        sink: Takes the output tensors.
        progress: Is told what happens.
        finished: Names of output tensors that a run before has finished.
        strict: Raise on NaN or infinity, in an input or made of finite ones, instead of warning.

    Raises:
        GraphmergeError: an input, the disk or the device failed; no worker is running any more.
        KeyboardInterrupt: Ctrl-C; no worker is running any more.
    """
    if Executor.TORCH in plan.executors:
        from graphmerge.execution.evaluation import prepare  # noqa: PLC0415 - imports torch

        prepare(plan.request.device)
    keep_freed_pages(beside_matrices=_has_whole(plan))
    with FileReader() as reader:
        _Engine(plan, sink, progress, reader, set(finished), strict=strict).run()


def _has_whole(plan: Plan) -> bool:
    """Whether some op looks at a whole tensor."""
    return any(
        item.node.op.access is Access.WHOLE
        for work in plan.order.works
        for part in work.passes
        for item in part.program.instructions
    )


class _Engine:
    """Shared state of a run; everything below the lock is guarded by it."""

    def __init__(
        self,
        plan: Plan,
        sink: Sink,
        progress: Progress,
        reader: FileReader,
        finished: set[str],
        *,
        strict: bool,
    ) -> None:
        self._plan = plan
        self._finished = finished
        self._sink = sink
        self._progress = progress
        self._reader = reader
        self._made = MadeReaders(reader, native=Executor.NATIVE in plan.executors)
        self._strict = strict
        self._overflows = Overflows(strict=strict)
        self._most_live_bytes = plan.memory.live_bytes - plan.order.shared_bytes
        states = max((work.facts.state_bytes for work in plan.order.works), default=0)
        self._pool = BufferPool(self._most_live_bytes - plan.workers * states)
        tile, _ = worker_memory(tiles_of(plan.order.kinds, plan.tile_elements))
        self._arena_bytes = tile.arena_bytes
        lock = threading.RLock()
        self._changed = threading.Condition(lock)
        self._has_ended = threading.Condition(lock)  # else every tile would wake the main thread
        self._waiting = _remaining(plan, finished)
        self._waiting.reverse()
        self._in_flight: list[RunningUnit] = []
        self._shared = SharedValues((unit.unit for unit in self._waiting), self._pool)
        self._error: BaseException | None = None
        self._working = 0
        self._ended = 0

    def run(self) -> None:
        """Start the workers and wait for them."""
        workers = range(self._plan.workers)
        threads = [
            threading.Thread(target=self._work, name=f"worker-{number}", daemon=True)
            for number in workers
        ]
        try:
            for thread in threads:
                thread.start()
            self._wait(len(threads))
        except BaseException as error:  # noqa: BLE001 - Ctrl-C, or no thread could be started
            self._end(error)
        for thread in threads:
            if thread.ident is not None:
                thread.join()
        if self._error is not None:
            raise self._error
        self._tell_overflows()

    def _end(self, error: BaseException) -> None:
        """Have the workers stop and wait for them, whatever further Ctrl-C come meanwhile.

        Else files would be closed under a worker, and another file could be opened in their place.
        """
        while True:
            with suppress(KeyboardInterrupt):
                self._stop(error)
                self._wait(0)
                return

    def _wait(self, least_ended: int) -> None:
        """Wait until no worker works, and at least so many have ended.

        Not by joining threads: until Python 3.12 a join that Ctrl-C interrupts takes its thread for
        ended, and files would be closed under a worker that still writes. A thread that Ctrl-C has
        kept from starting is not waited for: it would find the error and end.
        """
        with self._changed:
            while self._working or self._ended < least_ended:
                self._has_ended.wait(_POLL_SECONDS)

    def _work(self) -> None:
        with self._changed:
            self._working += 1
        try:
            worker = Worker(self._reader, self._made, self._arena_bytes)
            while (claimed := self._claim()) is not None:
                if isinstance(claimed, Batch):
                    self._run_batch(claimed, worker)
                else:
                    unit, task = claimed
                    self._finish(unit, task, _run(worker, unit, task))
        except BaseException as error:  # noqa: BLE001 - raised again in the main thread
            self._stop(error)
        finally:
            with self._changed:
                self._working -= 1
                self._ended += 1
                self._changed.notify_all()
                self._has_ended.notify_all()

    def _stop(self, error: BaseException) -> None:
        with self._changed:
            self._error = self._error or error
            self._changed.notify_all()

    def _claim(self) -> tuple[RunningUnit, TileTask] | Batch | None:
        """The next tile, from the oldest unit that has one; None when there is no more work.

        Small tensors, which hold nothing, are claimed many at once.
        """
        with self._changed:
            while self._error is None:
                for unit in self._in_flight:
                    task = unit.claim()
                    if task is not None:
                        return unit, task
                batch = take_batch(self._waiting, self._plan.tile_elements)
                if batch is not None:
                    return batch
                if self._can_admit():
                    self._admit(self._waiting.pop())
                elif not self._waiting and not self._in_flight:
                    return None
                else:
                    self._changed.wait()
        return None

    def _can_admit(self) -> bool:
        if not self._waiting or len(self._in_flight) >= self._plan.workers:
            return False
        following = self._waiting[-1]
        if not self._shared.has_all(following.unit.needs):
            return False
        held = self._shared.stored_bytes + sum(unit.plan.live_bytes for unit in self._in_flight)
        wanted = following.live_bytes + following.unit.stored_bytes
        return not self._in_flight or held + wanted <= self._most_live_bytes

    def _admit(self, unit: UnitPlan) -> None:
        running = RunningUnit(unit.bound(), self._plan.tile_elements, self._pool, self._shared)
        self._in_flight.append(running)
        if running.is_finished:
            self._retire(running)

    def _run_batch(self, batch: Batch, worker: Worker) -> None:
        """Read, compute and write every tensor of a batch; note all of them as finished at once."""
        finished: list[str] = []
        read_bytes = written_bytes = 0
        for stack in batch.stacks:
            result = worker.run_stack(stack)
            self._report(result.not_finite)
            names, written = self._write_stack(stack, result.outcome.output)
            self._note_overflows(stack, result.overflowed)
            read_bytes += result.read_bytes
            written_bytes += written
            finished += names
        with self._changed:
            self._sink.finish(tuple(finished))
        self._progress.add(
            read_bytes=read_bytes, written_bytes=written_bytes, finished_tensors=len(finished)
        )

    def _write_stack(self, stack: Stack, output: Bytes | None) -> tuple[list[str], int]:
        """Write tensors that lie one behind the other; the names and the bytes written."""
        assert output is not None, "small tensors are made for outputs"
        wanted = [self._unfinished(outputs) for outputs in stack.outputs]
        names = [name for own in wanted for name in own]
        size = output.nbytes // len(wanted)
        if all(len(own) == 1 for own in wanted):
            self._sink.write_whole(names, output)
        else:
            for number, own in enumerate(wanted):
                for name in own:
                    self._sink.write_whole((name,), output[number * size : (number + 1) * size])
        return names, size * len(names)

    def _finish(self, unit: RunningUnit, task: TileTask, result: TileResult) -> None:
        """Write the tile's output and take up its partial results."""
        self._report(result.not_finite)
        names = self._unfinished(unit.plan.unit.outputs)
        written = self._write(names, task.start, result.outcome.output)
        self._progress.add(read_bytes=result.read_bytes, written_bytes=written)
        with self._changed:
            unit.complete(task, result.outcome)
            if unit.is_finished:
                self._retire(unit)
            self._changed.notify_all()

    def _write(self, names: Sequence[str], start: int, output: Bytes | None) -> int:
        """Hand a tile to every output that it belongs to; the number of bytes written."""
        if output is None:
            return 0
        for name in names:
            self._sink.write(name, start, output)
        return len(names) * output.nbytes

    def _retire(self, running: RunningUnit) -> None:
        unit = running.plan.unit
        self._in_flight.remove(running)
        self._shared.add(unit, running.statistics, is_spoilt=running.is_spoilt)
        names = self._unfinished(unit.outputs)
        if names:
            if running.has_overflowed:
                self._overflows.note(names, unit.root)
            written = self._write(names, 0, _as_bytes(running.statistics.get(unit.root)))
            self._sink.finish(names)
            self._progress.add(written_bytes=written, finished_tensors=len(names))

    def _unfinished(self, outputs: Sequence[Output]) -> tuple[str, ...]:
        """Names of outputs, without those that a run before has finished."""
        return tuple(output.name for output in outputs if output.name not in self._finished)

    def _report(self, not_finite: tuple[LoadTensor, ...]) -> None:
        for op in not_finite:
            where = f"{op.entry.file}, tensor {op.entry.name}"
            problem = Problem(f"{op.model} has NaN or infinity", where)
            if self._strict:
                raise CheckpointError(problem)
            self._progress.warn(str(problem))

    def _note_overflows(self, stack: Stack, numbers: Collection[int]) -> None:
        result = stack.task.part.result
        if result is not None and numbers:
            names = [name for number in numbers for name in self._unfinished(stack.outputs[number])]
            with self._changed:
                self._overflows.note(names, result)

    def _tell_overflows(self) -> None:
        """Warn of outputs with NaN or infinity that their inputs do not have."""
        problem = self._overflows.problem(self._plan.graph.outputs)
        if problem is not None:
            self._progress.warn(str(problem))


def _as_bytes(statistic: Statistic | None) -> Bytes | None:
    """A statistic as an output tensor has it; None for None, where tiles have made the output."""
    return None if statistic is None else statistic.reshape(-1).view(np.uint8)


def _remaining(plan: Plan, finished: set[str]) -> list[UnitPlan]:
    """Units with an output that is not finished, and those that make what they need."""
    wanted = [
        bool(unit.unit.outputs) and any(output.name not in finished for output in unit.unit.outputs)
        for unit in plan.units
    ]
    needed: set[Node] = set()
    for index in range(len(plan.units) - 1, -1, -1):
        unit = plan.units[index].unit
        wanted[index] = wanted[index] or any(node in needed for node in unit.makes)
        if wanted[index]:
            needed.update(unit.needs)
    return [unit for unit, is_wanted in zip(plan.units, wanted, strict=True) if is_wanted]


def _run(worker: Worker, unit: RunningUnit, task: TileTask) -> TileResult:
    """Run a tile; what goes wrong in arithmetic is told with the tensor."""
    try:
        return worker.run(task)
    except GraphmergeError as error:
        tensor = f"tensor {unit.plan.unit.name}"
        if isinstance(error, RecipeError):  # the place of a function, which knows no tensor
            places = [", ".join(filter(None, (tensor, one.where))) for one in error.problems]
        else:
            places = [one.where or tensor for one in error.problems]
        pairs = zip(error.problems, places, strict=True)
        raise type(error)(*(evolve(one, where=where) for one, where in pairs)) from error
