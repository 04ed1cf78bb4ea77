"""Models whose tokenizers differ in tokens and in their order."""

from vocabulary_models import bpe, write_model


def write_vocabularies(folder):
    """Write `folder/vocabularies/NAME` for base, x, y and z."""
    within = folder / "vocabularies"
    write_model(within / "base", 1, bpe("abc", [("a", "b")]), ["<s>"])
    x = bpe("acbd", [("a", "c"), ("a", "b"), ("ab", "c")])
    write_model(within / "x", 2, x, ["<s>", "<x>"])
    write_model(within / "y", 3, bpe("abcde", [("a", "b"), ("d", "e")]), ["<y>"])
    write_model(within / "z", 4, bpe("ab", []), ["<x>", "<z>"])
