"""Find the files of a model folder that a merge copies: tokenizer, processor, templates, code."""

from __future__ import annotations

from fnmatch import fnmatch
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_TEMPLATE_FOLDER = "additional_chat_templates"
_TOKENIZER_PATTERNS = (
    "tokenizer*.json",
    "tokenizer.model*",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "special_tokens_map.json",
    "added_tokens.json",
    "spiece.model",
    "source.spm",
    "target.spm",
    "sentencepiece*.model",
    "tekken.json",
    "*.tiktoken",
    "chat_template.json",
    "*.jinja",
)
"""What the tokens are, and how chats are written in them."""
_PATTERNS = (
    *_TOKENIZER_PATTERNS,
    "generation_config.json",
    "*preprocessor_config.json",
    "processor_config.json",
    # The code of models that transformers does not know; their config.json names these files.
    "configuration_*.py",
    "modeling_*.py",
    "tokenization_*.py",
    "*processing_*.py",
)


def find_side_files(folder: Path) -> tuple[Path, ...]:
    """The side files, sorted; those of the template folder lie one level deeper.

    Raises:
        OSError: the folder cannot be listed.
    """
    files = [path for path in folder.iterdir() if _is_side_file(path.name)]
    files += (folder / _TEMPLATE_FOLDER).glob("*.jinja")
    return tuple(sorted(path for path in files if path.is_file()))


def is_tokenizer_file(file: Path) -> bool:
    """Whether a side file says what the tokens are, or how chats are written in them."""
    return any(fnmatch(file.name, pattern) for pattern in _TOKENIZER_PATTERNS)


def _is_side_file(name: str) -> bool:
    return any(fnmatch(name, pattern) for pattern in _PATTERNS)
