"""Merges of models whose vocabulary is in a sentencepiece file alone."""

import json
import random
import shutil
import tracemalloc

import pytest
import transformers
from sentencepiece import sentencepiece_model_pb2 as messages
from sentencepiece_models import BYTES, edited, library, train, write_folder
from tokenizers import Tokenizer
from vocabulary_models import (
    EMBEDDING,
    bpe,
    by_token,
    config_of,
    embedding,
    merge,
    recipe,
    unigram,
    write_named,
)

from graphmerge.checkpoint.reading import read_checkpoint
from graphmerge.errors import InputError
from graphmerge.pipeline import compile_recipe
from graphmerge.vocabulary.combining import combine
from graphmerge.vocabulary.reading import read_tokenizer, reading_bytes
from graphmerge.vocabulary.writing import extended_files

LLAMA = {"tokenizer_class": "LlamaTokenizer", "legacy": True}
CHAT = LLAMA | {
    "added_tokens_decoder": {
        "0": {"content": "<unk>", "special": True},
        "500": {"content": "<|chat|>", "special": True},
    },
    "chat_template": "{{ messages }}",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sentencepieces")
    write_folder(folder / "base", 1, train("bpe", 500, **BYTES), LLAMA)
    write_folder(folder / "chat", 2, train("bpe", 500, **BYTES), CHAT, rows=504)
    write_folder(folder / "other", 3, train("bpe", 460, seed=1, **BYTES), LLAMA)
    fast = bpe("ax▁", [("a", "x"), ("▁", "ax")])
    config = {"model_type": "llama", "vocab_size": 7}
    write_named(folder / "fast", 4, fast, {EMBEDDING: (1, 2)}, config, ["<x>"])
    return folder


def pieces_of(folder):
    return library((folder / "tokenizer.model").read_bytes())


def test_union_of_a_sentencepiece_model_with_a_tokenizer_json(folder):
    out, notes = merge(folder, recipe(folder, {}, {"base": 1, "fast": 10_000}))
    assert "500 rows of" in notes[0]
    assert "4 tokens added" in notes[0]
    rows = by_token(out)
    known = {
        piece: number
        for number, piece in enumerate(map(pieces_of(folder / "base").id_to_piece, range(500)))
    }
    fast = Tokenizer.from_file(str(folder / "fast" / "tokenizer.json")).get_vocab()
    assert set(rows) == {*known, *fast}
    for token, row in rows.items():
        ours, theirs = known.get(token), fast.get(token)
        first = 1000 + ours if ours is not None else 4000 + theirs
        second = 4000 + theirs if theirs is not None else 1000 + ours
        assert row == first + 10_000 * second, token
    assert not (out / "tokenizer.model").exists()


def test_versions_of_a_sentencepiece_file_are_not_left_beside_another_vocabulary(folder, tmp_path):
    shutil.copytree(folder / "base", tmp_path / "base")
    (tmp_path / "fast").symlink_to(folder / "fast")
    (tmp_path / "base" / "tokenizer.model.v3").write_bytes(b"as Mistral has it")
    out, _ = merge(tmp_path, recipe(tmp_path, {}, {"base": 1, "fast": 10_000}))
    assert (out / "tokenizer.json").exists()
    assert not list(out.glob("tokenizer.model*"))


def test_union_the_other_way_round(folder, tmp_path):
    (tmp_path / "base").symlink_to(folder / "fast")
    (tmp_path / "pieces").symlink_to(folder / "other")
    out, _ = merge(tmp_path, recipe(tmp_path, {}, {"base": 1, "pieces": 10_000}))
    tokens = read_tokenizer(read_checkpoint(folder / "other")).tokens
    rows = by_token(out)
    longest = max((piece for piece in tokens if not {"▁", "<"} & {*piece}), key=len)
    assert rows[longest] == 10_001 * (3000 + tokens[longest])
    made = Tokenizer.from_file(str(out / "tokenizer.json"))
    made.pre_tokenizer = None
    assert made.encode(longest).tokens == [longest]
    assert made.encode(f"{longest}<x>").tokens == [longest, "<x>"]


def test_the_written_tokenizer_splits_as_the_donor(folder):
    out, _ = merge(
        folder, recipe(folder, {"tokens": {"<new>": {"source": {"kind": "zero"}}}}, {"base": 1})
    )
    loaded = transformers.AutoTokenizer.from_pretrained(out)
    donor = pieces_of(folder / "base")
    for text in ("abc 中国人 日本", "  two  spaces ", "line\nline", "ü😀"):
        assert loaded(text)["input_ids"] == [1, *donor.encode(text)]
        assert loaded.decode(donor.encode(text)) == text
    assert loaded("<new>", add_special_tokens=False)["input_ids"] == [500]
    assert embedding(out).tolist()[500] == 0
    assert config_of(out)["vocab_size"] == len(loaded) == 501
    assert (loaded.bos_token, loaded.eos_token, loaded.unk_token) == ("<s>", "</s>", "<unk>")


def test_where_the_vocabulary_stays_the_files_are_copied(folder):
    out, notes = merge(folder, recipe(folder, {"source": "base"}, {"base": 1, "chat": 10_000}))
    for name in ("tokenizer.model", "tokenizer_config.json"):
        assert (out / name).read_bytes() == (folder / "base" / name).read_bytes()
    assert not (out / "tokenizer.json").exists()
    assert notes[0].startswith("vocabulary: 500 rows")
    assert embedding(out).tolist() == [1000 + i + 10_000 * (2000 + i) for i in range(500)]


def test_tokens_that_only_the_settings_add(folder):
    wanted = {"<|chat|>": {"source": str(folder / "chat"), "force": True}}
    out, _ = merge(folder, recipe(folder, {"tokens": wanted}, {"base": 1, "chat": 10_000}))
    assert by_token(out)["<|chat|>"] == 10_001 * 2500
    listed = json.loads((out / "tokenizer.json").read_text())["added_tokens"]
    assert [token["content"] for token in listed] == ["<unk>", "<s>", "</s>", "<|chat|>"]
    assert [token["id"] for token in listed] == [0, 1, 2, 500]


def test_files_prove_that_common_ids_agree(folder):
    out, notes = merge(folder, recipe(folder, None, {"base": 1, "chat": 10_000}))
    assert "cropped to 500 rows, as the tokenizer files say" in str(notes)
    assert len(embedding(out)) == 500
    path = folder / "differing.yml"
    path.write_text(recipe(folder, None, {"base": 1, "other": 1}))
    with pytest.raises(InputError, match="no tokenizer files prove"):
        compile_recipe(path)


def test_a_class_whose_ids_are_unknown_proves_nothing(folder, tmp_path):
    settings = {"tokenizer_class": "NllbTokenizer"}
    write_folder(tmp_path / "base", 1, train("bpe", 500, **BYTES), settings)
    (tmp_path / "chat").symlink_to(folder / "chat")
    weights = {"base": 1, "chat": 1}
    path = tmp_path / "recipe.yml"
    path.write_text(recipe(tmp_path, None, weights))
    with pytest.raises(InputError, match="no tokenizer files prove"):
        compile_recipe(path)
    merge(tmp_path, recipe(tmp_path, None, weights, embeddings="crop"))
    path.write_text(recipe(tmp_path, {}, weights))
    with pytest.raises(
        InputError, match=r"not known which ids.*tokenizer\.model: got NllbTokenizer"
    ):
        compile_recipe(path)


def test_models_with_one_file_and_other_added_tokens_differ(folder, tmp_path):
    data = train("bpe", 500, **BYTES)
    for number, name in enumerate(("base", "x"), 1):
        added = {"500": {"content": f"<{name}>", "special": True}}
        write_folder(
            tmp_path / name, number, data, LLAMA | {"added_tokens_decoder": added}, rows=501
        )
    out, _ = merge(tmp_path, recipe(tmp_path, {}, {"base": 1, "x": 10_000}))
    rows = by_token(out)
    assert rows["<base>"] == 10_001 * 1500
    assert rows["<x>"] == 10_001 * 2500


def test_what_cannot_be_written_is_refused_when_planning(folder, tmp_path):
    def tie(message):
        for piece in message.pieces[300:]:
            piece.score = 0

    write_folder(tmp_path / "base", 1, edited(train("bpe", 500, **BYTES), tie), LLAMA)
    (tmp_path / "other").symlink_to(folder / "other")
    path = tmp_path / "recipe.yml"
    path.write_text(recipe(tmp_path, {}, {"base": 1, "other": 1}))
    with pytest.raises(
        InputError, match=r"no tokens can be added.*scores of pieces are equal.*source: base"
    ):
        compile_recipe(path)
    merge(tmp_path, recipe(tmp_path, {"source": "base"}, {"base": 1, "other": 1}))


UNIGRAMS = {
    "LlamaTokenizer": ("tokenizer.model", "<s> {}"),
    "T5Tokenizer": ("spiece.model", "{} </s>"),
    "XLMRobertaTokenizer": ("sentencepiece.bpe.model", "<s> {} </s>"),
    "CamembertTokenizer": ("sentencepiece.bpe.model", "<s> {} </s>"),
}


@pytest.mark.parametrize("kind", UNIGRAMS)
def test_union_of_unigrams(kind, tmp_path):
    name, frame = UNIGRAMS[kind]
    settings, data = {"tokenizer_class": kind}, train("unigram", 100)
    write_folder(tmp_path / "base", 1, data, settings, rows=210, name=name)
    other = unigram([("▁abc", -0.5), ("QQ", -1.0), ("Q", -9.0)])
    config = {"model_type": "llama", "vocab_size": 5}
    write_named(tmp_path / "fast", 2, other, {EMBEDDING: (1, 2)}, config, ["<x>"])
    ids = read_tokenizer(read_checkpoint(tmp_path / "base")).tokens
    out, _ = merge(tmp_path, recipe(tmp_path, {}, {"base": 1, "fast": 10_000}))
    rows = by_token(out)
    assert {token: row for token, row in rows.items() if token in ids and token != "<unk>"} == {
        token: 10_001 * (1000 + number) for token, number in ids.items() if token != "<unk>"
    }
    assert rows["<unk>"] == 1000 + ids["<unk>"] + 10_000 * 2000
    assert [rows[token] for token in ("▁abc", "QQ", "<x>")] == [
        10_001 * n for n in (2001, 2002, 2004)
    ]
    loaded = transformers.AutoTokenizer.from_pretrained(out)
    text = " ".join(library(data).encode("def 中国", out_type=str))
    assert (
        loaded.convert_ids_to_tokens(loaded("def 中国")["input_ids"]) == frame.format(text).split()
    )
    assert loaded.tokenize("abc<x>QQ") == ["▁abc", "<x>", "▁", "QQ"]


def test_scores_of_a_sentencepiece_model_go_into_a_unigram(tmp_path):
    write_named(
        tmp_path / "base",
        1,
        unigram([("▁abc", -0.5), ("a", -9.0)]),
        {EMBEDDING: (1, 2)},
        {"model_type": "llama", "vocab_size": 3},
    )
    data = train("unigram", 100)
    write_folder(tmp_path / "pieces", 2, data, LLAMA)
    out, _ = merge(tmp_path, recipe(tmp_path, {}, {"base": 1, "pieces": 10_000}))
    theirs = library(data)
    written = dict(json.loads((out / "tokenizer.json").read_text())["model"]["vocab"])
    assert len(written) == 3 + 100 - 2
    for number in range(3, 100):
        piece = theirs.id_to_piece(number)
        if piece != "a":
            assert written[piece] == theirs.get_score(number)
            assert by_token(out)[piece] == 10_001 * (2000 + number)
    assert written["a"] == -9.0


def test_ids_and_pieces_in_two_files_are_not_extended(folder, tmp_path):
    write_folder(tmp_path / "base", 1, train("bpe", 500, **BYTES), LLAMA)
    (tmp_path / "base" / "vocab.json").write_text('{"a": 1, "b": 0}')
    (tmp_path / "other").symlink_to(folder / "other")
    path = tmp_path / "recipe.yml"
    path.write_text(recipe(tmp_path, {}, {"base": 1, "other": 1}))
    with pytest.raises(InputError, match=r"no tokens can be added.*ids are in another file"):
        compile_recipe(path)


def test_memory_is_within_what_the_plan_counts(tmp_path):
    for number in range(2):
        write_folder(tmp_path / f"m{number}", 1, many_pieces(5_000, number), LLAMA)
    checkpoints = [read_checkpoint(tmp_path / f"m{number}") for number in range(2)]
    tracemalloc.start()
    read = [read_tokenizer(checkpoint) for checkpoint in checkpoints]
    assert tracemalloc.get_traced_memory()[1] < reading_bytes(checkpoints, growth=0)
    made = combine(read[0], read[1:], [], None)
    assert made.growth > 1.5
    extended_files(made)
    assert tracemalloc.get_traced_memory()[1] < reading_bytes(checkpoints, growth=made.growth)
    tracemalloc.stop()


def many_pieces(count, seed):
    """A BPE whose pieces are unions of others, most of which another seed does not have."""
    draw, letters = random.Random(seed), [chr(ord("a") + number) for number in range(26)]
    pieces = dict.fromkeys(letters)
    while len(pieces) < count:
        listed = list(pieces)[:500]
        pieces["".join(draw.choices(listed, k=2))] = None
    message = messages.ModelProto()
    message.pieces.add(piece="<unk>", type=2)
    for piece in pieces:
        message.pieces.add(piece=piece, score=-float(len(message.pieces)))
    message.trainer_spec.model_type = 2
    message.normalizer_spec.add_dummy_prefix = True
    return message.SerializeToString()
