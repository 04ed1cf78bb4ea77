"""From recipe to published checkpoint: the one place that knows every stage."""

from __future__ import annotations

import time
from importlib.metadata import version
from platform import python_version
from typing import TYPE_CHECKING

import xxhash
from attrs import frozen

from graphmerge import calibration
from graphmerge.build.graph import Build, build_graph
from graphmerge.build.models import Model, open_model, references
from graphmerge.checkpoint.fingerprint import fingerprint
from graphmerge.checkpoint.reading import read_checkpoint
from graphmerge.collection import paused_collection
from graphmerge.errors import InputError, Problem
from graphmerge.execution.events import Listener, Progress
from graphmerge.execution.peak import measured_peak_bytes
from graphmerge.methods.registry import find_method
from graphmerge.ops.blocks import NUMERICS_VERSION
from graphmerge.output import (
    INDEX_NAME,
    CheckpointSink,
    Journal,
    JournalIdentity,
    Manifest,
    ManifestInput,
    ManifestTensor,
    ShardLayout,
    ShardWriter,
    check_replaceable,
    copy_side_files,
    intact_tensors,
    layout_shards,
    lock_partial,
    model_card,
    output_config,
    prepare,
    publish,
    refuse_output_inside_inputs,
    write_config,
    write_manifest,
    write_text,
)
from graphmerge.recipe.parse import load_recipe
from graphmerge.recipe.references import resolve_local
from graphmerge.schedule.choose import schedule

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from graphmerge.methods.base import Method
    from graphmerge.recipe.values import ModelReference, Recipe
    from graphmerge.schedule.plan import Plan, Request
    from graphmerge.spec import DType

RECIPE_NAME = "graphmerge_recipe.yml"
"""Name of the recipe in the output folder."""
DEFAULT_SHARD_BYTES = 5 * 10**9
"""Size of output shards where the user gives none; what the Hub recommends."""


@frozen(eq=False)
class Compiled:
    """A recipe with everything that headers and methods say about it."""

    recipe: Recipe
    """The recipe."""
    method: Method
    """Its method."""
    models: Mapping[ModelReference, Model]
    """The models."""
    build: Build
    """The graph, and what the output's config needs."""
    seed: int
    """Seed of random masks."""


@paused_collection()
def compile_recipe(path: Path, *, seed: int = 0) -> Compiled:
    """Read a recipe and the headers of its models, and build the graph.

    Raises:
        InputError: everything that is wrong with the recipe or its models.
        MachineError: a file cannot be read.
    """
    recipe = load_recipe(path)
    method = find_method(recipe.merge_method)
    models = {
        reference: open_model(reference, read_checkpoint(_local(reference, path.parent)))
        for reference in references(recipe)
    }
    _refuse_unsupported(recipe, models)
    return Compiled(recipe, method, models, build_graph(recipe, method, models, seed=seed), seed)


def _local(reference: ModelReference, recipe_folder: Path) -> Path:
    if reference.lora is not None:
        what = "adapters (LoRA) are not supported yet"
        raise InputError(
            Problem(what, str(reference), hint="merge the adapter into its model first")
        )
    path = resolve_local(reference, recipe_folder)
    if path is None:
        hint = "models from the Hub are not supported yet: download it and give the path"
        raise InputError(Problem("no such local folder", str(reference), hint=hint))
    return path


_TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json", "merges.txt", "vocab.txt")


def _refuse_unsupported(recipe: Recipe, models: Mapping[ModelReference, Model]) -> None:
    """A tokenizer section is a no-op where all vocabularies are the same, and refused elsewhere."""
    problems = []
    settings = recipe.tokenizer
    if recipe.chat_template is not None:
        problems.append(Problem("chat templates are not supported yet", "$.chat_template"))
    if settings is not None:
        vocabularies = {_vocabulary_digest(model) for model in models.values()}
        if len(vocabularies) > 1 or settings.tokens or settings.pad_to_multiple_of:
            problems.append(
                Problem(
                    "combining different vocabularies is not supported yet",
                    "$.tokenizer",
                    hint="leave the section out if the vocabularies are the same",
                )
            )
    if problems:
        raise InputError(*problems)


def _vocabulary_digest(model: Model) -> str:
    files = [file for file in model.checkpoint.side_files if file.name in _TOKENIZER_FILES]
    digest = xxhash.xxh3_128()
    for file in files:
        digest.update(file.name.encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()


@paused_collection()
def make_plan(compiled: Compiled, request: Request, *, calibrate: bool) -> Plan:
    """The plan of a compiled recipe.

    Args:
        compiled: From `compile_recipe`.
        request: What the plan may take.
        calibrate: Measure this environment if that was never done; otherwise a default serves.

    Raises:
        MachineError: calibration failed.
    """
    reserved = (
        calibration.calibrate()
        if calibrate
        else calibration.cached_reserved() or calibration.DEFAULT
    )
    return schedule(compiled.build.graph, request, reserved)


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
    """Refuse inputs with NaN or infinity."""


@frozen(eq=False)
class RunReport:
    """What a run did."""

    out: Path
    """The published folder."""
    predicted_peak_bytes: int
    """Peak memory of the process, as planned."""
    measured_peak_bytes: int
    """Peak memory of the process, as it was."""
    read_bytes: int
    """Bytes read from the inputs."""
    written_bytes: int
    """Bytes of tensors written."""
    continued_tensors: int
    """Output tensors that an interrupted run had finished before."""
    seconds: float
    """Duration from recipe to publication."""
    warnings: tuple[str, ...]
    """What the user was told."""


def check_output(compiled: Compiled, out: Path, *, overwrite: bool) -> None:
    """Check that `out` can take the output, before any time is spent.

    Raises:
        OutputError: it shares a folder with an input, or is in use and may not be replaced.
    """
    inputs = [model.checkpoint.path for model in compiled.models.values()]
    refuse_output_inside_inputs(out, inputs)
    check_replaceable(out.resolve(), overwrite=overwrite)


def run(
    compiled: Compiled, plan: Plan, out: Path, options: RunOptions, listener: Listener
) -> RunReport:
    """Execute a plan and publish the output.

    Raises:
        BudgetError: the plan does not fit its budget.
        InputError: an input does not hold what its header says, or `out` cannot be used.
        MachineError: the disk or the device failed. What is finished stays in `<out>.partial`.
    """
    from graphmerge.execution.engine import execute  # noqa: PLC0415 - planning never imports torch

    started = time.monotonic()
    plan.validate()
    check_output(compiled, out, overwrite=options.overwrite)
    partial = prepare(out, overwrite=options.overwrite)
    tensors = [(output.name, output.node.spec) for output in plan.graph.outputs]
    layout = layout_shards(tensors, max_shard_bytes=options.shard_bytes)
    progress = Progress(listener)
    for warning in plan.graph.warnings:
        progress.warn(warning)
    with lock_partial(partial):
        identity = _identity(compiled, layout)
        flags = {"overwrite": options.overwrite, "durable": options.durable}
        with Journal.open(partial, identity, **flags) as journal:
            finished = intact_tensors(partial, layout, journal.finished)
            progress.add(finished_tensors=len(finished))
            with ShardWriter(partial, layout) as writer:
                sink = CheckpointSink(layout, writer, journal, finished, durable=options.durable)
                execute(plan, sink, progress, finished=finished, strict=options.strict)
        report = _report(plan, out, progress, len(finished), time.monotonic() - started)
        _write_side_files(compiled, plan, partial, layout, sink.checksums, report)
        publish(partial, out, overwrite=options.overwrite, durable=options.durable)
    return report


def _identity(compiled: Compiled, layout: ShardLayout) -> JournalIdentity:
    recipe = f"{compiled.recipe!r} seed={compiled.seed}"
    return JournalIdentity(
        recipe_digest=xxhash.xxh3_128_hexdigest(recipe.encode()),
        inputs=_fingerprints(compiled),
        layout_digest=layout.digest,
        numerics_version=NUMERICS_VERSION,
    )


def _fingerprints(compiled: Compiled) -> dict[str, str]:
    return {model.label: fingerprint(model.checkpoint) for model in compiled.models.values()}


def _report(plan: Plan, out: Path, progress: Progress, continued: int, seconds: float) -> RunReport:
    return RunReport(
        out,
        plan.memory.predicted_peak_bytes,
        measured_peak_bytes(),
        progress.read_bytes,
        progress.written_bytes,
        continued,
        seconds,
        tuple(progress.warnings),
    )


def _write_side_files(
    compiled: Compiled,
    plan: Plan,
    partial: Path,
    layout: ShardLayout,
    checksums: Mapping[str, str],
    report: RunReport,
) -> None:
    recipe, donor = compiled.recipe, compiled.build.donor
    if len(layout.shards) > 1:
        write_text(partial / INDEX_NAME, layout.index_json())
    if donor.checkpoint.config:
        write_config(partial, _config(compiled))
    folder = (
        donor.checkpoint.path if donor.checkpoint.path.is_dir() else donor.checkpoint.path.parent
    )
    copy_side_files(donor.checkpoint.side_files, partial, donor=folder)
    write_text(partial / RECIPE_NAME, recipe.text)
    card = model_card(
        title=report.out.name,
        method=recipe.merge_method,
        models=list(compiled.models),
        recipe_text=recipe.text,
        local_paths={reference.path for reference in compiled.models},
    )
    write_text(partial / "README.md", card)
    write_manifest(partial, _manifest(compiled, plan, layout, checksums, report))


def _config(compiled: Compiled) -> dict[str, object]:
    build, recipe = compiled.build, compiled.recipe
    key = build.layer_count_key
    sources = build.layer_sources if key else None
    return output_config(
        build.donor.checkpoint.config,
        layer_counts={key: len(sources)} if sources is not None else {},
        layer_sources={key: sources} if sources is not None else {},
        dtype=recipe.out_dtype or recipe.dtype or _promoted_dtype(build),
    )


def _promoted_dtype(build: Build) -> DType | None:
    """The dtype of all merged floats where the donor stores another; else None: no change."""
    merged = {output.node.spec.dtype for output in build.graph.outputs}
    floats = {dtype for dtype in merged if dtype.is_mergeable_float}
    stored = {entry.spec.dtype for entry in build.donor.checkpoint.tensors.values()}
    return next(iter(floats)) if len(floats) == 1 and not floats & stored else None


def _manifest(
    compiled: Compiled,
    plan: Plan,
    layout: ShardLayout,
    checksums: Mapping[str, str],
    report: RunReport,
) -> Manifest:
    fingerprints = _fingerprints(compiled)
    return Manifest(
        graphmerge_version=version("graphmerge"),
        recipe=compiled.recipe.text,
        method=compiled.method.name,
        parameters=compiled.build.parameters,
        seed=compiled.seed,
        versions={"python": python_version()}
        | {name: version(name) for name in ("torch", "numpy", "safetensors")},
        inputs=tuple(
            ManifestInput(model.label, str(model.checkpoint.path), fingerprints[model.label])
            for model in compiled.models.values()
        ),
        tensors={
            name: ManifestTensor(
                checksums[name],
                slot.spec.dtype,
                slot.spec.shape,
                layout.shards[slot.shard].file_name,
            )
            for name, slot in layout.slots.items()
        },
        predicted_peak_bytes=report.predicted_peak_bytes,
        measured_peak_bytes=report.measured_peak_bytes,
        budget_bytes=plan.request.budget_bytes,
        seconds=report.seconds,
        read_bytes=report.read_bytes,
        written_bytes=report.written_bytes,
        warnings=report.warnings,
    )
