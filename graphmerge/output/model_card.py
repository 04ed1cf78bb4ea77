"""README.md of the output: what the Hub shows, and how the model was made."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import yaml

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from graphmerge.recipe.values import ModelReference

_HUB_ID = re.compile(r"[A-Za-z0-9_][\w.-]*/[A-Za-z0-9_][\w.-]*", re.ASCII)
"""`organisation/name`; neither starts with a dot, so that relative paths do not match."""


def model_card(
    *,
    title: str,
    method: str,
    models: Sequence[ModelReference],
    recipe_text: str,
    local_paths: Collection[str] = (),
) -> str:
    """The text of README.md, with the front matter that the Hub reads.

    Args:
        title: Name of the output.
        method: Name of the merge method.
        models: The inputs, in recipe order.
        recipe_text: The recipe as it was read.
        local_paths: Paths of references that look like Hub ids but are local folders.
    """
    hub_ids = {
        model.path: None
        for model in models
        if _HUB_ID.fullmatch(model.path) and model.path not in local_paths
    }
    base = {"base_model": list(hub_ids), "base_model_relation": "merge"} if hub_ids else {}
    front_matter = base | {"library_name": "transformers", "tags": ["merge", "graphmerge"]}
    fence = _fence(recipe_text)
    return "\n".join(
        (
            "---",
            yaml.safe_dump(front_matter, sort_keys=False, allow_unicode=True) + "---",
            f"# {title}",
            "",
            f"A merge of pre-trained models, made with graphmerge by the method `{method}`.",
            "",
            "## Models",
            "",
            *(f"- {_describe(model, is_hub=model.path in hub_ids)}" for model in models),
            "",
            "## Recipe",
            "",
            f"{fence}yaml",
            recipe_text.rstrip("\n"),
            fence,
            "",
        )
    )


def _describe(model: ModelReference, *, is_hub: bool) -> str:
    """A link for a Hub model, the folder's name for a local one: its path may be private."""
    path = model.path.rstrip("/")
    name = f"[{path}](https://huggingface.co/{path})" if is_hub else f"`{path.split('/')[-1]}`"
    revision = f" at `{model.revision}`" if model.revision else ""
    adapter = f" with the adapter `{model.lora.path.split('/')[-1]}`" if model.lora else ""
    return name + revision + adapter


def _fence(text: str) -> str:
    """More backticks than any run of them in the text."""
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    return "`" * max(3, longest + 1)
