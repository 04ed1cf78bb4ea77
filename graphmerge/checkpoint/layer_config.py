"""config.json of a model whose layers are others than its donor's."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from graphmerge.checkpoint.layer_rules import follow_rules, is_index_list
from graphmerge.errors import CheckpointError, Problem

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_NOT_PER_LAYER = ("architectures", "token", "conv_", "index")
"""Parts of keys whose lists are as long as a small model is deep by accident only."""
LETTERS = "hybrid_override_pattern"
"""The key whose text has one letter per layer (Nemotron-H)."""


def with_layers(config: Mapping[str, Any], key: str, sources: Sequence[int]) -> dict[str, Any]:
    """A copy of a config with other layers.

    Args:
        config: config.json of the donor model.
        key: Dotted key of its number of layers: `text_config.num_hidden_layers`.
        sources: The donor's layer that each layer takes the place of. Lists beside the key with one
            item per layer (`layer_types`) and rules such as `first_k_dense_replace` follow it.

    Raises:
        CheckpointError: the donor has no such key, has fewer layers than the sources want, or has a
        rule that cannot describe layers in this order.
    """
    changed = copy.deepcopy(dict(config))
    section, name = _find(changed, key)
    count = section[name]
    follow_rules(section, count, sources, prefix=key[: -len(name)])
    _rearrange(section, count, sources, key)
    section[name] = len(sources)
    return changed


def _find(config: dict[str, Any], key: str) -> tuple[dict[str, Any], str]:
    """The section of the config that holds the dotted key, and the last part of the key."""
    *sections, name = key.split(".")
    section: Any = config
    for part in sections:
        section = section.get(part) if isinstance(section, dict) else None
    if not isinstance(section, dict) or name not in section:
        raise CheckpointError(Problem("config.json of the donor model has no such key", key))
    return section, name


def _rearrange(
    section: dict[str, Any], old_count: int, sources: Sequence[int], count_key: str
) -> None:
    """Let every list of one item per layer follow the layers."""
    for name, value in section.items():
        if not _is_per_layer(name, value, old_count):
            continue
        if max(sources, default=0) >= old_count:
            got, wanted = f"layer {max(sources)}", f"a layer below {old_count}"
            raise CheckpointError(Problem(f"{name} has no such layer", count_key, got, wanted))
        items = [value[source] for source in sources]
        section[name] = "".join(items) if isinstance(value, str) else items


def _is_per_layer(name: str, value: Any, old_count: int) -> bool:
    if name == LETTERS:
        return isinstance(value, str) and len(value) == old_count
    is_list = isinstance(value, list) and len(value) == old_count
    return is_list and not is_index_list(name) and not any(p in name for p in _NOT_PER_LAYER)
