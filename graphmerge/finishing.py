"""What a run did, and what stands beside the shards of its output."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graphmerge.checkpoint.components import component_config
from graphmerge.checkpoint.language_config import language_values
from graphmerge.checkpoint.own_files import CARD_NAME, RECIPE_NAME
from graphmerge.checkpoint.quantisation import find_quantisation
from graphmerge.checkpoint.side_files import is_tokenizer_file
from graphmerge.checkpoint.values import component_of
from graphmerge.checkpoint.vocabulary import find_embeddings, stored_head, untied, vocabulary_rows
from graphmerge.describing import card_of
from graphmerge.frozen_classes import frozen
from graphmerge.machine import installed_version, installed_versions
from graphmerge.output import (
    Manifest,
    ShardLayout,
    copy_side_files,
    has_dtype,
    manifest_input,
    manifest_tensors,
    model_card,
    output_config,
    write_config,
    write_manifest,
    write_text,
)
from graphmerge.tokenizer_output import config_with_token_ids, folder_of, write_tokenizer

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from graphmerge.build.graph import Build
    from graphmerge.checkpoint.values import Component
    from graphmerge.compilation import Compiled
    from graphmerge.schedule.plan import Plan
    from graphmerge.spec import DType


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
    fingerprints: Mapping[str, str]
    """Fingerprint of every model's files, by label, from before the first byte was read."""


def write_side_files(
    compiled: Compiled,
    plan: Plan,
    partial: Path,
    layout: ShardLayout,
    checksums: Mapping[str, str],
    report: RunReport,
    *,
    copy_tokenizer: bool,
    with_card: bool,
) -> None:
    """Write all but the shards into the unfinished output.

    Args:
        compiled: What was merged.
        plan: The plan that was run.
        partial: The unfinished output.
        layout: Where its tensors are.
        checksums: Of every tensor.
        report: What the run did.
        copy_tokenizer: Whether files of a tokenizer are copied.
        with_card: Whether there is a model card.

    Raises:
        MachineError: a file cannot be read or written.
    """
    for path, text in layout.indexes().items():
        write_text(partial / path, text)
    if not compiled.build.model.record:
        _write_model_files(compiled, partial, checksums, copy_tokenizer=copy_tokenizer)
    write_text(partial / RECIPE_NAME, compiled.recipe.text)
    if with_card:
        card = card_of(compiled, partial, report.out.resolve().name)
        write_text(partial / CARD_NAME, model_card(card))
    write_manifest(partial, _manifest(compiled, plan, layout, checksums, report))


def _write_model_files(
    compiled: Compiled, partial: Path, checksums: Mapping[str, str], *, copy_tokenizer: bool
) -> None:
    """Write configs and tokenizer: what makes a model of weights."""
    donor, config = compiled.build.model.checkpoint, _config(compiled)
    if _is_untied(compiled, checksums):
        config = untied(config)
    for component in donor.components:
        own = component_config(config, component, donor.components)
        if own:
            write_config(partial / component.folder, _with_dtype(compiled, component, own))
    copied = [x for x in donor.side_files if copy_tokenizer or not is_tokenizer_file(x)]
    copy_side_files(copied, partial, donor=folder_of(donor))
    write_tokenizer(compiled, partial, copied=copy_tokenizer)


def _config(compiled: Compiled) -> dict[str, object]:
    config = config_with_token_ids(compiled)
    return output_config(config, vocabulary_size=_vocabulary_size(compiled.build))


def _is_untied(compiled: Compiled, checksums: Mapping[str, str]) -> bool:
    """Whether a head is written that differs from the embedding, which the donor has for both."""
    model, pair = compiled.build.model, stored_head(checksums)
    if pair is None or checksums[pair[0]] == checksums[pair[1]]:
        return False
    stated = language_values(model.config, "tie_word_embeddings", bool)
    return any(stated) or (not stated and pair[0] not in model.checkpoint.tensors)


def _with_dtype(
    compiled: Compiled, component: Component, config: Mapping[str, object]
) -> dict[str, object]:
    """The config of a component with the dtype of its weights; diffusers has no key for that."""
    final = compiled.recipe.final
    is_told = not component.folder or has_dtype(config)
    dtype = final.out_dtype or final.dtype or _promoted_dtype(compiled.build, component)
    return output_config(config, dtype=dtype if is_told else None)


def _vocabulary_size(build: Build) -> int | None:
    """Rows of the output's vocabulary tensors where they are not those of the donor."""
    donor = build.model.checkpoint
    specs = {output.name: output.spec for output in build.graph.outputs}
    for name in find_embeddings(donor):
        stored = vocabulary_rows(name, donor.tensors[name].spec.shape)
        rows = vocabulary_rows(name, specs[name].shape) if name in specs else stored
        if rows != stored:
            return rows
    return None


def _promoted_dtype(build: Build, component: Component) -> DType | None:
    """The dtype of all merged floats where the donor stores another; else None: no change."""
    donor = build.model.checkpoint

    def in_component(name: str) -> bool:
        return component_of(name, donor.components).folder == component.folder

    merged = {out.spec.dtype for out in build.graph.outputs if in_component(out.name)}
    floats = {dtype for dtype in merged if dtype.is_mergeable_float}
    quantisation = find_quantisation(donor)
    coded = {*quantisation.weights, *quantisation.parts} if quantisation else set()
    stored = {
        entry.spec.dtype
        for name, entry in donor.tensors.items()
        if in_component(name) and name not in coded
    }
    return next(iter(floats)) if len(floats) == 1 and not floats & stored else None


def _manifest(
    compiled: Compiled,
    plan: Plan,
    layout: ShardLayout,
    checksums: Mapping[str, str],
    report: RunReport,
) -> Manifest:
    return Manifest(
        graphmerge_version=installed_version("graphmerge"),
        recipe=compiled.recipe.text,
        method=compiled.recipe.methods,
        parameters=compiled.build.parameters,
        seed=compiled.seed,
        versions=installed_versions(),
        inputs=tuple(
            manifest_input(model.label, model.files, report.fingerprints[model.label])
            for model in compiled.models.values()
        ),
        tensors=manifest_tensors(layout, checksums),
        predicted_peak_bytes=report.predicted_peak_bytes,
        measured_peak_bytes=report.measured_peak_bytes,
        budget_bytes=plan.request.budget_bytes,
        seconds=report.seconds,
        read_bytes=report.read_bytes,
        written_bytes=report.written_bytes,
        warnings=report.warnings,
    )
