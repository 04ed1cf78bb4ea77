"""Every rule of the tokenizer section, by where the rows of the output come from."""

import json

import pytest
import transformers
from tokenizers import Tokenizer, pre_tokenizers
from vocabulary_models import (
    bpe,
    by_token,
    config_of,
    embedding,
    merge,
    unigram,
    word_piece,
    write_model,
)
from vocabulary_models import recipe as recipe_of

from graphmerge.errors import InputError
from graphmerge.pipeline import compile_recipe
from graphmerge.schedule.executors import Kernels

WEIGHTS = {"base": 1, "x": 10_000, "y": 100_000_000}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("vocabularies")
    write_model(folder / "base", 1, bpe("abc", [("a", "b")]), ["<s>"])
    x = bpe("acbd", [("a", "c"), ("a", "b"), ("ab", "c")])
    write_model(folder / "x", 2, x, ["<s>", "<x>"], rows=16)
    y = bpe("abcde", [("a", "b"), ("d", "e")])
    write_model(folder / "y", 3, y, ["<y>"])
    write_model(folder / "z", 4, bpe("ab", []), ["<x>", "<z>"])
    return folder


def recipe(folder, tokenizer, weights=WEIGHTS, **keys):
    return recipe_of(folder, tokenizer, weights, **keys)


def of(base, x, y):
    """What a row is if the models give these rows of theirs: (model, row)."""
    return sum(
        weight * (1000 * model + row)
        for weight, (model, row) in zip(WEIGHTS.values(), (base, x, y), strict=True)
    )


OWN = {
    "<unk>": of((1, 0), (2, 0), (3, 0)),
    "a": of((1, 1), (2, 1), (3, 1)),
    "b": of((1, 2), (2, 3), (3, 2)),
    "c": of((1, 3), (2, 2), (3, 3)),
    "ab": of((1, 4), (2, 6), (3, 6)),
}
UNION = OWN | {
    "<s>": of((1, 5), (2, 8), (1, 5)),  # y lacks it, the base has it
    "ac": of((2, 5), (2, 5), (2, 5)),  # only x has it
    "abc": of((2, 7), (2, 7), (2, 7)),
    "<x>": of((2, 9), (2, 9), (2, 9)),
    "e": of((3, 5), (3, 5), (3, 5)),
    "de": of((3, 7), (3, 7), (3, 7)),
    "<y>": of((3, 8), (3, 8), (3, 8)),
    "d": 1 * (2004 + 3004) / 2 + 10_000 * 2004 + 100_000_000 * 3004,  # the base averages
}


def test_union(folder):
    out, notes = merge(folder, recipe(folder, {"source": "union"}))
    assert by_token(out) == UNION
    heads = by_token(out, "lm_head.weight")
    assert heads == {token: -row for token, row in UNION.items()}
    assert config_of(out)["vocab_size"] == 13
    assert notes[0] == f"vocabulary: 13 rows: 6 rows of {folder / 'base'}, 7 tokens added"
    assert f"rows of {folder / 'base'}: 6 its own, 6 taken from another model, 1 averaged" in str(
        notes
    )


def test_union_splits_text_by_the_merges_of_all(folder):
    out, _ = merge(folder, recipe(folder, {"source": "union"}))
    tokenizer = transformers.AutoTokenizer.from_pretrained(out)
    assert tokenizer.tokenize("ab ac abc de <x> <y>") == ["ab", "ac", "abc", "de", "<x>", "<y>"]
    ids = tokenizer("ab de <y>", add_special_tokens=False)["input_ids"]
    assert tokenizer.convert_ids_to_tokens(ids) == ["ab", "de", "<y>"]
    model = transformers.AutoModelForCausalLM.from_pretrained(out)
    assert model.get_input_embeddings().weight.shape[0] == len(tokenizer) == 13
    merges = json.loads((out / "tokenizer.json").read_text())["model"]["merges"]
    assert merges == [["a", "b"], ["a", "c"], ["ab", "c"], ["d", "e"]]


def test_base(folder):
    out, _ = merge(folder, recipe(folder, {"source": "base"}))
    assert by_token(out) == {token: UNION[token] for token in [*OWN, "<s>"]}
    ours, theirs = (path / "tokenizer.json" for path in (out, folder / "base"))
    assert ours.read_bytes() == theirs.read_bytes()


def test_a_model_padded(folder):
    wanted = {"source": str(folder / "x"), "pad_to_multiple_of": 8}
    out, _ = merge(folder, recipe(folder, wanted))
    found = by_token(out)
    assert found == {token: UNION[token] for token in found}
    rows = embedding(out)
    assert len(rows) == config_of(out)["vocab_size"] == 16
    assert rows[10:].tolist() == pytest.approx([float(rows[:10].mean())] * 6, rel=1e-6)
    assert config_of(out)["eos_token_id"] == 2


def test_legacy_key_means_the_same(folder):
    text = recipe(folder, "union").replace('"tokenizer":', '"tokenizer_source":')
    assert by_token(merge(folder, text)[0]) == UNION


CONFIGURED = {
    "a model": ("c", {"source": "x", "force": True}, of((2, 2), (2, 2), (2, 2))),
    "no effect without force": ("c", {"source": "x"}, OWN["c"]),
    "zero": ("e", {"source": {"kind": "zero"}}, of((0, 0), (0, 0), (3, 5))),
    "zero for all": ("ab", {"source": {"kind": "zero"}, "force": True}, 0),
    "another token": (
        "d",
        {"source": {"kind": "model_token", "model": "y", "token": "e"}},
        of((3, 5), (2, 4), (3, 4)),
    ),
    "a row by number": (
        "e",
        {"source": {"kind": "model_token", "model": "x", "token_id": 12}},
        of((2, 12), (2, 12), (3, 5)),
    ),
    "a model that is not merged": ("<x>", {"source": "z"}, of((4, 3), (2, 9), (4, 3))),
    "a token that is new to all": (
        "<new>",
        {"source": {"kind": "model_token", "model": "y", "token": "a"}},
        of((3, 1), (3, 1), (3, 1)),
    ),
}


@pytest.mark.parametrize("case", CONFIGURED)
def test_configured_tokens(folder, case):
    token, given, wanted = CONFIGURED[case]
    text = json.dumps({token: given})
    for name in "xyz":
        text = text.replace(f'"{name}"', json.dumps(str(folder / name)))
    out, _ = merge(folder, recipe(folder, {"source": "union", "tokens": json.loads(text)}))
    assert by_token(out) == UNION | {token: wanted}


def test_the_same_bytes_for_every_tile_and_number_of_workers(folder):
    text = recipe(folder, {"source": "union", "pad_to_multiple_of": 32}, dtype="float32")
    outputs = (
        merge(folder, text, workers=workers, kernels=kernels)[0]
        for workers in (1, 2)
        for kernels in (Kernels.NATIVE, Kernels.TORCH)
    )
    files = {(out / "model.safetensors").read_bytes() for out in outputs}
    assert len(files) == 1


def test_mistakes_are_told_at_once(folder):
    (folder / "no-tokenizer").mkdir(exist_ok=True)
    for name in ("config.json", "model.safetensors"):
        (folder / "no-tokenizer" / name).write_bytes((folder / "x" / name).read_bytes())
    weights = {"base": 1, "no-tokenizer": 1}
    path = folder / "wrong.yml"
    path.write_text(recipe(folder, {"source": "union"}, weights))
    with pytest.raises(InputError, match="no tokenizer"):
        compile_recipe(path)
    x = str(folder / "x")
    tokens = {
        "c": {"source": {"kind": "model_token", "model": x, "token": "zz"}},
        "ab": {"source": {"kind": "model_token", "model": x, "token": "qq"}},
    }
    path.write_text(recipe(folder, {"source": "union", "tokens": tokens}))
    with pytest.raises(InputError, match="'zz'") as error:
        compile_recipe(path)
    assert "'qq'" in str(error.value)


def test_word_piece(tmp_path):
    write_model(tmp_path / "base", 1, word_piece(["play", "##ing"]), ["[CLS]"])
    write_model(tmp_path / "x", 2, word_piece(["##ed", "play"]), ["[NEW]"])
    out, _ = merge(tmp_path, recipe(tmp_path, {"source": "union"}, {"base": 1, "x": 10_000}))
    tokenizer = transformers.AutoTokenizer.from_pretrained(out)
    assert tokenizer.tokenize("played playing [NEW]") == ["play", "##ed", "play", "##ing", "[NEW]"]
    assert by_token(out)["##ed"] == 10_001 * 2001


def test_unigram_fills_the_places_of_added_tokens(tmp_path):
    write_model(tmp_path / "base", 1, unigram([("▁a", -1.0), ("b", -2.0)]), ["<s>"])
    write_model(tmp_path / "x", 2, unigram([("b", -3.0), ("▁ab", -0.5)]), ["<x>"])
    out, _ = merge(tmp_path, recipe(tmp_path, {"source": "union"}, {"base": 1, "x": 10_000}))
    tokenizer = Tokenizer.from_file(str(out / "tokenizer.json"))
    assert tokenizer.get_vocab() == {"<unk>": 0, "▁a": 1, "b": 2, "<s>": 3, "▁ab": 4, "<x>": 5}
    assert tokenizer.encode("ab<s>").tokens == ["▁ab", "<s>"]
    assert by_token(out)["▁ab"] == 10_001 * 2002
    assert len(transformers.AutoTokenizer.from_pretrained(out)) == 6


def test_kinds_are_not_mixed(tmp_path):
    write_model(tmp_path / "base", 1, word_piece(["a"]))
    write_model(tmp_path / "x", 2, bpe("a", []))
    (tmp_path / "recipe.yml").write_text(recipe(tmp_path, {"source": "union"}, {"base": 1, "x": 1}))
    with pytest.raises(InputError, match="tokenizers of different kinds"):
        compile_recipe(tmp_path / "recipe.yml")


def test_bytes_and_pieces_are_not_mixed(tmp_path):
    """Byte-level BPE turns every space, and every ▁, into letters before it looks for tokens."""
    pieces = bpe("▁ab", [("▁", "a")])
    pieces.pre_tokenizer = pre_tokenizers.Metaspace()
    byte_level = bpe([*pre_tokenizers.ByteLevel.alphabet(), "<▁>"], [("Ġ", "a")])
    byte_level.pre_tokenizer = pre_tokenizers.ByteLevel()
    write_model(tmp_path / "base", 1, byte_level)
    write_model(tmp_path / "x", 2, pieces)
    write_model(tmp_path / "y", 3, bpe("abc", [("a", "b")]))
    union, path = {"source": "union"}, tmp_path / "recipe.yml"
    path.write_text(recipe(tmp_path, union, {"y": 1, "base": 1, "x": 1}))
    with pytest.raises(InputError, match="tokenizers of different kinds have no union") as error:
        compile_recipe(path)
    text = str(error.value)
    assert f"@ $.tokenizer: got {tmp_path / 'base'} BPE with a space as Ġ, " in text
    assert f"{tmp_path / 'x'} BPE with a space as ▁" in text
    assert "source: base, or a model" in text
    path.write_text(recipe(tmp_path, union, {"base": 1, "y": 1}))  # y writes no space at all
    assert "1 token added" in compile_recipe(path).build.graph.notes[0]
