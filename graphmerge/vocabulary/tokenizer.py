"""What a merge must know of a tokenizer: its tokens, their rows, and which are matched verbatim."""

from __future__ import annotations

from itertools import repeat
from typing import TYPE_CHECKING, Any

import numpy as np

from graphmerge.frozen_classes import frozen

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from graphmerge.vocabulary.slow_tokenizer import SlowTokenizer

NO_ID = -1
"""Stands for the id of a token that a tokenizer does not have."""
_SPACES = ("Ġ", "▁")
"""What BPE writes for a space before a word: where bytes are letters, and as sentencepiece does."""


@frozen(eq=False)
class Tokenizer:
    """The vocabulary of one model."""

    folder: Path
    """Where its files are."""
    kind: str
    """BPE, WordPiece, Unigram or WordLevel."""
    tokens: Mapping[str, int]
    """Id of every token, added ones included."""
    added: Mapping[str, Mapping[str, Any]]
    """Settings of the tokens that are matched verbatim before the text is split, by content."""
    slow: SlowTokenizer | None = None
    """What it is made of, if that is a sentencepiece file."""

    @property
    def size(self) -> int:
        """Rows that its ids need."""
        return max(self.tokens.values(), default=-1) + 1

    @property
    def alphabet(self) -> str:
        """The kind, and how tokens of BPE write spaces: others would not be found in its texts."""
        begun = "\n" + "\n".join(self.tokens)
        times = {space: begun.count("\n" + space) for space in _SPACES}
        space = max(_SPACES, key=times.__getitem__)
        is_told = self.kind == "BPE" and times[space]
        return f"{self.kind} with a space as {space}" if is_told else self.kind

    def by_id(self) -> list[str]:
        """The tokens in the order of their ids."""
        return sorted(self.tokens, key=self.tokens.__getitem__)

    def ids(self, tokens: Iterable[str]) -> NDArray[np.int64]:
        """The id of each token, or NO_ID."""
        wanted = list(tokens)
        return np.fromiter(map(self.tokens.get, wanted, repeat(NO_ID)), np.int64, len(wanted))


def share_ids(tokenizers: Iterable[Tokenizer], rows: int) -> bool:
    """Whether every id below `rows` means the same token, or none, in all of the tokenizers."""
    first, *others = tokenizers
    names = first.by_id()
    wanted = first.ids(names)
    below = wanted < rows
    for other in others:
        found = other.ids(names)
        ids = np.fromiter(other.tokens.values(), np.int64)
        if np.any(found[below] != wanted[below]) or np.count_nonzero(ids < rows) != below.sum():
            return False
    return True
