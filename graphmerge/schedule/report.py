"""The report of a plan, from the plan alone."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from graphmerge.ops.rows import GatherRows
from graphmerge.ops.sources import LoadTensor
from graphmerge.schedule.executors import Executor
from graphmerge.schedule.memory import unit_memory
from graphmerge.schedule.program import stored_inputs
from graphmerge.schedule.report_values import InputReport, PlanReport, TensorGroup, UnitReports
from graphmerge.schedule.shared_results import shared_results
from graphmerge.schedule.simulate import simulate

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from graphmerge.checkpoint.values import TensorEntry
    from graphmerge.graph import Omission, Op, Output, Value
    from graphmerge.schedule.order import Option
    from graphmerge.schedule.plan import Plan, UnitPlan
    from graphmerge.schedule.report_values import Sizes
    from graphmerge.schedule.units import Work


def report(plan: Plan, *, shards: int) -> PlanReport:
    """The report of a plan whose output has this many files."""
    memory, graph = plan.memory, plan.graph
    stored, computed_again = shared_results(plan)
    return PlanReport(
        fits=plan.fits,
        budget_bytes=plan.request.budget_bytes,
        predicted_peak_bytes=memory.predicted_peak_bytes,
        least_budget_bytes=plan.least_budget_bytes,
        reserved_bytes=memory.reserved_bytes,
        live_bytes=memory.live_bytes,
        workspace_bytes=memory.workspace_bytes,
        buffer_bytes=memory.buffer_bytes,
        calibrated=plan.calibrated,
        device=plan.request.device,
        gpu_budget_bytes=plan.request.gpu_budget_bytes,
        device_bytes=memory.device_bytes,
        workers=plan.workers,
        tile_elements=plan.tile_elements,
        estimated_seconds=plan.seconds,
        read_bytes=plan.read_bytes,
        written_bytes=plan.written_bytes,
        shards=shards,
        tensors=len(graph.outputs),
        inputs=input_reports(plan),
        nodes=graph.kinds(),
        passes=sum(count * unit.unit.work.pass_count for unit, count in plan.order.kinds),
        executors=_executors(plan),
        units=_units(plan),
        stored=stored,
        computed_again=computed_again,
        merged=_outputs(output for output in graph.outputs if not output.reason),
        copied=_outputs(output for output in graph.outputs if output.reason),
        left_out=_omissions(graph.omissions),
        notes=graph.notes,
        warnings=graph.warnings,
        moments=simulate(plan),
    )


def _executors(plan: Plan) -> dict[str, int]:
    used: Counter[Executor] = Counter()
    for unit, count in plan.order.kinds:
        for part, times in unit.unit.work.counted_passes:
            used[part.executor] += count * times
    return {executor.value: used[executor] for executor in Executor if used[executor]}


def input_reports(plan: Plan) -> tuple[InputReport, ...]:
    """What is read of each model, by the models' names."""
    read: dict[str, _Read] = {}
    for ops, size in (*_read_by_many(plan), *_read_by_one(plan)):
        loads = [op for op in ops if isinstance(op, LoadTensor)]
        assert len(loads) == len(ops), "only stored tensors are read"
        for model in {load.model for load in loads}:
            own = [load.entry for load in loads if load.model == model]
            read.setdefault(model, _Read()).add(own, size)
    return tuple(read[model].report(model) for model in sorted(read))


def _read_by_many(plan: Plan) -> Iterator[tuple[Sequence[Op], int]]:
    """What units that have nodes in common read, and how many bytes of it."""
    read: Counter[Op] = Counter()
    alike: dict[Op, Sequence[Op]] = {}
    for member in plan.order.members:
        for unit in member.option if member.output is None else ():
            for op, size in _reads(unit.unit.work, unit.keeps):
                read[op] += size
            for one in unit.unit.work.rounds:
                members = one.alike.members
                for place, op in enumerate(members[0].leaves):
                    if op not in alike:
                        alike[op] = [other.leaves[place] for other in members]
    yield from ((alike.get(op, (op,)), size) for op, size in read.items())


def _read_by_one(plan: Plan) -> Iterator[tuple[Sequence[Op], int]]:
    """The same of outputs that have no node in common with another: of all that have one option."""
    together: dict[int, tuple[Option, list[Value]]] = {}
    for member in plan.order.members:
        if member.output is not None:
            _, values = together.setdefault(id(member.option), (member.option, []))
            values.append(member.output.value)
    for option, values in together.values():
        places = {leaf: place for place, leaf in enumerate(values[0].pattern.leaves)}
        for unit in option:
            for op, size in _reads(unit.unit.work, unit.keeps):
                place = places[op]
                yield [value.leaves[place] for value in values], size


def _reads(work: Work, keeps: bool) -> Iterator[tuple[Op, int]]:  # noqa: FBT001 - a pair
    """What is read for a work, and how many bytes of it."""
    for load, count in work.reads().items():
        times = 1 if keeps else count
        stored = stored_inputs(load)
        if isinstance(load.op, GatherRows):  # from the first input mostly
            yield stored[0].op, load.spec.nbytes * times
        else:
            yield from ((value.op, value.spec.nbytes * times) for value in stored)


class _Read:
    """What is read of one model."""

    def __init__(self) -> None:
        self._entries: dict[int, TensorEntry] = {}  # by `id`: they are many, and each is one object
        self._read_bytes = 0

    def add(self, entries: Sequence[TensorEntry], size: int) -> None:
        """Tensors, of each of which so many bytes are read."""
        self._entries.update(zip(map(id, entries), entries, strict=True))
        self._read_bytes += size * len(entries)

    def report(self, model: str) -> InputReport:
        """All of it."""
        entries = self._entries.values()
        files = {id(entry.file): entry.file for entry in entries}
        return InputReport(
            model=model,
            files=tuple(sorted(set(map(str, files.values())))),
            tensors=len(entries),
            read_bytes=self._read_bytes,
            dtypes=tuple(sorted({entry.spec.dtype.value for entry in entries})),
        )


def _units(plan: Plan) -> UnitReports:
    counts = {unit.kind: count for unit, count in plan.order.kinds}
    options = {id(member.option): member.option for member in plan.order.members}
    sizes = {
        key: [_sizes(unit, plan.tile_elements, counts[unit.kind]) for unit in option]
        for key, option in options.items()
    }
    return UnitReports(plan.order.members, sizes)


def _sizes(unit: UnitPlan, tile_elements: int, count: int) -> Sizes:
    """What a unit takes, in the order of the report's fields."""
    tiles = unit_memory(unit, tile_elements, count)
    return (
        unit.unit.work.pass_count,
        unit.read_bytes,
        unit.live_bytes,
        unit.unit.stored_bytes,
        max((tile.arena_bytes + tile.kernel_bytes for tile in tiles), default=0),
    )


def _outputs(outputs: Iterable[Output]) -> tuple[TensorGroup, ...]:
    groups: dict[str, list[str]] = {}
    for output in outputs:
        groups.setdefault(output.reason, []).append(output.name)
    return tuple(TensorGroup(reason, tuple(names)) for reason, names in groups.items())


def _omissions(omissions: Iterable[Omission]) -> tuple[TensorGroup, ...]:
    groups: dict[tuple[str, str], list[str]] = {}
    for omission in omissions:
        groups.setdefault((omission.reason, omission.model), []).append(omission.name)
    return tuple(
        TensorGroup(reason, tuple(names), model) for (reason, model), names in groups.items()
    )
