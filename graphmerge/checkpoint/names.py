"""Tensor names as text: natural order, the block that a tensor is in, words of a name."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable

Block: TypeAlias = "tuple[str, int, str]"
"""Prefix, index and suffix at the outermost number of a name."""

_DIGITS = re.compile(r"[0-9]+")
_PADDED_DIGITS = 20
"""Numbers up to this many digits are ordered by value; more than any index has."""
_BLOCK_INDEX = re.compile(r"(?:^|(?<=[./]))(?:0|[1-9][0-9]{0,8})(?=\.)")
"""A whole segment that is a number, with a segment after it; nine digits are beyond any model."""
_WORD_BORDER = re.compile(r"[._/]")
_TOWER_WORDS = frozenset(
    {
        "vision",
        "visual",
        "vit",
        "vpm",
        "image",
        "video",
        "audio",
        "speech",
        "sound",
        "tower",
        "projector",
        "connector",
        "resampler",
        "perceiver",
        "qformer",
        "aligner",
        "talker",
        "token2wav",
    }
)
"""Words in names and config keys of what feeds a language model: encoders of other senses."""


class _PaddedSegments(dict[str, str]):
    """Segments of names, their numbers padded with zeros; many names have few segments."""

    def __missing__(self, segment: str) -> str:
        padded = _DIGITS.sub(lambda digits: digits[0].zfill(_PADDED_DIGITS), segment)
        self[segment] = padded
        return padded


def natural_sorted(names: Iterable[str]) -> list[str]:
    """The names in an order that puts `layers.2` before `layers.10`."""
    padded = _PaddedSegments().__getitem__
    return sorted(names, key=lambda name: (".".join(map(padded, name.split("."))), name))


def split_block(name: str) -> Block | None:
    """Prefix, index and suffix at the outermost number of a name; None if it has no number.

    `model.layers.3.mlp.experts.7.w1` is `("model.layers.", 3, "mlp.experts.7.w1")`.
    """
    match = _BLOCK_INDEX.search(name)
    if match is None:
        return None
    return name[: match.start()], int(match[0]), name[match.end() + 1 :]


def words(name: str) -> frozenset[str]:
    """The words between dots, slashes and underscores, in lower case."""
    return frozenset(_WORD_BORDER.split(name.lower()))


def in_tower(name: str) -> bool:
    """Whether a name or config key is of an encoder of another sense, or of its projector."""
    found = words(name)
    return bool(found & _TOWER_WORDS) and "vocab" not in found  # DistilBERT's vocab_projector
