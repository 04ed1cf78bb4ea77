"""A tiny but real tokenizer: every byte is a token, so any text can be encoded."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

SPECIAL_TOKENS = ("<unk>", "<s>", "</s>")
"""Tokens 0, 1 and 2; the 256 bytes follow them."""


def write_tokenizer(folder: Path, *, extra_tokens: Sequence[str] = ()) -> int:
    """Write tokenizer.json and tokenizer_config.json; the extra tokens follow the bytes.

    Returns:
        The number of tokens.
    """
    vocabulary = [*SPECIAL_TOKENS, *_byte_alphabet(), *extra_tokens]
    added = [*enumerate(SPECIAL_TOKENS), *enumerate(extra_tokens, start=len(SPECIAL_TOKENS) + 256)]
    byte_level = {
        "type": "ByteLevel",
        "add_prefix_space": False,
        "trim_offsets": True,
        "use_regex": True,
    }
    tokenizer = {
        "version": "1.0",
        "added_tokens": [_added_token(index, content) for index, content in added],
        "pre_tokenizer": byte_level,
        "post_processor": byte_level,
        "decoder": byte_level,
        "model": {
            "type": "BPE",
            "vocab": {token: index for index, token in enumerate(vocabulary)},
            "merges": [],
        },
    }
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "unk_token": "<unk>",
        "bos_token": "<s>",
        "eos_token": "</s>",
        "model_max_length": 2048,
    }
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer, indent=2), encoding="utf-8")
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=2), encoding="utf-8")
    return len(vocabulary)


def _added_token(index: int, content: str) -> dict[str, Any]:
    return {
        "id": index,
        "content": content,
        "single_word": False,
        "lstrip": False,
        "rstrip": False,
        "normalized": False,
        "special": content in SPECIAL_TOKENS,
    }


def _byte_alphabet() -> list[str]:
    """The character that stands for each byte: itself if printable, else one from U+0100 on."""
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    stand_ins = iter(range(0x100, 0x200))
    return [chr(byte if byte in printable else next(stand_ins)) for byte in range(256)]
