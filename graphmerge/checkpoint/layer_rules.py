"""Rules in config.json that say by a number which layers are of which kind.

When layers move, the number is changed where another one describes them as they are now, a list is
written where the model knows one, and otherwise the order of layers is refused: transformers would
build other layers than those that the file holds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from graphmerge.errors import CheckpointError, Problem

if TYPE_CHECKING:
    from collections.abc import Sequence

_INDEX_LISTS = frozenset(
    {
        "mlp_only_layers",
        "moe_layers",
        "cross_attention_layers",
        "attn_layer_indices",
        "full_attn_idxs",
        "hybrid_layer_ids",
        "global_attn_indexes",
    }
)
"""Lists with the numbers of layers of one kind."""
_FIRST = ("first_k_dense_replace", "num_dense_layers", "max_window_layers")
"""Layers before this one are of one kind, the others of another."""
_PERIODS = {
    "sliding_window_pattern": "layer_types",
    "_sliding_window_pattern": "layer_types",
    "full_attention_interval": "layer_types",
    "global_attn_every_n_layers": "layer_types",
    "no_rope_layer_interval": "no_rope_layers",
    "interleave_moe_layer_step": "moe_layers",
    "attn_layer_period": "",
    "expert_layer_period": "",
    "decoder_sparse_step": "",
    "encoder_sparse_step": "",
    "moe_layer_interval": "",
    "moe_layer_freq": "",
}
"""The kind of a layer depends on the rest of its number by this; and the list that says the same,
which counts where there is one."""
_SLIDING_PERIODS = {"gemma2": 2, "gemma3": 6, "gemma3_text": 6, "cohere2": 4}
"""Every n-th layer has full attention, the others sliding windows, by model_type. Configs from
before `layer_types` was written state n as sliding_window_pattern or leave it out."""


def is_index_list(key: str) -> bool:
    """Whether a list under this key holds numbers of layers."""
    return key in _INDEX_LISTS


def follow_rules(
    section: dict[str, Any], old_count: int, sources: Sequence[int], *, prefix: str
) -> None:
    """Change the rules of a config so that every layer is of the kind that its source is of.

    Args:
        section: The part of config.json with the number of layers; it still says the old one.
        old_count: That number.
        sources: The old layer that each layer takes the place of.
        prefix: Path of the section, for messages.

    Raises:
        CheckpointError: a rule cannot describe layers in this order.
    """
    _name_attention(section, old_count)
    for key in _INDEX_LISTS & section.keys():
        if isinstance(section[key], list):
            old = frozenset(section[key])
            section[key] = [index for index, source in enumerate(sources) if source in old]
    problems = []
    for key in _FIRST:
        bound = section.get(key)
        if type(bound) is int and _is_in_force(section, key):
            found = _first(bound, sources)
            if found is None:
                problems.append(_inexpressible(prefix + key, f"the first {bound} layers"))
            else:
                section[key] = found
    for key, listed in _PERIODS.items():
        period = section.get(key)
        if type(period) is not int or period < 2 or isinstance(section.get(listed), list):
            continue
        if any((index - source) % period for index, source in enumerate(sources)):
            problems.append(_inexpressible(prefix + key, f"every {period} layers"))
    if problems:
        raise CheckpointError(*problems)


def _is_in_force(section: dict[str, Any], key: str) -> bool:
    is_off = key == "max_window_layers" and not section.get("use_sliding_window")
    return not (is_off or (key == "max_window_layers" and section.get("layer_types")))


def _first(bound: int, sources: Sequence[int]) -> int | None:
    """The bound that separates the layers as `bound` does the sources; None if there is none."""
    if all((index < bound) == (source < bound) for index, source in enumerate(sources)):
        return bound
    before = sum(source < bound for source in sources)
    return before if all(source < bound for source in sources[:before]) else None


def _name_attention(section: dict[str, Any], old_count: int) -> None:
    """Write the kinds of attention as a list, where the model's type gives them by a period."""
    default = _SLIDING_PERIODS.get(str(section.get("model_type")))
    if default and not section.get("layer_types"):
        period = section.get("sliding_window_pattern") or default
        kinds = ("full_attention", "sliding_attention")
        section["layer_types"] = [kinds[(i + 1) % period > 0] for i in range(old_count)]


def _inexpressible(where: str, rule: str) -> Problem:
    return Problem(
        "config.json cannot describe the layers in this order",
        where,
        f"a rule for {rule}, which the slices break",
        hint="choose slices that keep each layer's kind where the rule has it",
    )
