"""A unit in flight: which tiles are out, what is held, and the steps between passes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graphmerge.execution.folding import Folding
from graphmerge.execution.tiles import TileTask
from graphmerge.schedule.steps import Free, RunPass
from graphmerge.statistics import reduction, small

if TYPE_CHECKING:
    from graphmerge.execution.pool import BufferPool
    from graphmerge.execution.shared import SharedValues
    from graphmerge.execution.tiles import TileOutcome
    from graphmerge.graph import Node
    from graphmerge.schedule.plan import UnitPlan
    from graphmerge.statistics import Statistic


class RunningUnit:
    """One unit from first tile to last. Not thread-safe: the engine calls it under its lock."""

    def __init__(
        self,
        plan: UnitPlan,
        tile_elements: int,
        pool: BufferPool,
        shared: SharedValues,
    ) -> None:
        self.plan = plan
        self.in_memory = shared.tensors_for(plan.unit)
        self.in_memory.update({load: pool.take(load.spec.nbytes) for load in plan.kept})
        self.statistics = shared.statistics_for(plan.unit)
        self._shared = shared
        self._has_bad_inputs = shared.are_spoilt(plan.unit.needs)
        self._has_bad_result = False
        self._room = shared.room_for(plan.unit)
        self._pool = pool
        self._tile_elements = tile_elements
        self._shared_inputs = frozenset(plan.unit.needs)
        self._loaded = set(self._shared_inputs)
        self._states: dict[Node, Statistic] = {}
        self._folding = {
            node: Folding(node, self.statistics) for node in plan.unit.makes if node.op.fold_width
        }
        self._steps = plan.steps
        self._step = -1
        self._next_start = 0
        self._running = 0
        self._advance()

    @property
    def is_finished(self) -> bool:
        """Whether every step has been done."""
        return self._step >= len(self._steps)

    @property
    def is_spoilt(self) -> bool:
        """Whether there was NaN or infinity in what it is made of."""
        return self._has_bad_inputs

    @property
    def has_overflowed(self) -> bool:
        """Whether there is NaN or infinity in the result alone."""
        return self._has_bad_result and not self._has_bad_inputs

    def claim(self) -> TileTask | None:
        """The next tile, or None while the tiles of this pass are all out."""
        if self.is_finished or self._next_start >= self._part.numel:
            return None
        start = self._next_start
        stop = self._next_start = min(start + self._tile, self._part.numel)
        self._running += 1
        part, room = self._part, None
        if part.is_stored and part.result is not None and self._room is not None:
            bits = part.result.spec.dtype.bits
            room = self._room[start * bits // 8 : stop * bits // 8]
        return TileTask(
            part, start, stop, self._first_reads, self.statistics, self.in_memory, room=room
        )

    def complete(self, task: TileTask, outcome: TileOutcome) -> None:
        """Take up what a tile gave; after the last tile of a pass, go on to the next."""
        self._has_bad_result |= not outcome.is_finite
        self._has_bad_inputs |= not self._shared_inputs.issuperset(outcome.not_finite)
        for node, partial in outcome.partials.items():
            reduction(node.op).combine(self._states[node], partial, task.start)
        self._running -= 1
        if self._running == 0 and self._next_start >= self._part.numel:
            self._finish_pass()
            self._advance()

    def _advance(self) -> None:
        """Do steps until a pass with tiles is open, or none is left."""
        while True:
            self._step += 1
            if self.is_finished:
                return
            step = self._steps[self._step]
            if isinstance(step, Free):
                self._release(step.values)
            elif self._open(step):
                return

    def _open(self, step: RunPass) -> bool:
        """Begin a pass; False if there is nothing to stream."""
        self._part = part = self.plan.unit.passes[step.index]
        self._tile = part.tile_elements(self._tile_elements)
        for node in part.prologue:
            self.statistics[node] = self._small(node)
        known = {node: self._known(node) for node in part.reductions}
        if part.result is None and all(value is not None for value in known.values()):
            self.statistics.update({n: value for n, value in known.items() if value is not None})
            return False
        for node in part.reductions:
            specs = tuple(value.spec for value in node.inputs)
            self._states[node] = reduction(node.op).begin(node.op, specs)
        self._first_reads = frozenset(part.program.loads) - self._loaded
        self._next_start = 0
        if part.numel == 0:
            self._finish_pass()
            return False
        return True

    def _small(self, node: Node) -> Statistic:
        if node in self._folding:
            return self._folding.pop(node).finish()
        return small(node.op)(node.op, [self.statistics[value] for value in node.inputs])

    def _known(self, node: Node) -> Statistic | None:
        return reduction(node.op).known(node.op, self._statistics_of(node))

    def _finish_pass(self) -> None:
        self._loaded.update(self._first_reads)
        for node in self._part.reductions:
            kernel = reduction(node.op)
            state = self._states.pop(node)
            statistic = kernel.finish(node.op, state, self._statistics_of(node))
            if node in self._part.folded:
                (folding,) = self._folding.values()
                folding.take(node, statistic)
            else:
                self.statistics[node] = statistic

    def _statistics_of(self, node: Node) -> list[Statistic]:
        return [self.statistics[value] for value in node.inputs if value in self.statistics]

    def _release(self, values: tuple[Node, ...]) -> None:
        for value in values:
            buffer = self.in_memory.pop(value, None)
            self.statistics.pop(value, None)
            if value in self.plan.unit.needs:
                self._shared.let_go(value)
            elif buffer is not None:
                self._pool.give(buffer)
