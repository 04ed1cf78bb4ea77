"""The report of a plan, from the plan alone."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from graphmerge.ops import LoadTensor
from graphmerge.schedule.executors import Executor
from graphmerge.schedule.memory import tile_memory
from graphmerge.schedule.report_values import InputReport, PlanReport, TensorGroup, UnitReport
from graphmerge.schedule.shared_results import results_computed_again, stored_results
from graphmerge.schedule.simulate import simulate

if TYPE_CHECKING:
    from collections.abc import Iterable

    from graphmerge.graph import Node, Omission, Output
    from graphmerge.schedule.plan import Plan, UnitPlan


def report(plan: Plan, *, shards: int) -> PlanReport:
    """The report of a plan whose output has this many files."""
    memory, graph = plan.memory, plan.graph
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
        inputs=_inputs(plan),
        nodes=graph.kinds(),
        passes=sum(len(unit.unit.passes) for unit in plan.units),
        executors=_executors(plan),
        units=tuple(_unit(unit, plan.tile_elements) for unit in plan.units),
        stored=stored_results(plan),
        computed_again=results_computed_again(plan),
        merged=_outputs(output for output in graph.outputs if not output.reason),
        copied=_outputs(output for output in graph.outputs if output.reason),
        left_out=_omissions(graph.omissions),
        warnings=graph.warnings,
        moments=simulate(plan),
    )


def _executors(plan: Plan) -> dict[str, int]:
    used = Counter(part.executor for unit in plan.units for part in unit.unit.passes)
    return {executor.value: used[executor] for executor in Executor if used[executor]}


def _inputs(plan: Plan) -> tuple[InputReport, ...]:
    reads: dict[str, list[Node]] = {}
    for unit in plan.units:
        for load in unit.reads():
            stored = load.inputs or (load,)  # rows are gathered from the first input mostly
            op = stored[0].op
            assert isinstance(op, LoadTensor), "only stored tensors are read"
            reads.setdefault(op.model, []).append(load)
    return tuple(_input(model, loads) for model, loads in sorted(reads.items()))


def _input(model: str, loads: list[Node]) -> InputReport:
    stored = (value.op for load in loads for value in load.inputs[:1] or (load,))
    entries = {op.entry for op in stored if isinstance(op, LoadTensor)}
    return InputReport(
        model=model,
        files=tuple(sorted({str(entry.file) for entry in entries})),
        tensors=len(entries),
        read_bytes=sum(load.spec.nbytes for load in loads),
        dtypes=tuple(sorted({entry.spec.dtype.value for entry in entries})),
    )


def _unit(plan: UnitPlan, tile_elements: int) -> UnitReport:
    tiles = [tile_memory(part, plan.in_memory, tile_elements) for part in plan.unit.passes]
    return UnitReport(
        name=plan.unit.name,
        passes=len(plan.unit.passes),
        read_bytes=plan.read_bytes,
        live_bytes=plan.live_bytes,
        stored_bytes=plan.unit.stored_bytes,
        tile_bytes=max((tile.arena_bytes + tile.kernel_bytes for tile in tiles), default=0),
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
