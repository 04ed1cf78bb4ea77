"""The chat template of an output: which one, and whether its tokenizer has the tokens in it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from graphmerge.build.alignment import has_tokenizer, origin_of, tokenizer_of
from graphmerge.frozen_classes import frozen
from graphmerge.vocabulary.chat_templates import BUILT_IN, chosen_template, template_of
from graphmerge.vocabulary.reading import reading_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from graphmerge.build.models import Model
    from graphmerge.checkpoint.values import Checkpoint

_MARKERS = re.compile(r"<\|[\w-]+\|>|\[\|\w+\|\]")
"""What templates write between messages, and what is one token where a model was trained so."""


@frozen
class ChatTemplate:
    """What a recipe's `chat_template:` comes to."""

    text: str
    """The template; empty if that of the tokenizer's files stays."""
    notes: tuple[str, ...] = ()
    """Which one it is, for readers of the plan."""
    warnings: tuple[str, ...] = ()
    """What the user should know before running."""
    reading_bytes: int = 0
    """Memory that reading the tokenizer took."""


def choose_template(wanted: str, models: Iterable[Model], made: Model) -> ChatTemplate:
    """The chat template that a recipe asks for.

    Args:
        wanted: `auto`, the name of a built-in, or a template.
        models: The checkpoints of the merge.
        made: What comes out.

    Raises:
        RecipeError: it is no template.
        CheckpointError: the settings or the tokenizer of a model are broken.
    """
    donor = made.checkpoint
    others = [model.checkpoint for model in models if model.checkpoint is not donor]
    checkpoints = [donor, *others]
    found = [template_of(one) for one in checkpoints] if wanted == "auto" else []
    template = chosen_template(wanted, found)
    if template is None:
        return ChatTemplate("", ("chat template: none, as no model has one",))
    note = f"chat template: {_told(wanted, template, checkpoints, found)}"
    if not has_tokenizer(made):
        return ChatTemplate(template, (note,))
    tokens = tokenizer_of(made).tokens
    lacking = [
        marker for marker in dict.fromkeys(_MARKERS.findall(template)) if marker not in tokens
    ]
    reading = reading_bytes([origin_of(made).checkpoint], growth=0)
    return ChatTemplate(template, (note,), tuple(_lacking(lacking)), reading)


def _told(
    wanted: str, template: str, checkpoints: Sequence[Checkpoint], found: Sequence[str | None]
) -> str:
    if wanted in BUILT_IN:
        return wanted
    if wanted != "auto":
        return "as the recipe says"
    having = [one for one, own in zip(checkpoints, found, strict=True) if own == template]
    return f"that of {having[0].path.name}, which {len(having)} of {len(checkpoints)} models have"


def _lacking(markers: Sequence[str]) -> Iterable[str]:
    if markers:
        yield (
            f"the chat template writes {', '.join(markers)}, of which the tokenizer makes several "
            "tokens each; add them under tokenizer: tokens:, or take a tokenizer that has them"
        )
