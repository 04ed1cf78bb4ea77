"""From a fine-tune and its base to a LoRA adapter: the best factors of each change of a matrix."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np

from graphmerge.adapters.embedding_names import is_embedding
from graphmerge.adapters.nearest_factors import factorised, factorising_bytes
from graphmerge.adapters.output import (
    MOST_PROBLEMS,
    AdapterInput,
    AdapterWriter,
    Made,
    Making,
    adapter_writer,
)
from graphmerge.adapters.rank_patterns import rank_pattern
from graphmerge.calibration import assumed
from graphmerge.checkpoint.quantisation import find_quantisation
from graphmerge.checkpoint.transposed import is_stored_transposed
from graphmerge.checkpoint.vocabulary import find_embeddings
from graphmerge.errors import BudgetError, CheckpointError, Problem, shortened
from graphmerge.execution.reading import FileReader
from graphmerge.execution.stored_bytes import is_same
from graphmerge.execution.stored_values import all_finite, finite_numbers, stored
from graphmerge.frozen_classes import frozen
from graphmerge.recipe.references import parse_reference
from graphmerge.schedule.executors import Executor
from graphmerge.spec import LARGEST, DType, TensorSpec
from graphmerge.statistics.quiet import QUIET
from graphmerge.units import format_bytes, whole_mib

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from graphmerge.checkpoint.values import Checkpoint, TensorEntry

EVERY_MODULE = ".*"
"""The regular expression of all modules."""
_CHANGE_BYTES = 8
"""Bytes per element of a change: float64."""
_READING_BYTES = 10
"""Bytes per element of a matrix while it is read: as it is stored, and converted in two steps."""


@frozen
class Extracted:
    """The factors of one module."""

    module: str
    """Name of the module."""
    rank: int
    """Their rank."""
    error: float
    """|W - W_base - B A| / |W - W_base|, Frobenius norms; 0 where nothing has changed."""


@frozen
class Extraction:
    """What was extracted, and what was not."""

    modules: tuple[Extracted, ...]
    """Every module that has factors."""
    warnings: tuple[str, ...]
    """What the adapter does not hold although it has changed."""


@frozen(eq=False)
class _Pair:
    """A matrix of both models."""

    module: str
    tuned: TensorEntry
    base: TensorEntry
    rank: int
    is_transposed: bool


def extract(
    tuned: AdapterInput,
    base: AdapterInput,
    out: Path,
    *,
    rank: int,
    modules: str,
    budget_bytes: int,
    overwrite: bool = False,
    with_card: bool = True,
) -> Extraction:
    """Write the adapter that is nearest to what a fine-tune has changed.

    Per matrix the product B A of rank R that is nearest to W - W_base in the Frobenius norm (Eckart
    and Young), found in float64 (see `nearest_factors`); factors in float32.

    Args:
        tuned: The fine-tune.
        base: The model that it was made from.
        out: Folder to be made.
        rank: Most ranks of a matrix.
        modules: Regular expression; modules in whose name it is found take part.
        budget_bytes: Most memory of the process.
        overwrite: Replace an `out` that exists.
        with_card: Whether there is a model card.

    Raises:
        CheckpointError: the models are quantised, have not the same tensors, or no matrix takes
            part.
        BudgetError: the memory does not do.
        OutputError: `out` is in use and may not be replaced, or shares a folder with a model.
        MachineError: a file cannot be read or written.
    """
    _check_models(tuned, base)
    models = tuned.checkpoint, base.checkpoint
    pairs = tuple(_pairs(*models, rank, re.compile(modules)))
    if not pairs:
        hint = "`graphmerge inspect` shows the names; embeddings and heads never take part"
        raise CheckpointError(Problem("no matrix takes part", tuned.reference, modules, hint=hint))
    needed_bytes = _needed_bytes(pairs, budget_bytes)
    making = Making(
        method="extract-lora",
        arguments=(
            *(tuned.reference, base.reference, str(out), "--rank", str(rank)),
            *(() if modules == EVERY_MODULE else ("--modules", modules)),
        ),
        inputs=(tuned, base),
        base=base.part,
        loading_class=_loading_class(base.checkpoint),
        predicted_peak_bytes=needed_bytes,
        budget_bytes=budget_bytes,
        with_card=with_card,
    )
    specs = _specs(pairs)
    with adapter_writer(out, specs, making, overwrite=overwrite) as writer, FileReader() as reader:
        found = tuple(_write_factors(pairs, writer, reader))
        extraction = Extraction(found, tuple(_left_out(*models, pairs, reader)))
        config = _config(pairs, rank, base.reference)
        writer.finish(config, _made(extraction, rank, modules))
    return extraction


def _check_models(tuned: AdapterInput, base: AdapterInput) -> None:
    problems = [
        quantisation.problem(model.reference)
        for model in (tuned, base)
        if (quantisation := find_quantisation(model.checkpoint)) is not None
    ]
    own, others = tuned.checkpoint.tensors, base.checkpoint.tensors
    problems += [
        Problem(
            f"tensor {name} is in one model only",
            (tuned if name in own else base).reference,
            hint="give the base that the fine-tune was made from",
        )
        for name in sorted(own.keys() ^ others.keys())
    ]
    problems += [
        Problem("shapes differ", f"tensor {name}", f"{own[name].spec} and {others[name].spec}")
        for name in own
        if name in others and own[name].spec.shape != others[name].spec.shape
    ]
    if problems:
        raise CheckpointError(*shortened(problems, most=MOST_PROBLEMS))


def _pairs(
    tuned: Checkpoint, base: Checkpoint, rank: int, modules: re.Pattern[str]
) -> Iterator[_Pair]:
    vocabulary = set(find_embeddings(base))
    for name, entry in tuned.tensors.items():
        module, other = name.removesuffix(".weight"), base.tensors[name]
        is_matrix = module != name and len(entry.spec.shape) == 2 and entry.spec.numel
        floats = entry.spec.dtype.is_mergeable_float and other.spec.dtype.is_mergeable_float
        is_table = name in vocabulary or is_embedding(module)
        if is_matrix and floats and not is_table and modules.search(module):
            is_transposed = bool(is_stored_transposed(module, base.config))
            yield _Pair(module, entry, other, min(rank, *entry.spec.shape), is_transposed)


def _needed_bytes(pairs: tuple[_Pair, ...], budget_bytes: int) -> int:
    """Peak memory of the process.

    Raises:
        BudgetError: it is more than the budget.
    """
    reserved = assumed(Executor.COPY)
    most, pair = max(((_working_bytes(pair), pair) for pair in pairs), key=lambda item: item[0])
    needed = reserved.base_bytes + reserved.worker_bytes + most
    if needed > budget_bytes:
        got, wanted = format_bytes(budget_bytes), f"at least {whole_mib(needed)} MiB"
        raise BudgetError(Problem("the memory budget does not do", pair.module, got, wanted))
    return needed


def _working_bytes(pair: _Pair) -> int:
    rows, columns = pair.tuned.spec.shape
    size = rows * columns
    beside = max(_READING_BYTES * size, factorising_bytes(rows, columns, pair.rank))
    return _CHANGE_BYTES * size + beside


def _specs(pairs: tuple[_Pair, ...]) -> list[tuple[str, TensorSpec]]:
    specs: list[tuple[str, TensorSpec]] = []
    for pair in pairs:
        rows, columns = pair.tuned.spec.shape[:: -1 if pair.is_transposed else 1]
        specs.append((_stored(pair, "A"), TensorSpec((pair.rank, columns), DType.F32)))
        specs.append((_stored(pair, "B"), TensorSpec((rows, pair.rank), DType.F32)))
    return specs


def _write_factors(
    pairs: tuple[_Pair, ...], writer: AdapterWriter, reader: FileReader
) -> Iterator[Extracted]:
    for pair in pairs:
        a, b, error = factorised(_change(pair, reader), pair.rank)
        a, b = (b.T, a.T) if pair.is_transposed else (a, b)
        writer.write(_stored(pair, "A"), a)
        writer.write(_stored(pair, "B"), b)
        yield Extracted(pair.module, pair.rank, error)


def _stored(pair: _Pair, part: str) -> str:
    return f"base_model.model.{pair.module}.lora_{part}.weight"


@QUIET
def _change(pair: _Pair, reader: FileReader) -> NDArray[np.float64]:
    """What a fine-tune has changed of a matrix.

    Raises:
        CheckpointError: it is no number, or larger than the float32 of factors and their products.
        MachineError: a file cannot be read.
    """
    spec = pair.tuned.spec
    change = stored(pair.tuned, reader).numbers(0, spec.numel).astype(np.float64)
    change -= stored(pair.base, reader).numbers(0, spec.numel)
    if not all_finite(change):
        for entry in (pair.base, pair.tuned):
            finite_numbers(entry, reader)  # which says where it is
    largest = max(change.max(), -change.min())
    if largest > LARGEST:
        what, where = "a change that float32 has no room for", f"tensor {pair.tuned.name}"
        raise CheckpointError(Problem(what, f"{pair.tuned.file}, {where}", f"{largest:g}"))
    return change.reshape(spec.shape)


def _left_out(
    tuned: Checkpoint, base: Checkpoint, pairs: tuple[_Pair, ...], reader: FileReader
) -> Iterator[str]:
    """A warning for each tensor outside the adapter that is not the same in both models."""
    held = {f"{pair.module}.weight" for pair in pairs}
    for name, entry in tuned.tensors.items():
        if name not in held and not is_same(entry, base.tensors[name], reader):
            yield f"left out, although it has changed: {name}"


def _config(pairs: tuple[_Pair, ...], rank: int, base_name: str) -> Mapping[str, Any]:
    """alpha is the rank, so that the scale is 1."""
    patterns = rank_pattern({pair.module: pair.rank for pair in pairs}, rank)
    base = parse_reference(base_name, recipe_folder=None)
    return {
        "peft_type": "LORA",
        "task_type": None,
        "base_model_name_or_path": base.path,
        "revision": base.revision,
        "inference_mode": True,
        "r": rank,
        "lora_alpha": rank,
        "lora_dropout": 0.0,
        "bias": "none",
        "fan_in_fan_out": any(pair.is_transposed for pair in pairs),
        "target_modules": [pair.module for pair in pairs],
        "rank_pattern": patterns,
        "alpha_pattern": patterns,
    }


def _loading_class(base: Checkpoint) -> str:
    """The class of transformers that loads a model; empty if its config does not say."""
    stated = base.config.get("architectures")
    return str(stated[0]) if isinstance(stated, list) and stated else ""


def _made(extraction: Extraction, rank: int, modules: str) -> Made:
    """What manifest and card say of an extraction."""
    errors = {one.module: one.error for one in extraction.modules}
    return Made(
        summary=(
            f"the nearest factors of rank {rank} of what the fine-tune has changed, with relative "
            f"errors from {min(errors.values()):.3g} to {max(errors.values()):.3g} of the changes."
        ),
        roles=("the fine-tune", "its base"),
        parameters={"rank": rank, "modules": modules, "relative_errors": errors},
        warnings=extraction.warnings,
    )
