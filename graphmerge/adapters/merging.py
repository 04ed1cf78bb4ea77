"""LoRA adapters of one base merged into one adapter, without making a full matrix."""

from __future__ import annotations

import math
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from graphmerge.adapters.card import loading_class
from graphmerge.adapters.output import (
    MOST_PROBLEMS,
    AdapterInput,
    AdapterWriter,
    Made,
    Making,
    adapter_writer,
)
from graphmerge.adapters.rank_patterns import rank_pattern
from graphmerge.describing import named_part
from graphmerge.errors import CheckpointError, Problem, shortened
from graphmerge.execution.reading import FileReader
from graphmerge.execution.stored_bytes import is_same
from graphmerge.execution.stored_values import finite_numbers
from graphmerge.frozen_classes import frozen
from graphmerge.spec import DType, TensorSpec

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from graphmerge.checkpoint.adapter import Adapter, Factors
    from graphmerge.checkpoint.values import TensorEntry

    Pair = tuple[NDArray[np.float64], NDArray[np.float64]]


class How(str, Enum):
    """How factors are merged."""

    CAT = "cat"
    SVD = "svd"
    LINEAR = "linear"


_SUMMARIES = {
    How.CAT: "exactly the weighted sum of the adapters' changes.",
    How.SVD: "the nearest to the weighted sum of the adapters' changes at these ranks.",
    How.LINEAR: "the factors themselves are summed, not the changes that they stand for.",
}
"""What model cards say of each way."""


@frozen(eq=False)
class WeightedAdapter:
    """One adapter of several that are merged."""

    reference: str
    """How it was named."""
    adapter: Adapter
    """Its config and factors."""
    weight: float
    """What its changes are multiplied by."""


@frozen(eq=False)
class _Part:
    """What one adapter has of a module."""

    factors: Factors
    weight: float
    """Weight of the adapter times the scale of its product."""


def merge_adapters(
    inputs: Sequence[WeightedAdapter],
    out: Path,
    *,
    how: How,
    rank: int | None,
    overwrite: bool = False,
    with_card: bool = True,
) -> dict[str, int]:
    """Write the merged adapter; returns the rank of every module.

    With s_i = weight * scale of adapter i, for every module:

    - `cat`: A = [A_1; ...], B = [s_1 B_1, ...]: exactly sum s_i B_i A_i, the ranks add up.
    - `svd`: the nearest to that sum of rank `rank`, by QR of the stacked factors.
    - `linear`: A = sum sgn(s_i) sqrt|s_i| A_i, B = sum sqrt|s_i| B_i, of equal ranks; that is not
      the sum of the products.

    Args:
        inputs: The adapters.
        out: Folder to be made.
        how: The rule.
        rank: Most ranks of a module, for `svd`; None for the largest of the inputs' ranks.
        overwrite: Replace an `out` that exists.
        with_card: Whether there is a model card.

    Raises:
        CheckpointError: the adapters do not fit each other.
        OutputError: `out` is in use and may not be replaced, or shares a folder with an adapter.
        MachineError: a file cannot be read or written.
    """
    adapters = [one.adapter for one in inputs]
    modules = _modules(inputs)
    base_layers = _base_layers(adapters)
    problems = [*_unsupported(inputs), *_misfits(modules, how), *_differing(base_layers)]
    if problems:
        raise CheckpointError(*shortened(problems, most=MOST_PROBLEMS))
    ranks = {name: _rank(parts, how, rank) for name, parts in modules.items()}
    kept = [entries[0] for entries in base_layers.values()]
    making = _making(inputs, out, how, rank, with_card=with_card)
    with (
        adapter_writer(out, _specs(modules, ranks, kept), making, overwrite=overwrite) as writer,
        FileReader() as reader,
    ):
        for entry in kept:
            writer.copy(entry, reader)
        for name, parts in modules.items():
            _write_merged(parts, ranks[name], how, writer, reader)
        writer.finish(_config(adapters[0], ranks), _made(inputs, how, rank))
    return ranks


def merged_factors(pairs: Sequence[Pair], weights: Sequence[float], how: How, rank: int) -> Pair:
    """A (rank, columns) and B (rows, rank) of one module: see `merge_adapters`."""
    if how is How.LINEAR:
        roots = np.sqrt(np.abs(weights))
        signs = np.sign(weights)
        a = sum(s * r * a for s, r, (a, _) in zip(signs, roots, pairs, strict=True))
        b = sum(r * b for r, (_, b) in zip(roots, pairs, strict=True))
        return np.asarray(a), np.asarray(b)
    a = np.vstack([a for a, _ in pairs])
    b = np.hstack([weight * b for weight, (_, b) in zip(weights, pairs, strict=True)])
    if how is How.CAT:
        return a, b
    left, left_rest = np.linalg.qr(b)
    right, right_rest = np.linalg.qr(a.T)
    u, values, v = np.linalg.svd(left_rest @ right_rest.T, full_matrices=False)
    roots = np.sqrt(values[:rank])
    return (roots[:, None] * v[:rank]) @ right.T, left @ (u[:, :rank] * roots)


def _modules(inputs: Sequence[WeightedAdapter]) -> dict[str, list[_Part]]:
    modules: dict[str, list[_Part]] = {}
    for one in inputs:
        for name, factors in one.adapter.factors.items():
            part = _Part(factors, one.weight * one.adapter.config.scale_of(name))
            modules.setdefault(name, []).append(part)
    return modules


def _unsupported(inputs: Sequence[WeightedAdapter]) -> Iterator[Problem]:
    first = inputs[0].adapter.config
    for one in inputs:
        adapter, where = one.adapter, one.reference
        biases = [f"{name}.bias" for name, own in adapter.factors.items() if own.bias]
        layers = adapter.base_layers
        whole = [*(name for name, own in adapter.whole.items() if own not in layers), *biases]
        if whole:
            hint = "merge the models (BASE+ADAPTER), and extract an adapter from the result"
            what = "an adapter with whole tensors or biases is not merged into an adapter"
            yield Problem(what, where, ", ".join(whole[:3]), hint=hint)
        own = adapter.config
        for what, got, wanted in (
            ("the adapters are not of one base model", own.base, first.base),
            ("the adapters differ in fan_in_fan_out", own.is_transposed, first.is_transposed),
        ):
            if got != wanted:
                yield Problem(what, where, f"{got!r}", f"{wanted!r}, as the first one has")


def _base_layers(adapters: Sequence[Adapter]) -> dict[str, list[TensorEntry]]:
    """What adapters have stored of the base model beside factors, by name."""
    found: dict[str, list[TensorEntry]] = {}
    for adapter in adapters:
        for entry in adapter.base_layers:
            found.setdefault(entry.name, []).append(entry)
    return found


def _differing(base_layers: Mapping[str, Sequence[TensorEntry]]) -> Iterator[Problem]:
    """Stored tensors of the base model that adapters do not agree on."""
    with FileReader() as reader:
        for name, (first, *others) in base_layers.items():
            for other in others:
                if not is_same(first, other, reader):
                    got = f"{first.spec} in {first.file}, {other.spec} in {other.file}"
                    yield Problem("the adapters are of different bases", f"tensor {name}", got)


def _misfits(modules: Mapping[str, Sequence[_Part]], how: How) -> Iterator[Problem]:
    for name, parts in modules.items():
        shapes = {(part.factors.a.spec.shape[1:], part.factors.b.spec.shape[0]) for part in parts}
        kinds = {part.factors.is_embedding for part in parts}
        ranks = {part.factors.a.spec.shape[0] for part in parts}
        if len(shapes) > 1 or len(kinds) > 1:
            yield Problem("factors of different shapes", f"module {name}", f"{sorted(shapes)}")
        elif how is How.LINEAR and len(ranks) > 1:
            yield Problem("linear needs equal ranks", f"module {name}", f"{sorted(ranks)}")


def _rank(parts: Sequence[_Part], how: How, rank: int | None) -> int:
    ranks = [part.factors.a.spec.shape[0] for part in parts]
    if how is How.CAT:
        return sum(ranks)
    if how is How.LINEAR:
        return ranks[0]
    factors = parts[0].factors
    sides = (math.prod(factors.a.spec.shape[1:]), factors.b.spec.shape[0])
    return min(rank or max(ranks), sum(ranks), *sides)


def _specs(
    modules: Mapping[str, Sequence[_Part]], ranks: Mapping[str, int], kept: Sequence[TensorEntry]
) -> list[tuple[str, TensorSpec]]:
    """The tensors of the output: merged factors, then tensors of the base model as they are."""
    specs: list[tuple[str, TensorSpec]] = []
    for name, parts in modules.items():
        a, b = parts[0].factors.a, parts[0].factors.b
        rank = ranks[name]
        specs.append((a.name, TensorSpec((rank, *a.spec.shape[1:]), DType.F32)))
        specs.append((b.name, TensorSpec((b.spec.shape[0], rank, *b.spec.shape[2:]), DType.F32)))
    return specs + [(entry.name, entry.spec) for entry in kept]


def _write_merged(
    parts: Sequence[_Part], rank: int, how: How, writer: AdapterWriter, reader: FileReader
) -> None:
    """Write the merged factors of one module."""
    pairs = [_pair(part.factors, reader) for part in parts]
    a, b = merged_factors(pairs, [part.weight for part in parts], how, rank)
    writer.write(parts[0].factors.a.name, a)
    writer.write(parts[0].factors.b.name, b)


def _pair(factors: Factors, reader: FileReader) -> Pair:
    rank = factors.a.spec.shape[0]
    a, b = finite_numbers(factors.a, reader), finite_numbers(factors.b, reader)
    return a.reshape(rank, -1), b.reshape(-1, rank)


def _config(first: Adapter, ranks: Mapping[str, int]) -> dict[str, Any]:
    """The first adapter's config; alpha is the rank, so that the scale is 1."""
    most = max(ranks.values())
    patterns = rank_pattern(ranks, most)
    return dict(first.checkpoint.config) | {
        "r": most,
        "lora_alpha": most,
        "use_rslora": False,
        "target_modules": list(ranks),
        "rank_pattern": patterns,
        "alpha_pattern": patterns,
        "layers_to_transform": None,
        "layers_pattern": None,
        "exclude_modules": None,
        "modules_to_save": None,
        "bias": "none",
        "lora_bias": False,
        "init_lora_weights": True,
    }


def _making(
    inputs: Sequence[WeightedAdapter], out: Path, how: How, rank: int | None, *, with_card: bool
) -> Making:
    weights = (f"--weight={one.weight!r}" for one in inputs)
    first = inputs[0].adapter
    base, revision = first.config.base, first.config.revision
    place = Path(base) if Path(base).exists() else None
    return Making(
        method="merge-lora",
        arguments=(
            *(str(out), *(one.reference for one in inputs), "--method", how.value, *weights),
            *(() if rank is None else ("--rank", str(rank))),
        ),
        inputs=[AdapterInput(one.reference, one.adapter.checkpoint) for one in inputs],
        base=named_part(base, revision, place) if base else None,
        loading_class=loading_class(first.checkpoint.config),
        with_card=with_card,
    )


def _made(inputs: Sequence[WeightedAdapter], how: How, rank: int | None) -> Made:
    return Made(
        summary=_SUMMARIES[how],
        roles=[f"weight {one.weight:g}" for one in inputs],
        parameters={"method": how.value, "weights": [one.weight for one in inputs], "rank": rank},
    )
