"""From a fine-tune and its base to a LoRA adapter: the best factors of each change of a matrix."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import numpy as np
from attrs import frozen

from graphmerge.calibration import assumed
from graphmerge.checkpoint.adapter import ADAPTER_WEIGHTS
from graphmerge.checkpoint.adapter_config import ADAPTER_CONFIG
from graphmerge.checkpoint.quantisation import find_quantisation
from graphmerge.checkpoint.vocabulary import find_embeddings
from graphmerge.errors import BudgetError, CheckpointError, Problem
from graphmerge.execution.reading import FileReader
from graphmerge.execution.stored_bytes import is_same
from graphmerge.execution.stored_values import stored
from graphmerge.nearest_factors import factorised, factorising_bytes
from graphmerge.output import ShardWriter, layout_shards, whole_folder, write_text
from graphmerge.schedule.executors import Executor
from graphmerge.spec import DType, TensorSpec
from graphmerge.units import format_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from graphmerge.checkpoint.values import Checkpoint, TensorEntry

_TRANSPOSED_KINDS = ("gpt2", "openai-gpt", "imagegpt", "decision_transformer")
"""Kinds of models whose linear layers store (columns, rows)."""
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
    left_out: tuple[str, ...]
    """Tensors that have changed and that the adapter does not hold."""


@frozen(eq=False)
class _Pair:
    """A matrix of both models."""

    module: str
    tuned: TensorEntry
    base: TensorEntry
    rank: int


def extract(
    tuned: Checkpoint,
    base: Checkpoint,
    out: Path,
    *,
    base_name: str,
    rank: int,
    modules: str,
    budget_bytes: int,
    overwrite: bool = False,
) -> Extraction:
    """Write the adapter that is nearest to what a fine-tune has changed.

    Per matrix the product B A of rank R that is nearest to W - W_base in the Frobenius norm (Eckart
    and Young), found in float64 (see `nearest_factors`); factors in float32.

    Args:
        tuned: The fine-tune.
        base: The model that it was made from.
        out: Folder to be made.
        base_name: What the adapter's config calls the base.
        rank: Most ranks of a matrix.
        modules: Regular expression; modules in whose name it is found take part.
        budget_bytes: Most memory of the process.
        overwrite: Replace an `out` that exists.

    Raises:
        CheckpointError: the models are quantised, have not the same tensors, or no matrix takes
            part.
        BudgetError: the memory does not do.
        OutputError: `out` is in use and may not be replaced, or shares a folder with a model.
        MachineError: a file cannot be read or written.
    """
    _check_models(tuned, base)
    pairs = tuple(_pairs(tuned, base, rank, re.compile(modules)))
    if not pairs:
        raise CheckpointError(Problem("no matrix takes part", str(tuned.path), got=modules))
    _check_budget(pairs, budget_bytes)
    is_transposed = base.config.get("model_type") in _TRANSPOSED_KINDS
    held = {f"{pair.module}.weight" for pair in pairs}
    inputs = (tuned.path, base.path)
    with (
        whole_folder(out, inputs=inputs, overwrite=overwrite) as folder,
        FileReader() as reader,
    ):
        found = tuple(_write_factors(pairs, folder, reader, is_transposed=is_transposed))
        left_out = tuple(_changed(tuned, base, held, reader))
        config = _config(pairs, rank, base_name, is_transposed=is_transposed)
        write_text(folder / ADAPTER_CONFIG, json.dumps(config, indent=2) + "\n")
    return Extraction(found, left_out)


def _check_models(tuned: Checkpoint, base: Checkpoint) -> None:
    problems = [
        quantisation.problem(str(model.path))
        for model in (tuned, base)
        if (quantisation := find_quantisation(model)) is not None
    ]
    problems += [
        Problem(f"tensor {name} is in one model only", str(tuned.path))
        for name in sorted(tuned.tensors.keys() ^ base.tensors.keys())
    ]
    problems += [
        Problem("shapes differ", f"tensor {name}", f"{entry.spec} and {base.tensors[name].spec}")
        for name, entry in tuned.tensors.items()
        if name in base.tensors and entry.spec.shape != base.tensors[name].spec.shape
    ]
    if problems:
        raise CheckpointError(*problems[:20])


def _pairs(
    tuned: Checkpoint, base: Checkpoint, rank: int, modules: re.Pattern[str]
) -> Iterator[_Pair]:
    vocabulary = set(find_embeddings(base))
    for name, entry in tuned.tensors.items():
        module, other = name.removesuffix(".weight"), base.tensors[name]
        is_matrix = module != name and len(entry.spec.shape) == 2 and entry.spec.numel
        floats = entry.spec.dtype.is_mergeable_float and other.spec.dtype.is_mergeable_float
        if is_matrix and floats and name not in vocabulary and modules.search(module):
            yield _Pair(module, entry, other, min(rank, *entry.spec.shape))


def _check_budget(pairs: tuple[_Pair, ...], budget_bytes: int) -> None:
    reserved = assumed(Executor.COPY)
    most, pair = max(((_working_bytes(pair), pair) for pair in pairs), key=lambda item: item[0])
    needed = reserved.base_bytes + reserved.worker_bytes + most
    if needed > budget_bytes:
        got, wanted = format_bytes(budget_bytes), f"at least {format_bytes(needed)}"
        raise BudgetError(Problem("the memory budget does not do", pair.module, got, wanted))


def _working_bytes(pair: _Pair) -> int:
    rows, columns = pair.tuned.spec.shape
    size = rows * columns
    beside = max(_READING_BYTES * size, factorising_bytes(rows, columns, pair.rank))
    return _CHANGE_BYTES * size + beside


def _write_factors(
    pairs: tuple[_Pair, ...], folder: Path, reader: FileReader, *, is_transposed: bool
) -> Iterator[Extracted]:
    specs: list[tuple[str, TensorSpec]] = []
    for pair in pairs:
        rows, columns = pair.tuned.spec.shape[:: -1 if is_transposed else 1]
        specs.append((_stored(pair, "A"), TensorSpec((pair.rank, columns), DType.F32)))
        specs.append((_stored(pair, "B"), TensorSpec((rows, pair.rank), DType.F32)))
    layout = layout_shards(specs, max_shard_bytes=sum(spec.nbytes for _, spec in specs))
    with ShardWriter(folder, layout) as writer:
        for pair in pairs:
            a, b, error = factorised(_change(pair, reader), pair.rank)
            a, b = (b.T, a.T) if is_transposed else (a, b)
            for part, values in (("A", a), ("B", b)):
                numbers = np.ascontiguousarray(values, np.float32)
                writer.write(layout.slots[_stored(pair, part)], 0, numbers)
            yield Extracted(pair.module, pair.rank, error)
    (folder / layout.shards[0].file_name).rename(folder / ADAPTER_WEIGHTS)


def _stored(pair: _Pair, part: str) -> str:
    return f"base_model.model.{pair.module}.lora_{part}.weight"


def _change(pair: _Pair, reader: FileReader) -> NDArray[np.float64]:
    spec = pair.tuned.spec
    change = stored(pair.tuned, reader).numbers(0, spec.numel).astype(np.float64)
    change -= stored(pair.base, reader).numbers(0, spec.numel)
    return change.reshape(spec.shape)


def _changed(
    tuned: Checkpoint, base: Checkpoint, held: set[str], reader: FileReader
) -> Iterator[str]:
    """Tensors outside the adapter that are not the same in both models."""
    for name, entry in tuned.tensors.items():
        if name not in held and not is_same(entry, base.tensors[name], reader):
            yield name


def _config(
    pairs: tuple[_Pair, ...], rank: int, base_name: str, *, is_transposed: bool
) -> Mapping[str, Any]:
    """alpha is the rank, so that the scale is 1."""
    lower = {pair.module: pair.rank for pair in pairs if pair.rank < rank}
    return {
        "peft_type": "LORA",
        "task_type": None,
        "base_model_name_or_path": base_name,
        "inference_mode": True,
        "r": rank,
        "lora_alpha": rank,
        "lora_dropout": 0.0,
        "bias": "none",
        "fan_in_fan_out": is_transposed,
        "target_modules": [pair.module for pair in pairs],
        "rank_pattern": lower,
        "alpha_pattern": lower,
    }
