"""The report of a plan, from the plan alone."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from graphmerge.schedule.executors import Executor
from graphmerge.schedule.input_reports import input_reports
from graphmerge.schedule.memory import unit_memory
from graphmerge.schedule.report_values import PlanReport, TensorGroup, UnitReports
from graphmerge.schedule.shared_results import shared_results
from graphmerge.schedule.simulate import simulate

if TYPE_CHECKING:
    from collections.abc import Iterable

    from graphmerge.graph import Omission, Output
    from graphmerge.schedule.plan import Plan, UnitPlan
    from graphmerge.schedule.report_values import Sizes


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
