"""Tokenizers without a tokenizer.json: vocab.json and merges.txt, or vocab.txt."""

import json

import pytest
import transformers
from tokenizers import models
from vocabulary_models import EMBEDDING, bpe, embedding, merge, recipe, word_piece, write_named

from graphmerge.errors import InputError
from graphmerge.pipeline import compile_recipe

LLAMA = {"model_type": "llama"}


def write_older(folder, number, tokenizer, added):
    """A model whose tokens are in the older files; `added` are in added_tokens.json."""
    size = tokenizer.get_vocab_size()
    config = LLAMA | {"vocab_size": size + len(added)}
    write_named(folder, number, tokenizer, {EMBEDDING: (1, 2)}, config, added)
    tokenizer.model.save(str(folder))
    (folder / "tokenizer.json").unlink()
    listed = {token: size + i for i, token in enumerate(added)}
    (folder / "added_tokens.json").write_text(json.dumps(listed))


def test_vocabulary_and_merges(tmp_path):
    write_older(tmp_path / "base", 1, bpe("ab", [("a", "b")]), ["<s>"])
    write_older(tmp_path / "x", 2, bpe("bac", [("b", "a"), ("a", "b"), ("ab", "c")]), ["<x>"])
    out, _ = merge(tmp_path, recipe(tmp_path, {}))
    assert not (out / "tokenizer.json").exists()
    vocabulary = json.loads((out / "vocab.json").read_text())
    plain = ["<unk>", "a", "b", "ab", "c", "ba", "abc"]
    assert vocabulary == {token: i if i < 4 else i + 1 for i, token in enumerate(plain)}
    assert json.loads((out / "added_tokens.json").read_text()) == {"<s>": 4, "<x>": 8}
    made = models.BPE.from_file(str(out / "vocab.json"), str(out / "merges.txt"))
    assert [token.value for token in made.tokenize("abcba")] == ["abc", "ba"]
    rows = embedding(out).tolist()
    assert len(rows) == 9
    assert rows[vocabulary["a"]] == 1001 + 10_000 * 2002
    assert rows[vocabulary["abc"]] == 10_001 * 2006
    assert rows[4] == 10_001 * 1004
    assert rows[8] == 10_001 * 2007


def test_lines_of_words(tmp_path):
    write_older(tmp_path / "base", 1, word_piece(["play", "##ing"]), [])
    write_older(tmp_path / "x", 2, word_piece(["##ed", "play"]), ["[NEW]"])
    out, _ = merge(tmp_path, recipe(tmp_path, {}))
    lines = (out / "vocab.txt").read_text().splitlines()
    assert lines == ["[UNK]", "play", "##ing", "##ed", "[NEW]"]
    assert embedding(out).tolist()[3:] == [10_001 * 2001, 10_001 * 2003]
    made = transformers.BertTokenizer(str(out / "vocab.txt"), do_lower_case=False)
    assert made.tokenize("played playing") == ["play", "##ed", "play", "##ing"]


def test_older_files_beside_newer_ones_say_the_same(tmp_path):
    for number, (name, letters) in enumerate({"base": "ab", "x": "ac"}.items(), 1):
        tokenizer = bpe(letters, [])
        config = LLAMA | {"vocab_size": 3}
        write_named(tmp_path / name, number, tokenizer, {EMBEDDING: (1, 2)}, config)
        tokenizer.model.save(str(tmp_path / name))
    out, _ = merge(tmp_path, recipe(tmp_path, {}))
    newer = json.loads((out / "tokenizer.json").read_text())["model"]["vocab"]
    assert json.loads((out / "vocab.json").read_text()) == newer
    assert newer == {"<unk>": 0, "a": 1, "b": 2, "c": 3}


@pytest.mark.parametrize("name", ["tokenizer.model", "spiece.model", "tekken.json"])
def test_formats_that_are_not_read_are_refused_with_the_way_out(name, tmp_path):
    for number, folder in enumerate(("base", "x"), 1):
        config = LLAMA | {"vocab_size": 3}
        write_named(tmp_path / folder, number, bpe("ab", []), {EMBEDDING: (1, 2)}, config)
    (tmp_path / "x" / "tokenizer.json").rename(tmp_path / "x" / name)
    (tmp_path / "recipe.yml").write_text(recipe(tmp_path, {}))
    with pytest.raises(InputError, match=r"not read @ .*AutoTokenizer.from_pretrained"):
        compile_recipe(tmp_path / "recipe.yml")
