"""README.md of an adapter: what PEFT and the Hub look for, and how the adapter was made."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from graphmerge.frozen_classes import frozen
from graphmerge.output import block, front_matter, licence_section, use_section

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from graphmerge.output import CardPart

_LIBRARY = "peft"
_CLASSES = {
    "CAUSAL_LM": "AutoModelForCausalLM",
    "SEQ_2_SEQ_LM": "AutoModelForSeq2SeqLM",
    "SEQ_CLS": "AutoModelForSequenceClassification",
    "TOKEN_CLS": "AutoModelForTokenClassification",
    "QUESTION_ANS": "AutoModelForQuestionAnswering",
    "FEATURE_EXTRACTION": "AutoModel",
}
"""The class of transformers that loads the base model, by PEFT's task_type."""


@frozen(kw_only=True)
class AdapterCard:
    """Everything that the card of an adapter says."""

    title: str
    """Name of the output."""
    base: CardPart | None
    """The model that it is an adapter of; None if nobody knows."""
    models: Sequence[tuple[CardPart, str]]
    """What it is made from, and what each of these is here: `weight 0.6`."""
    method: str
    """The command that has made it."""
    summary: str
    """What the command did, in one sentence."""
    command: str
    """The command as a shell takes it."""
    loading_class: str
    """The class of transformers that loads the base model; empty if that is not known."""


def adapter_card(card: AdapterCard) -> str:
    """The text of README.md, with the front matter that the Hub reads."""
    base = f" of {card.base.text}" if card.base else ""
    parts = list(dict.fromkeys(part for part, _ in card.models))
    lines: Iterable[str] = (
        *front_matter(_facts(card.base), parts),
        f"# {card.title}",
        "",
        f"A LoRA adapter{base}, made with graphmerge by `{card.method}`: {card.summary}",
        "",
        *use_section(card.title, _LIBRARY, _use(card)),
        "## Made from",
        "",
        *(f"- {part.text}: {role}" for part, role in card.models),
        "",
        *licence_section(parts),
        "## Command",
        "",
        *block("console", f"$ {card.command}"),
    )
    return "\n".join(lines)


def loading_class(adapter_config: Mapping[str, Any]) -> str:
    """The class of transformers that loads the base of a trained adapter; empty if it is not said.

    Args:
        adapter_config: Its adapter_config.json.
    """
    mapping = adapter_config.get("auto_mapping")
    stated = mapping.get("base_model_class") if isinstance(mapping, dict) else None
    return (
        stated
        if isinstance(stated, str)
        else _CLASSES.get(str(adapter_config.get("task_type")), "")
    )


def _facts(base: CardPart | None) -> dict[str, Any]:
    """What the Hub is told, but for the licence: as PEFT tells it, if the base is on the Hub."""
    tags = ["lora", "graphmerge"]
    if base is None or not base.is_hub:
        return {"library_name": _LIBRARY, "tags": tags}
    return {
        "base_model": base.name,
        "base_model_relation": "adapter",
        "library_name": _LIBRARY,
        "tags": [f"base_model:adapter:{base.name}", *tags],
    }


def _use(card: AdapterCard) -> str:
    """Code that loads base and adapter; empty where the class of the base is not known."""
    if card.base is None or not card.loading_class:
        return ""
    base, title = (json.dumps(name, ensure_ascii=False) for name in (card.base.name, card.title))
    revision = f"revision={json.dumps(card.base.revision)}, " if card.base.revision else ""
    return (
        "from peft import PeftModel\n"
        f"from transformers import {card.loading_class}\n\n"
        f'model = {card.loading_class}.from_pretrained({base}, {revision}dtype="auto")\n'
        f"model = PeftModel.from_pretrained(model, {title})"
    )
