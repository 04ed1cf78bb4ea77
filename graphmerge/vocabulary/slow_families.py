"""Tokenizer classes that read sentencepiece files: which id a piece has in the model.

Source: what the classes of these names do in transformers 4, or in the code beside their models.
Models that were trained with fairseq begin with other ids than their file does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from graphmerge.errors import CheckpointError, Problem
from graphmerge.frozen_classes import frozen

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from graphmerge.vocabulary.sentencepiece_file import SentencePieces

Special: TypeAlias = "Mapping[str, str]"
"""Tokens by what they are for: `bos_token`."""
Frame: TypeAlias = "tuple[list[str], list[str]]"
"""The tokens of one text, and of a pair of them, `A` and `B` standing for the texts."""


@frozen
class Family:
    """Tokenizer classes that number pieces in one way, and frame texts in one way."""

    names: Callable[[SentencePieces, Mapping[str, Any]], list[str]]
    """The token of every id, from the file and from tokenizer_config.json."""
    special: Special
    """The special tokens of which tokenizer_config.json need not speak."""
    frame: Callable[[Special, Mapping[str, Any]], Frame] | None
    """What stands around texts; None for classes that prepare texts in ways of their own."""
    has_legacy: bool = False
    """Whether `legacy: false` makes special tokens within a text be followed by no space."""


def family_of(settings: Mapping[str, Any], config: Mapping[str, Any]) -> Family | None:
    """The family of a tokenizer, by its class or by the type of the model; None if unknown.

    Args:
        settings: The content of tokenizer_config.json.
        config: The content of config.json.
    """
    stated = str(settings.get("tokenizer_class") or "").removesuffix("Fast")
    if stated in _NO_CLASS:
        stated = _CLASSES.get(str(config.get("model_type")), "")
    return _FAMILIES.get(stated)


def _as_stored(model: SentencePieces, _settings: Mapping[str, Any]) -> list[str]:
    return list(model.pieces)


def _with_extra_ids(model: SentencePieces, settings: Mapping[str, Any]) -> list[str]:
    """T5: sentinels follow, the first last."""
    count = settings.get("extra_ids", 100)
    listed = settings.get("additional_special_tokens") or []
    sentinels = sum("<extra_id_" in str(token) for token in listed)
    if type(count) is not int or count < 0 or (count and sentinels not in (0, count)):
        what = "extra_ids and additional_special_tokens of tokenizer_config.json do not agree"
        where = str(model.path.parent)
        raise CheckpointError(Problem(what, where, f"{count!r} and {sentinels} sentinels"))
    return [*model.pieces, *(f"<extra_id_{number}>" for number in reversed(range(count)))]


def _like_xlm_roberta(model: SentencePieces, _settings: Mapping[str, Any]) -> list[str]:
    _refuse_other_beginning(model, ("<unk>", "<s>", "</s>"))
    return ["<s>", "<pad>", "</s>", "<unk>", *model.pieces[3:], "<mask>"]


def _like_camembert(model: SentencePieces, _settings: Mapping[str, Any]) -> list[str]:
    _refuse_other_beginning(model, ("<unk>",))
    unused = ["<s>NOTUSED", "<pad>", "</s>NOTUSED", "<unk>", "<unk>NOTUSED"]
    return [*unused, *model.pieces[1:], "<mask>"]


def _refuse_other_beginning(model: SentencePieces, wanted: tuple[str, ...]) -> None:
    found = model.pieces[: len(wanted)]
    if found != wanted:
        what = "the first pieces are not those that the tokenizer's class needs"
        where, hint = str(model.path), "is tokenizer_class in tokenizer_config.json right?"
        raise CheckpointError(Problem(what, where, ", ".join(found), ", ".join(wanted), hint))


def _bos_and_eos(special: Special, settings: Mapping[str, Any]) -> Frame:
    begin = _if_there(special, "bos_token") if settings.get("add_bos_token", True) else []
    end = _if_there(special, "eos_token") if settings.get("add_eos_token", False) else []
    return [*begin, "A", *end], [*begin, "A", *end, *begin, "B", *end]


def _eos(special: Special, _settings: Mapping[str, Any]) -> Frame:
    end = _if_there(special, "eos_token")
    return ["A", *end], ["A", *end, "B", *end]


def _between_cls_and_sep(special: Special, _settings: Mapping[str, Any]) -> Frame:
    begin, end = _if_there(special, "cls_token"), _if_there(special, "sep_token")
    return [*begin, "A", *end], [*begin, "A", *end, *end, "B", *end]


def _if_there(special: Special, role: str) -> list[str]:
    return [special[role]] if role in special else []


_USUAL: Special = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
_OF_ENCODERS: Special = {
    **_USUAL,
    "sep_token": "</s>",
    "pad_token": "<pad>",
    "cls_token": "<s>",
    "mask_token": "<mask>",
}
_GEMMA: Special = {
    "bos_token": "<bos>",
    "eos_token": "<eos>",
    "unk_token": "<unk>",
    "pad_token": "<pad>",
}
_LLAMA = Family(_as_stored, _USUAL, _bos_and_eos, has_legacy=True)
_PLAIN = Family(_as_stored, _USUAL, _bos_and_eos)
_NUMBERED_ONLY = Family(_as_stored, {}, None)
_FAMILIES = {
    "LlamaTokenizer": _LLAMA,
    "GemmaTokenizer": Family(_as_stored, _GEMMA, _bos_and_eos),
    "BaichuanTokenizer": _PLAIN,
    "InternLMTokenizer": _PLAIN,
    "InternLM2Tokenizer": _PLAIN,
    "T5Tokenizer": Family(
        _with_extra_ids,
        {"eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"},
        _eos,
        has_legacy=True,
    ),
    "XLMRobertaTokenizer": Family(_like_xlm_roberta, _OF_ENCODERS, _between_cls_and_sep),
    "CamembertTokenizer": Family(_like_camembert, _OF_ENCODERS, _between_cls_and_sep),
    "CodeLlamaTokenizer": _NUMBERED_ONLY,
    "AlbertTokenizer": _NUMBERED_ONLY,
    "BigBirdTokenizer": _NUMBERED_ONLY,
    "ReformerTokenizer": _NUMBERED_ONLY,
    "XLNetTokenizer": _NUMBERED_ONLY,
}
_FAMILIES["MT5Tokenizer"] = _FAMILIES["T5Tokenizer"]
_NO_CLASS = ("", "PreTrainedTokenizer", "TokenizersBackend", "SentencePieceBackend")
"""Names that say nothing about ids."""
_CLASSES = {
    "camembert": "CamembertTokenizer",
    "gemma": "GemmaTokenizer",
    "gemma2": "GemmaTokenizer",
    "internlm": "InternLMTokenizer",
    "internlm2": "InternLM2Tokenizer",
    "llama": "LlamaTokenizer",
    "mistral": "LlamaTokenizer",
    "mixtral": "LlamaTokenizer",
    "mt5": "T5Tokenizer",
    "phi3": "LlamaTokenizer",
    "t5": "T5Tokenizer",
    "umt5": "T5Tokenizer",
    "xlm-roberta": "XLMRobertaTokenizer",
}
"""By the model_type of config.json, for tokenizers of which no class is stated."""
