"""The plan: what will be run, in which order, on how much memory."""

from __future__ import annotations

from itertools import repeat
from typing import TYPE_CHECKING, TypeAlias

from attrs import evolve

from graphmerge.errors import BudgetError, Problem
from graphmerge.frozen_classes import frozen
from graphmerge.schedule.executors import Executor, Kernels
from graphmerge.schedule.steps import Step, steps_of
from graphmerge.schedule.units import Unit
from graphmerge.units import format_bytes, whole_mib

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator

    from graphmerge.graph import Graph, Node, Output
    from graphmerge.schedule.order import Order


@frozen
class Reserved:
    """What a process of graphmerge takes before it holds any tensor."""

    base_bytes: int
    """Interpreter and libraries, with no worker."""
    worker_bytes: int
    """Stack, allocator arena and views of one more worker."""
    calibrated: bool
    """Whether this was measured on this machine; a conservative default otherwise."""


ReservedFor: TypeAlias = "Callable[[Executor], Reserved]"
"""What a process takes that uses this executor alone, before it holds any tensor."""


@frozen
class Request:
    """What the user allows a plan to take."""

    budget_bytes: int
    """Bound of the peak resident memory of the whole process."""
    workers: int
    """Most worker threads."""
    device: str = "cpu"
    """Where kernels run: `cpu`, `cuda` or `cuda:N`."""
    gpu_budget_bytes: int | None = None
    """Bound of the memory on the device; None takes a default share."""
    tile_elements: int | None = None
    """Tile size to use; None leaves the choice to the scheduler."""
    kernels: Kernels = Kernels.AUTO
    """What may run the programs of passes."""


@frozen
class Memory:
    """Predicted use of memory, by what holds it."""

    reserved_bytes: int
    """Interpreter, libraries, threads, graph and plan."""
    live_bytes: int
    """Kept inputs and statistics of the units in flight, and stored tensors."""
    workspace_bytes: int
    """Registers and kernel workspace of all workers."""
    buffer_bytes: int
    """Read and write buffers of all workers."""
    device_bytes: int = 0
    """Bytes on the GPU; no part of the peak."""

    @property
    def predicted_peak_bytes(self) -> int:
        """The most resident memory that the process will have."""
        return self.reserved_bytes + self.live_bytes + self.workspace_bytes + self.buffer_bytes


@frozen(eq=False)
class UnitPlan:
    """One unit with the decisions made for it."""

    unit: Unit
    """What is computed."""
    keeps: bool
    """Whether tensors of input files that several passes read stay in memory between passes; else
    they are read again."""

    def for_output(self, output: Output) -> UnitPlan:
        """The same for another output of the pattern."""
        return UnitPlan(self.unit.for_output(output), self.keeps)

    def bound(self) -> UnitPlan:
        """The same with a unit whose work speaks of its own nodes."""
        bound = self.unit.bound()
        return self if bound is self.unit else UnitPlan(bound, self.keeps)

    def of_first(self) -> UnitPlan:
        """The same with passes over the first tensor of every kind only."""
        unit, work = self.unit, self.unit.work
        if not work.rounds:
            return self
        return UnitPlan(Unit(unit.outputs, evolve(work, rounds=())), self.keeps)

    @property
    def kind(self) -> Hashable:
        """Units of the same kind take the same memory and the same time."""
        return (self.unit.work.facts, self.keeps, len(self.unit.outputs))

    @property
    def kept(self) -> tuple[Node, ...]:
        """Tensors of input files that stay in memory between passes."""
        return self.unit.repeated_loads() if self.keeps else ()

    @property
    def in_memory(self) -> tuple[Node, ...]:
        """Tensors that no pass reads into a buffer: kept inputs, and what other units stored."""
        plan = self.bound()
        return (*plan.kept, *plan.unit.needs)

    @property
    def steps(self) -> tuple[Step, ...]:
        """Passes and frees in order."""
        plan = self.bound()
        return steps_of(plan.unit, plan.kept)

    @property
    def live_bytes(self) -> int:
        """Bytes held while the unit is in flight, beside stored tensors."""
        facts = self.unit.facts
        return facts.state_bytes + (facts.repeated_bytes if self.keeps else 0)

    def reads(self) -> Iterator[Node]:
        """The tensors that are read from files, once for each time."""
        for load, count in self.unit.reads().items():
            yield from repeat(load, 1 if self.keeps else count)

    @property
    def read_bytes(self) -> int:
        """Bytes read from files."""
        facts = self.unit.facts
        return facts.loaded_bytes if self.keeps else facts.streamed_bytes

    @property
    def copied_again_bytes(self) -> int:
        """What of these has just been read, as it is stored, by a pass before."""
        return 0 if self.keeps else self.unit.facts.copied_again_bytes


@frozen(eq=False)
class Plan:
    """A plan, whether it fits its budget or not; `validate` tells."""

    graph: Graph
    """What it computes."""
    order: Order
    """Units in order; at most `workers` of them are in flight at once."""
    request: Request
    """What was allowed."""
    workers: int
    """Worker threads."""
    tile_elements: int
    """Elements of a tile: a whole number of numerics blocks."""
    memory: Memory
    """Predicted use of memory."""
    calibrated: bool
    """Whether the reserved part was measured on this machine."""
    least_budget_bytes: int
    """The smallest budget that any plan of this graph fits."""
    offender: str
    """The unit and node that need the most."""
    seconds: float
    """Estimated duration by the cost model."""

    @property
    def units(self) -> tuple[UnitPlan, ...]:
        """Units in order."""
        return self.order.units

    @property
    def executors(self) -> frozenset[Executor]:
        """What runs its passes."""
        return frozenset(part.executor for work in self.order.works for part in work.passes)

    @property
    def fits(self) -> bool:
        """Whether the predicted peak is within the budget."""
        return not self._excesses()

    @property
    def read_bytes(self) -> int:
        """Bytes that a run reads from input files."""
        return sum(count * unit.read_bytes for unit, count in self.order.kinds)

    @property
    def written_bytes(self) -> int:
        """Bytes of tensors that a run writes."""
        return sum(output.spec.nbytes for output in self.graph.outputs)

    def validate(self) -> None:
        """Raises BudgetError with the least budget that would do if the plan does not fit."""
        problems = [
            Problem(
                f"no plan fits the {which} budget",
                self.offender,
                format_bytes(budget),
                f"at least {format_bytes(least)}",
                f"give --{which.lower().replace(' ', '-')}-budget {whole_mib(least)}MiB or more",
            )
            for which, budget, least in self._excesses()
        ]
        if problems:
            raise BudgetError(*problems)

    def _excesses(self) -> list[tuple[str, int, int]]:
        """Budgets that it does not fit, each with the least that would do."""
        request, memory = self.request, self.memory
        found = []
        if memory.predicted_peak_bytes > request.budget_bytes:
            found.append(("memory", request.budget_bytes, self.least_budget_bytes))
        if request.gpu_budget_bytes is not None and memory.device_bytes > request.gpu_budget_bytes:
            found.append(("GPU memory", request.gpu_budget_bytes, memory.device_bytes))
        return found
