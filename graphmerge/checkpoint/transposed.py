"""Which modules store their weights as (columns, rows)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from graphmerge.checkpoint.language_config import language_values

if TYPE_CHECKING:
    from collections.abc import Mapping

_KINDS = ("gpt2", "openai-gpt", "imagegpt", "decision_transformer", "clvp")
"""Kinds of models with modules of the class Conv1D of transformers."""
_MODULES = ("c_attn", "q_attn", "c_proj", "c_fc")
"""What these modules are called in all of them; their other modules, such as heads, are linear."""


def is_stored_transposed(module: str, config: Mapping[str, Any]) -> bool | None:
    """Whether a module stores (columns, rows).

    Args:
        module: Its name.
        config: The model's config.json.

    Returns:
        None if the model is not of a kind that is known to have such modules.
    """
    if not any(kind in _KINDS for kind in language_values(config, "model_type", str)):
        return None
    return module.rsplit(".", 1)[-1] in _MODULES
