"""The vocabulary of the output: whose tokens it has, and which id each gets."""

from __future__ import annotations

from itertools import chain, filterfalse
from typing import TYPE_CHECKING

import numpy as np
from attrs import evolve

from graphmerge.errors import CheckpointError, Problem
from graphmerge.frozen_classes import frozen

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from graphmerge.vocabulary.tokenizer import Tokenizer


@frozen(eq=False)
class OutputVocabulary:
    """Tokens with ids: those of the donor, which it keeps, then those that are new to it."""

    donor: Tokenizer
    """Whose ids, settings and files the output has."""
    others: tuple[Tokenizer, ...]
    """What the new tokens are from, in order."""
    new: Mapping[str, int]
    """The tokens that the donor does not have, and their ids."""
    padding: int
    """Rows after the last token."""

    @property
    def size(self) -> int:
        """Rows with a token, and those between them."""
        return self.donor.size + len(self.new)

    @property
    def rows(self) -> int:
        """Rows of every vocabulary tensor of the output."""
        return self.size + self.padding

    @property
    def growth(self) -> float:
        """Its tokens as a multiple of the donor's; 0 if none are new, so that files are copied."""
        return self.size / self.donor.size if self.new else 0.0

    def as_tokenizer(self) -> Tokenizer:
        """The donor's tokenizer with the new tokens."""
        return evolve(self.donor, tokens={**self.donor.tokens, **self.new})

    def ids_in(self, tokenizer: Tokenizer) -> NDArray[np.int64]:
        """For every row of the output the row of a model: that of the same token, or NO_ID.

        A row that no token of the donor has is a row of the donor only.
        """
        ids = np.full(self.size, -1, np.int64)
        if tokenizer is self.donor:
            ids[: self.donor.size] = np.arange(self.donor.size)
        else:
            names = list(self.donor.tokens)
            ids[self.donor.ids(names)] = tokenizer.ids(names)
        if self.new:
            ids[self.donor.size :] = tokenizer.ids(self.new)
        return ids


def combine(
    donor: Tokenizer, others: Sequence[Tokenizer], named: Sequence[str], multiple: int | None
) -> OutputVocabulary:
    """The vocabulary of the donor with the tokens of others, and tokens that the recipe names.

    Args:
        donor: Keeps its ids.
        others: Their tokens that the donor does not have follow, in the order of their ids.
        named: Tokens that are to be there; those that are not yet follow at the end.
        multiple: What the number of rows is to be a multiple of.

    Raises:
        CheckpointError: tokenizers are of different kinds.
    """
    _refuse_mixture((donor, *others))
    listed = chain.from_iterable(tokenizer.by_id() for tokenizer in others)
    new = dict.fromkeys(filterfalse(donor.tokens.__contains__, chain(listed, named)))
    size = donor.size + len(new)
    numbered = dict(zip(new, range(donor.size, size), strict=True))
    return OutputVocabulary(donor, tuple(others), numbered, -size % multiple if multiple else 0)


def _refuse_mixture(tokenizers: Sequence[Tokenizer]) -> None:
    """Refuse tokens that no text would be split into, as it is split otherwise."""
    alphabets = [tokenizer.alphabet for tokenizer in tokenizers]
    kinds = {tokenizer.kind for tokenizer in tokenizers}
    if len(kinds) > 1 or len(set(alphabets) - kinds) > 1:
        what = "tokenizers of different kinds have no union"
        got = ", ".join(f"{one.folder} {x}" for one, x in zip(tokenizers, alphabets, strict=True))
        hint = "take one of them: source: base, or a model"
        raise CheckpointError(Problem(what, "$.tokenizer", got, "one kind", hint))
