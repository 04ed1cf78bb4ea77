"""Read a PEFT adapter: its config, and which of its tensors belongs to which module."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from attrs import evolve, field

from graphmerge.checkpoint.access import machine_errors, read_json_object
from graphmerge.checkpoint.adapter_config import (
    ADAPTER_CONFIG,
    HOW_TO_CONVERT,
    AdapterConfig,
    parse_adapter_config,
)
from graphmerge.checkpoint.reading import read_checkpoint
from graphmerge.checkpoint.shards import SAFETENSORS
from graphmerge.checkpoint.side_files import find_side_files
from graphmerge.errors import CheckpointError, Problem, shortened
from graphmerge.frozen_classes import frozen

if TYPE_CHECKING:
    from collections.abc import Container, Iterator, Mapping
    from pathlib import Path

    from graphmerge.checkpoint.values import Checkpoint, TensorEntry

ADAPTER_WEIGHTS = "adapter_model" + SAFETENSORS
"""Name of the file of an adapter's tensors."""
_PICKLE = "adapter_model.bin"
_BASE_LAYER = ".base_layer."
"""What names of the base model's tensors have where an adapter stores them."""
_WRAPPED = (".original_module.", ".modules_to_save.")
"""What names of biases have that `bias: all` stores beside a module that is stored whole."""
_PREFIX = "base_model.model."
"""What PEFT puts before the names of the base model."""
_PARTS = {
    ".lora_A.weight": "a",
    ".lora_B.weight": "b",
    ".lora_embedding_A": "embedding_a",
    ".lora_embedding_B": "embedding_b",
    ".lora_B.bias": "bias",
}
_SHOWN = 20
"""Problems of one adapter that are shown; the rest are counted."""
_DORA = ("lora_magnitude_vector", "lora_magnitude_vector.weight")


@frozen
class Factors:
    """The factors of one module's weight, and what is added to its bias."""

    a: TensorEntry
    """Shape (rank, columns), more axes for a convolution."""
    b: TensorEntry
    """Shape (rows, rank)."""
    is_embedding: bool
    """Whether the product is transposed before it is added."""
    bias: TensorEntry | None = None
    """Added to the bias, with the scale of the product."""


@frozen(eq=False)
class Adapter:
    """A LoRA adapter, by its headers."""

    checkpoint: Checkpoint
    """Its files; its config is adapter_config.json."""
    config: AdapterConfig
    """What adapter_config.json says."""
    factors: Mapping[str, Factors] = field(hash=False)
    """By the name of the module in the base model."""
    whole: Mapping[str, TensorEntry] = field(hash=False)
    """Tensors that stand in the place of the base model's, by their names in it."""

    @property
    def base_layers(self) -> tuple[TensorEntry, ...]:
        """Those of `whole` that have factors: what the adapter has been trained on, unchanged.

        PEFT stores embeddings with their factors, as the vocabulary may have grown.
        """
        return tuple(
            entry
            for name, entry in self.whole.items()
            if _BASE_LAYER in entry.name and name.removesuffix(".weight") in self.factors
        )


def is_adapter(path: Path) -> bool:
    """Whether a folder holds an adapter and no model.

    Raises:
        MachineError: the folder cannot be read.
    """
    with machine_errors(path):
        if not (path / ADAPTER_CONFIG).is_file():
            return False
        weights = {file.name for file in path.glob(f"*{SAFETENSORS}")}
        return weights <= {ADAPTER_WEIGHTS} and not (path / "config.json").exists()


def read_adapter(path: Path) -> Adapter:
    """Read an adapter's folder.

    Raises:
        CheckpointError: it holds no LoRA adapter, or one with parts that are not known or do not
            fit each other.
        MachineError: a file cannot be read.
    """
    if not (path / ADAPTER_CONFIG).is_file():
        what = "no adapter" if path.exists() else "no such adapter"
        wanted = f"a folder with {ADAPTER_CONFIG} and {ADAPTER_WEIGHTS}"
        raise CheckpointError(Problem(what, str(path), wanted=wanted))
    content = read_json_object(path / ADAPTER_CONFIG)
    config = parse_adapter_config(content, str(path / ADAPTER_CONFIG))
    checkpoint = evolve(
        read_checkpoint(adapter_weights(path)),
        path=path,
        config=content,
        side_files=_side_files(path),
    )
    return _sorted(checkpoint, config)


def adapter_weights(path: Path) -> Path:
    """The file of an adapter's folder that its tensors are in."""
    weights = path / ADAPTER_WEIGHTS
    return path / _PICKLE if not weights.exists() and (path / _PICKLE).exists() else weights


def _side_files(path: Path) -> tuple[Path, ...]:
    with machine_errors(path):
        return find_side_files(path)


def _sorted(checkpoint: Checkpoint, config: AdapterConfig) -> Adapter:
    """Every tensor to its module."""
    parts: dict[str, dict[str, TensorEntry]] = {}
    whole: dict[str, TensorEntry] = {}
    unknown: list[str] = []
    for stored, entry in checkpoint.tensors.items():
        if _is_stored_twice(stored, checkpoint.tensors):
            continue
        name = stored.removeprefix(_PREFIX)
        end = next((end for end in _PARTS if name.endswith(end)), None)
        if end is not None:
            parts.setdefault(name.removesuffix(end), {})[_PARTS[end]] = entry
        elif "lora_" in name or not name.endswith((".weight", ".bias")):
            unknown.append(stored)
        else:
            whole[name.replace(_BASE_LAYER, ".")] = entry
    where = str(checkpoint.files[0])
    if not checkpoint.tensors:
        raise CheckpointError(Problem("the adapter has no tensors", where))
    problems = [_unknown(name, where) for name in unknown]
    factors: dict[str, Factors] = {}
    for module, found in parts.items():
        made = _factors(found)
        if made is None:
            problems.append(_incomplete(module, found, where))
        else:
            factors[module] = made
            problems.extend(_misfits(made, config.rank_of(module), where))
    if problems:
        raise CheckpointError(*shortened(problems, most=_SHOWN))
    return Adapter(checkpoint, config, factors, whole)


def _is_stored_twice(name: str, names: Container[str]) -> bool:
    """Whether a tensor is one of a saved module's that PEFT does not read: it takes the plain name.

    The name of the adapter may stand after `modules_to_save`.
    """
    for wrapped in _WRAPPED:
        module, found, inner = name.partition(wrapped)
        if found:
            return any(f"{module}.{end}" in names for end in (inner, inner.partition(".")[2]))
    return False


def _factors(found: Mapping[str, TensorEntry]) -> Factors | None:
    """The factors of a module; None where there is no such pair."""
    rest = {name: entry for name, entry in found.items() if name != "bias"}
    if rest.keys() == {"a", "b"}:
        return Factors(rest["a"], rest["b"], False, found.get("bias"))  # noqa: FBT003 - a field
    if rest.keys() == {"embedding_a", "embedding_b"} and "bias" not in found:
        return Factors(rest["embedding_a"], rest["embedding_b"], True)  # noqa: FBT003 - as above
    return None


def _misfits(factors: Factors, rank: int, where: str) -> Iterator[Problem]:
    """What is wrong with factors of which the config says the rank, whatever the model is."""
    a, b = factors.a.spec, factors.b.spec
    where = f"{where}, tensor {factors.a.name}"
    if not (a.dtype.is_mergeable_float and b.dtype.is_mergeable_float):
        what, got = "factors of such dtypes cannot be multiplied", f"A {a} and B {b}"
        yield Problem(what, where, got, "F16, BF16, F32 or F64")
    elif not _is_product(factors):
        got = f"A {list(a.shape)} and B {list(b.shape)}"
        wanted = "A [rank, columns] and B [rows, rank]"
        yield Problem("the factors do not fit each other", where, got, wanted)
    elif a.shape[0] != rank:
        yield Problem("the rank is not that of the config", where, f"{a.shape[0]}", f"{rank}")


def _is_product(factors: Factors) -> bool:
    """Whether B A is a matrix, or for convolutions one with more axes behind its columns."""
    a, b = factors.a.spec.shape, factors.b.spec.shape
    if min(len(a), len(b)) < 2 or (factors.is_embedding and len(a) > 2):
        return False
    return b[1] == a[0] and math.prod(b[2:]) == 1


def _incomplete(module: str, found: Mapping[str, TensorEntry], where: str) -> Problem:
    got = ", ".join(sorted(entry.name for entry in found.values()))
    return Problem(f"the factors of {module} are no pair", where, got, "lora_A and lora_B")


def _unknown(name: str, where: str) -> Problem:
    if name.endswith(_DORA):
        return Problem(f"DoRA is not computed here: {name}", where, hint=HOW_TO_CONVERT)
    what = f"the adapter has a tensor of an unknown kind: {name}"
    return Problem(what, where, hint=HOW_TO_CONVERT)
