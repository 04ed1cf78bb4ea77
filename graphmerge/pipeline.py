"""From recipe to published checkpoint: the one place that knows every stage."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import xxhash

from graphmerge import calibration
from graphmerge.collection import known_objects_set_aside, paused_collection
from graphmerge.compilation import Compiled, compile_recipe
from graphmerge.execution.events import Listener, Progress
from graphmerge.execution.peak import measured_peak_bytes
from graphmerge.finishing import RunReport, write_side_files
from graphmerge.frozen_classes import frozen
from graphmerge.hub_files import Downloads, download_needed, downloads_of
from graphmerge.ops.blocks import NUMERICS_VERSION
from graphmerge.output import (
    CheckpointSink,
    Journal,
    JournalIdentity,
    ShardLayout,
    ShardWriter,
    check_replaceable,
    intact_tensors,
    layout_shards,
    lock_partial,
    prepare,
    publish,
    refuse_output_inside_inputs,
    resolved,
)
from graphmerge.plugins.discovery import plugins_loaded_torch
from graphmerge.schedule.choose import schedule
from graphmerge.schedule.executors import Executor
from graphmerge.schedule.input_reports import input_reports

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from graphmerge.schedule.input_reports import InputReport
    from graphmerge.schedule.plan import Plan, Request, ReservedFor

__all__ = [
    "Compiled",
    "RunOptions",
    "RunReport",
    "check_output",
    "compile_recipe",
    "download",
    "downloads",
    "make_plan",
    "run",
]

DEFAULT_SHARD_BYTES = 5 * 10**9
"""Size of output shards where the user gives none; what the Hub recommends."""


@paused_collection()
def make_plan(
    compiled: Compiled,
    request: Request,
    *,
    calibrate: bool,
    reserved_for: ReservedFor | None = None,
) -> Plan:
    """The plan of a compiled recipe.

    Args:
        compiled: From `compile_recipe`.
        request: What the plan may take.
        calibrate: Measure this environment if that was never done; otherwise a default serves.
        reserved_for: What the process takes; None is one that does nothing else.

    Raises:
        MachineError: calibration failed.
    """
    alone = calibration.calibrated if calibrate else calibration.assumed
    loaded = frozenset({Executor.TORCH} if plugins_loaded_torch() else ())
    return schedule(compiled.build.graph, request, reserved_for or alone, loaded=loaded)


def download(
    compiled: Compiled, plan: Plan, progressed: Callable[[int], None] | None = None
) -> None:
    """Download what a run needs of models of the Hub and their cache does not have.

    Args:
        compiled: From `compile_recipe`.
        plan: Its plan.
        progressed: Called with the number of bytes that have come since the last call.

    Raises:
        InputError: the files may not be read.
        MachineError: the Hub cannot be reached, or the disk is full; what is complete is kept.
    """
    if compiled.commits():
        weights = _weights(input_reports(plan))
        download_needed(compiled.build, compiled.models.values(), weights, progressed)


def downloads(compiled: Compiled, inputs: Iterable[InputReport]) -> tuple[Downloads, ...]:
    """What a run downloads of every repository, by what its plan reads."""
    if not compiled.commits():
        return ()
    return downloads_of(compiled.build, compiled.models.values(), _weights(inputs))


def _weights(inputs: Iterable[InputReport]) -> list[Path]:
    return [Path(file) for model in inputs for file in model.files]


@frozen
class RunOptions:
    """What the user says about a run, beside what the plan may take."""

    shard_bytes: int = DEFAULT_SHARD_BYTES
    """Largest size of an output shard, unless one tensor is larger."""
    overwrite: bool = False
    """Replace an output that exists, and discard an unfinished one of another merge."""
    durable: bool = False
    """Wait for the disk itself before publishing."""
    strict: bool = False
    """Refuse NaN and infinity, in inputs or made of finite ones, instead of warning."""
    copy_tokenizer: bool = True
    """Copy the tokenizer's files; one that the recipe makes is written in any case."""
    write_model_card: bool = True
    """Write README.md."""


def check_output(compiled: Compiled, out: Path, *, overwrite: bool) -> None:
    """Check that `out` can take the output, before any time is spent.

    Raises:
        OutputError: it shares a folder with an input, or is in use and may not be replaced.
    """
    inputs = [part.path for model in compiled.models.values() for part in model.files]
    refuse_output_inside_inputs(out, inputs)
    check_replaceable(resolved(out), overwrite=overwrite)


@known_objects_set_aside()
def run(
    compiled: Compiled, plan: Plan, out: Path, options: RunOptions, listener: Listener
) -> RunReport:
    """Execute a plan and publish the output; what is missing of the Hub is downloaded first.

    Raises:
        BudgetError: the plan does not fit its budget.
        InputError: an input does not hold what its header says, or `out` cannot be used.
        MachineError: the disk or the device failed. What is finished stays in `<out>.partial`.
    """
    from graphmerge.execution.engine import execute  # noqa: PLC0415 - planning never imports torch

    started = time.monotonic()
    plan.validate()
    check_output(compiled, out, overwrite=options.overwrite)
    download(compiled, plan)
    partial = prepare(out, overwrite=options.overwrite)
    tensors = [(output.name, output.spec) for output in plan.graph.outputs]
    layout = layout_shards(
        tensors,
        max_shard_bytes=options.shard_bytes,
        components=compiled.build.model.checkpoint.components,
    )
    progress = Progress(listener)
    for warning in plan.graph.warnings:
        progress.warn(warning)
    compiled.require_unchanged()
    fingerprints = compiled.fingerprints()
    with lock_partial(partial):
        identity = _identity(compiled, layout, fingerprints)
        flags = {"overwrite": options.overwrite, "durable": options.durable}
        with Journal.open(partial, identity, **flags) as journal:
            finished = intact_tensors(partial, layout, journal.finished)
            progress.add(finished_tensors=len(finished))
            with ShardWriter(partial, layout) as writer:
                sink = CheckpointSink(layout, writer, journal, finished, durable=options.durable)
                execute(plan, sink, progress, finished=finished, strict=options.strict)
        compiled.require_unchanged()
        seconds = time.monotonic() - started
        report = _report(plan, out, progress, len(finished), seconds, fingerprints)
        write_side_files(
            compiled,
            plan,
            partial,
            layout,
            sink.checksums,
            report,
            copy_tokenizer=options.copy_tokenizer,
            with_card=options.write_model_card,
        )
        publish(partial, out, overwrite=options.overwrite, durable=options.durable)
    return report


def _identity(
    compiled: Compiled, layout: ShardLayout, fingerprints: Mapping[str, str]
) -> JournalIdentity:
    values = dict(compiled.build.parameters)  # a function has a name in the recipe, no more
    recipe = f"{compiled.recipe!r} {values!r}"
    return JournalIdentity(
        recipe_digest=xxhash.xxh3_128_hexdigest(recipe.encode()),
        seed=compiled.seed,
        inputs=fingerprints,
        layout_digest=layout.digest,
        numerics_version=NUMERICS_VERSION,
        commits=compiled.commits(),
    )


def _report(
    plan: Plan,
    out: Path,
    progress: Progress,
    continued: int,
    seconds: float,
    fingerprints: Mapping[str, str],
) -> RunReport:
    return RunReport(
        out,
        plan.memory.predicted_peak_bytes,
        measured_peak_bytes(),
        progress.read_bytes,
        progress.written_bytes,
        continued,
        seconds,
        tuple(progress.warnings),
        fingerprints,
    )
