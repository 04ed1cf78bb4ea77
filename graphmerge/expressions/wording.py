"""Messages about recipes in the words of Python: an expression's mistakes have no recipe."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from attrs import evolve

if TYPE_CHECKING:
    from graphmerge.errors import Problem

_PLACES = (
    (re.compile(r"\$\.merge_method\b"), "method"),
    (re.compile(r"\$\.base_model\b"), "base"),
    (re.compile(r"\$\.parameters\."), ""),
    (re.compile(r"\$\.models\[(\d+)\]\.parameters\."), r"models[\1], "),
    (re.compile(r"\$\."), ""),
)
_HINTS = (
    (re.compile(r"give it in 'parameters:' of the "), "give it as an argument of the "),
    (re.compile(r"\bbase_model(:|\b)"), "base="),
    (re.compile(r"\btokenizer: \{source: (\w+)\}"), r'tokenizer="\1"'),
    (re.compile(r"\bembeddings: (crop|extend)"), r'embeddings="\1"'),
    (re.compile(r"\b(dtype|statistics|tokenizer|embeddings):"), r"\1="),
    (re.compile(r"'slices:'"), "stack_layers"),
)


def in_python(problem: Problem) -> Problem:
    """The problem with the arguments of functions where it names keys of a recipe."""
    return evolve(
        problem,
        where=_replaced(_PLACES, problem.where),
        hint=_replaced(_HINTS, problem.hint),
    )


def _replaced(patterns: tuple[tuple[re.Pattern[str], str], ...], text: str) -> str:
    for pattern, replacement in patterns:
        text = pattern.sub(replacement, text)
    return text
