"""The report of a plan, from the plan alone."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from graphmerge.ops import AddLowRank, LoadTensor
from graphmerge.schedule.executors import Executor
from graphmerge.schedule.memory import unit_memory
from graphmerge.schedule.program import stored_inputs
from graphmerge.schedule.report_values import InputReport, PlanReport, TensorGroup, UnitReport
from graphmerge.schedule.shared_results import shared_results
from graphmerge.schedule.simulate import simulate

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Iterator

    from graphmerge.checkpoint.values import TensorEntry
    from graphmerge.graph import Omission, Op, Output
    from graphmerge.schedule.plan import Plan, UnitPlan
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
        passes=sum(count * len(unit.unit.work.passes) for unit, count in plan.order.kinds),
        executors=_executors(plan),
        units=tuple(_units(plan)),
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
        for part in unit.unit.work.passes:
            used[part.executor] += count
    return {executor.value: used[executor] for executor in Executor if used[executor]}


def input_reports(plan: Plan) -> tuple[InputReport, ...]:
    """What is read of each model, by the models' names."""
    read: dict[str, list[tuple[TensorEntry, int]]] = {}
    for op, size in (*_read_by_many(plan).items(), *_read_by_one(plan)):
        assert isinstance(op, LoadTensor), "only stored tensors are read"
        read.setdefault(op.model, []).append((op.entry, size))
    return tuple(_input(model, entries) for model, entries in sorted(read.items()))


def _read_by_many(plan: Plan) -> Counter[Op]:
    """What units that have nodes in common read, and how many bytes of it."""
    read: Counter[Op] = Counter()
    for unit in plan.units:
        if unit.unit.value is None:
            for op, size in _reads(unit.unit.work, unit.keeps):
                read[op] += size
    return read


def _read_by_one(plan: Plan) -> Iterator[tuple[Op, int]]:
    """The same of outputs that have no node in common with another."""
    known: dict[tuple[Work, bool], list[tuple[int, int]]] = {}
    for unit in plan.units:
        value = unit.unit.value
        if value is None:
            continue
        kind = (unit.unit.work, unit.keeps)
        if kind not in known:
            places = {leaf: place for place, leaf in enumerate(value.pattern.leaves)}
            known[kind] = [(places[op], size) for op, size in _reads(*kind)]
        for place, size in known[kind]:
            yield value.leaves[place], size


def _reads(work: Work, keeps: bool) -> Iterator[tuple[Op, int]]:  # noqa: FBT001 - a pair
    """What is read for a work, and how many bytes of it."""
    for load, count in work.reads().items():
        times = 1 if keeps else count
        first, *others = stored_inputs(load)  # rows are gathered from the first input mostly
        yield first.op, load.spec.nbytes * times
        if isinstance(load.op, AddLowRank):
            yield from ((stored.op, stored.spec.nbytes * times) for stored in others)


def _input(model: str, read: list[tuple[TensorEntry, int]]) -> InputReport:
    return InputReport(
        model=model,
        files=tuple(sorted(map(str, {entry.file for entry, _ in read}))),
        tensors=len(read),
        read_bytes=sum(read_bytes for _, read_bytes in read),
        dtypes=tuple(sorted({entry.spec.dtype.value for entry, _ in read})),
    )


def _units(plan: Plan) -> Iterator[UnitReport]:
    known: dict[Hashable, tuple[int, int, int, int, int]] = {}
    for unit in plan.units:
        if unit.kind not in known:
            known[unit.kind] = _sizes(unit, plan.tile_elements)
        yield UnitReport(unit.unit.name, *known[unit.kind])


def _sizes(unit: UnitPlan, tile_elements: int) -> tuple[int, int, int, int, int]:
    """What a unit takes, in the order of the report's fields."""
    tiles = unit_memory(unit, tile_elements)
    return (
        len(unit.unit.work.passes),
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
