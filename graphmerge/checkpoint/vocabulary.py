"""Find the tensors whose rows are the tokens of the vocabulary, and heads that are not stored."""

from __future__ import annotations

import copy
import re
from typing import TYPE_CHECKING, Any, cast

from graphmerge.checkpoint.language_config import language_sections, language_values
from graphmerge.checkpoint.name_set import NameSet, name_set
from graphmerge.checkpoint.names import in_tower
from graphmerge.checkpoint.values import component_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from graphmerge.checkpoint.values import Checkpoint

_INPUT = re.compile(
    r"(?:.*\.)?(shared|embed_tokens|wte|word_embeddings?|embed_in|tok_embeddings|token_embedding"
    r"|embeddings?|emb)\.weight"
)
_HEAD = re.compile(
    r"(?:.*\.)?(lm_head(\.decoder|\.out_proj)?|embed_out|output|output_layer|predictions\.decoder"
    r"|vocab_projector|decoder)\.weight"
)
_HEAD_BIAS = re.compile(
    r"(?:.*\.)?((generator_)?lm_head(\.decoder)?|embed_out|output|predictions(\.decoder)?"
    r"|vocab_projector|decoder)\.bias"
)
_FLAT_BIAS = re.compile(r"(?:.*\.)?final_logits_bias")
"""Of shape (1, rows)."""
_OTHER_HEADS = {
    "bert": "cls.predictions.decoder.weight",
    "roberta": "lm_head.decoder.weight",
    "xlm-roberta": "lm_head.decoder.weight",
    "distilbert": "vocab_projector.weight",
    "modernbert": "decoder.weight",
    "gpt_neox": "embed_out.weight",
    "t5gemma": "lm_head.out_proj.weight",
}
"""Heads that are not called lm_head.weight, by the config's model_type."""
_WITH_HEAD = re.compile(
    r".*(LMHead|ForCausalLM|ForConditionalGeneration|MaskedLM|ForPreTraining).*"
)
_MODEL_SEGMENT = re.compile(r"(?:^|(?<=\.))(model|transformer|backbone)\.")


def find_embeddings(checkpoint: Checkpoint) -> tuple[str, ...]:
    """Names of the vocabulary tensors: embeddings, heads and output biases, not positions.

    A tensor counts if it is called like one and has as many rows as config.json's vocab_size or as
    the input embedding (which has more than vocab_size in some models). Those of components with a
    folder of their own do not count: the model has no vocabulary that they share.
    """
    shapes = {
        name: checkpoint.tensors[name].spec.shape
        for name in checkpoint.names.matching(lambda name: _axes_if_vocabulary(name) > 0)
        if not component_of(name, checkpoint.components).folder
    }
    rows = {
        name: vocabulary_rows(name, shape)
        for name, shape in shapes.items()
        if shape and len(shape) == _axes_if_vocabulary(name)
    }
    sizes = set(language_values(checkpoint.config, "vocab_size", int))
    embedding = _input_embedding(checkpoint.names)
    if embedding in rows:
        sizes.add(rows[embedding])
    return tuple(name for name, count in rows.items() if count in sizes)


def vocabulary_rows(name: str, shape: tuple[int, ...]) -> int:
    """How many tokens a vocabulary tensor has a row, or an element of its only row, for."""
    return shape[-1] if is_flat(name) else shape[0]


def is_flat(name: str) -> bool:
    """Whether a vocabulary tensor is a single row with an element for each token."""
    return _FLAT_BIAS.fullmatch(name) is not None


def tied_head(names: Iterable[str], config: Mapping[str, Any]) -> tuple[str, str] | None:
    """The head that is not stored because it is the embedding, and the embedding.

    A model is tied if config.json says so, or if it says nothing, is of a class with a head, and
    stores none (transformers leaves out what is the default of the class).

    Returns:
        The name that the head would have and the name of the embedding, such as `lm_head.weight`
        and `model.embed_tokens.weight`; None if the model has a head of its own, or needs none.
    """
    outside = name_set(names).outside
    embedding = _input_embedding(outside)
    if embedding is None or any(map(_HEAD.fullmatch, outside.names)):
        return None
    classes = [
        str(name) for names in language_values(config, "architectures", list) for name in names
    ]
    has_head = any(map(_WITH_HEAD.fullmatch, classes))
    is_tied = any(language_values(config, "tie_word_embeddings", bool) or [has_head])
    if not is_tied or (classes and not has_head):
        return None
    return _head_name(embedding, str(config.get("model_type"))), embedding


def stored_head(names: Iterable[str]) -> tuple[str, str] | None:
    """The head and the embedding of a model that stores both; None if it does not."""
    outside = name_set(names).outside
    embedding = _input_embedding(outside)
    head = next(filter(_HEAD.fullmatch, outside.names), None)
    return (head, embedding) if head and embedding else None


def untied(config: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of a config that says of no section that its head is the embedding."""
    changed: dict[str, Any] = copy.deepcopy(dict(config))
    for _, section in language_sections(changed):
        if section.get("tie_word_embeddings"):
            cast("dict[str, Any]", section)["tie_word_embeddings"] = False
    return changed | {"tie_word_embeddings": False}


def _axes_if_vocabulary(name: str) -> int:
    """Number of axes of the vocabulary tensor that a name stands for; 0 for other names."""
    if in_tower(name):
        return 0
    if _INPUT.fullmatch(name) or _HEAD.fullmatch(name) or is_flat(name):
        return 2
    return 1 if _HEAD_BIAS.fullmatch(name) else 0


def _input_embedding(names: NameSet) -> str | None:
    """The embedding that heads are tied to: by its short name, that of `shared` or the decoder."""
    found = names.matching(lambda name: bool(_INPUT.fullmatch(name)) and not in_tower(name))
    return min(found, key=lambda name: (len(name), name), default=None)


def _head_name(embedding: str, model_type: str) -> str:
    if model_type in _OTHER_HEADS:
        return _OTHER_HEADS[model_type]
    segments = list(_MODEL_SEGMENT.finditer(embedding))
    return (embedding[: segments[-1].start()] if segments else "") + "lm_head.weight"
