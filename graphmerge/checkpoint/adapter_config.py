"""What a PEFT adapter's adapter_config.json says; what cannot be computed is refused by name."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any, TypeVar

from attrs import field

from graphmerge.errors import CheckpointError, Problem
from graphmerge.frozen_classes import frozen
from graphmerge.spec import LARGEST

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

Number = TypeVar("Number", int, float)
ADAPTER_CONFIG = "adapter_config.json"
"""Name of the file of an adapter's settings."""
_VARIANTS = {
    "use_dora": "DoRA",
    "use_qalora": "QA-LoRA",
    "use_bdlora": "block-diagonal LoRA",
    "alora_invocation_tokens": "activated LoRA, which depends on the text",
    "arrow_config": "Arrow, which routes between adapters",
    "monteclora_config": "MonteCLoRA",
    "layer_replication": "layer replication",
    "target_parameters": "LoRA of parameters that are no modules' weights",
    "trainable_token_indices": "trainable tokens",
}
"""Settings that change what an adapter does, and what they are called."""
_KEEPING_INITIALISATIONS = (True, False, None, "gaussian", "eva", "orthogonal")
"""Initialisations that leave the base model as it is; others subtract from it when PEFT loads."""
HOW_TO_CONVERT = "merge it into its base with PEFT (merge_and_unload), and give the merged model"
"""What to do about an adapter that cannot be computed here."""


@frozen
class AdapterConfig:
    """How the factors of an adapter become what is added to weights."""

    rank: int
    """Rank of the factors, of modules that `ranks` does not match."""
    alpha: float
    """Numerator of the scale, of modules that `alphas` does not match."""
    is_rank_stabilised: bool
    """Whether the scale is alpha / sqrt(rank) instead of alpha / rank."""
    ranks: Mapping[str, int] = field(hash=False)
    """Ranks by regular expression of module names."""
    alphas: Mapping[str, float] = field(hash=False)
    """Alphas by regular expression of module names."""
    is_transposed: bool
    """Whether weights are stored as (columns, rows): fan_in_fan_out."""
    saved_modules: tuple[str, ...]
    """Modules that are stored whole: modules_to_save."""
    keeps_tied: bool
    """Whether a head that is the embedding stays so where both are stored: ensure_weight_tying."""
    base: str
    """base_model_name_or_path; empty if it is not given."""
    revision: str | None = None
    """Branch, tag or commit of the base; None if it is not given."""

    def rank_of(self, module: str) -> int:
        """Rank of a module's factors."""
        return _matching(self.ranks, module, self.rank)

    def scale_of(self, module: str) -> float:
        """What the product of a module's factors is multiplied by."""
        alpha, rank = _matching(self.alphas, module, self.alpha), self.rank_of(module)
        return alpha / (math.sqrt(rank) if self.is_rank_stabilised else rank)


def parse_adapter_config(content: Mapping[str, Any], where: str) -> AdapterConfig:
    """The settings of a LoRA adapter.

    Args:
        content: adapter_config.json.
        where: The file, for messages.

    Raises:
        CheckpointError: it is an adapter of another kind, uses a variant that is not computed, or
            has values that make no sense; holds every problem.
    """
    kind = content.get("peft_type")
    if kind != "LORA":
        what = f"adapters of kind {kind} cannot be added to weights here"
        raise CheckpointError(Problem(what, where, wanted="LORA", hint=HOW_TO_CONVERT))
    problems = [
        *_variants(content, where),
        *_wrong_numbers(content, where),
        *_wrong_values(content, where),
    ]
    if problems:
        raise CheckpointError(*problems)
    return AdapterConfig(
        rank=content.get("r", 8),
        alpha=content.get("lora_alpha", 8),
        is_rank_stabilised=bool(content.get("use_rslora")),
        ranks=content.get("rank_pattern") or {},
        alphas=content.get("alpha_pattern") or {},
        is_transposed=bool(content.get("fan_in_fan_out")),
        saved_modules=tuple(content.get("modules_to_save") or ()),
        keeps_tied=bool(content.get("ensure_weight_tying")),
        base=content.get("base_model_name_or_path") or "",
        revision=content.get("revision") or None,
    )


def _variants(content: Mapping[str, Any], where: str) -> Iterator[Problem]:
    for key, value in content.items():
        is_unknown = key.startswith("use_") and key not in ("use_rslora", *_VARIANTS)
        if value and (key in _VARIANTS or is_unknown):
            what = f"{_VARIANTS.get(key, 'a variant of LoRA')} is not computed here"
            yield Problem(what, where, f"{key}: {value}", hint=HOW_TO_CONVERT)
    start = content.get("init_lora_weights", True)
    if start not in _KEEPING_INITIALISATIONS:
        what = "the adapter belongs to a base model that PEFT changes when it loads it"
        yield Problem(what, where, f"init_lora_weights: {start}", hint=HOW_TO_CONVERT)


def _wrong_numbers(content: Mapping[str, Any], where: str) -> Iterator[Problem]:
    ranks = {"r": content.get("r", 8), **_pattern(content, "rank_pattern")}
    alphas = {"lora_alpha": content.get("lora_alpha", 8), **_pattern(content, "alpha_pattern")}
    for key, value in ranks.items():
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            yield Problem("not a rank", f"{where}, {key}", f"{value!r}", "an integer above 0")
    for key, value in alphas.items():
        if not isinstance(value, (int, float)) or isinstance(value, bool):
            yield Problem("not a number", f"{where}, {key}", f"{value!r}")
        elif not abs(value) <= LARGEST:
            got = f"{value!r:.40}"
            yield Problem("not a number", f"{where}, {key}", got, "a finite number of float32")


def _wrong_values(content: Mapping[str, Any], where: str) -> Iterator[Problem]:
    for key in ("rank_pattern", "alpha_pattern"):
        if not isinstance(content.get(key) or {}, dict):
            yield Problem("not a mapping of modules", f"{where}, {key}", f"{content[key]!r}")
    for key in (*_pattern(content, "rank_pattern"), *_pattern(content, "alpha_pattern")):
        if not _is_expression(key):
            yield Problem("not a regular expression", f"{where}, {key}")
    saved = content.get("modules_to_save") or []
    if not isinstance(saved, list) or not all(isinstance(name, str) for name in saved):
        yield Problem("not a list of names", f"{where}, modules_to_save", f"{saved!r}")
    for key in ("base_model_name_or_path", "revision"):
        value = content.get(key) or ""
        if not isinstance(value, str):
            yield Problem("not a text", f"{where}, {key}", f"{value!r}")


def _pattern(content: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = content.get(key)
    return value if isinstance(value, dict) else {}


def _matching(patterns: Mapping[str, Number], module: str, default: Number) -> Number:
    """The value of the first pattern that is the module's name, or the end of it after a dot."""
    found = (value for key, value in patterns.items() if re.match(rf"(.*\.)?({key})$", module))
    return next(found, default)


def _is_expression(text: str) -> bool:
    try:
        re.compile(text)
    except re.error:
        return False
    return True


def is_saved(names: Sequence[str], module: str) -> bool:
    """Whether modules_to_save names a module, or one that it lies in."""
    return any(f".{name}." in f".{module}." for name in names)
