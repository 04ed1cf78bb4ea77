"""config.json of a model whose layers are others than its donor's."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from graphmerge.errors import CheckpointError, Problem

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_NOT_PER_LAYER = ("architectures", "token")
"""Parts of keys whose lists are as long as a small model is deep by accident only."""


def with_layers(config: Mapping[str, Any], key: str, sources: Sequence[int]) -> dict[str, Any]:
    """A copy of a config with other layers.

    Args:
        config: config.json of the donor model.
        key: Dotted key of its number of layers: `text_config.num_hidden_layers`.
        sources: The donor's layer that each layer takes the place of. Lists beside the key with one
            item per layer (`layer_types`) follow it.

    Raises:
        CheckpointError: the donor has no such key, or has fewer layers than the sources want.
    """
    changed = copy.deepcopy(dict(config))
    section, name = _find(changed, key)
    _rearrange(section, section[name], sources, key)
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
        is_per_layer = isinstance(value, list) and len(value) == old_count
        if not is_per_layer or any(part in name for part in _NOT_PER_LAYER):
            continue
        if max(sources, default=0) >= old_count:
            got, wanted = f"layer {max(sources)}", f"a layer below {old_count}"
            raise CheckpointError(Problem(f"{name} has no such layer", count_key, got, wanted))
        section[name] = [value[source] for source in sources]
