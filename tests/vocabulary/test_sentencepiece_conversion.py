"""A tokenizer.json that is made of a sentencepiece file splits texts as that file does."""

import json
import re
from functools import cache

import pytest
import transformers
from hypothesis import given
from hypothesis import strategies as st
from sentencepiece import sentencepiece_model_pb2 as messages
from sentencepiece_models import BYTES, LETTERS, LIKE_LLAMA, edited, library, train
from tokenizers import Tokenizer
from transformers.tokenization_utils_sentencepiece import SentencePieceBackend

from graphmerge.vocabulary.sentencepiece_json import as_json, merges_of, obstacles
from graphmerge.vocabulary.slow_families import family_of
from graphmerge.vocabulary.slow_tokenizer import read_slow_tokenizer

FEW = {"letters": "ab", "split_by_whitespace": False, "max_sentencepiece_length": 12}
RUNS = {"allow_whitespace_only_pieces": True}
MODELS = {
    "BPE with bytes": ("bpe", 500, BYTES),
    "BPE without bytes": ("bpe", 200, LIKE_LLAMA),
    "BPE that is normalised": ("bpe", 200, {}),
    "BPE without a prefix": ("bpe", 500, BYTES | {"add_dummy_prefix": False}),
    "BPE of two letters": ("bpe", 150, LIKE_LLAMA | FEW | RUNS),
    "Unigram": ("unigram", 100, {}),
    "Unigram with bytes": ("unigram", 350, BYTES),
    "Unigram without a prefix": ("unigram", 100, {"add_dummy_prefix": False}),
    "Unigram of two letters": ("unigram", 60, LIKE_LLAMA | FEW),
}
CLASSES = ("LlamaTokenizer", "T5Tokenizer", "XLMRobertaTokenizer", "CamembertTokenizer")
TEXTS = st.text(LETTERS + "  xyz▁\n\tﬁÅ😀㍿", max_size=40) | st.text("ab ", max_size=40)


def slow_tokenizer(folder, data, settings):
    path = folder / "tokenizer.model"
    path.write_bytes(data)
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    files = {file.name: file for file in folder.iterdir()}
    return read_slow_tokenizer(path, files, family_of(settings, {}))


def made(slow):
    content = as_json(slow)
    if slow.model.kind == "BPE":
        content["model"]["merges"] = [list(pair) for pair in merges_of(slow)]
    return Tokenizer.from_str(json.dumps(content))


def are_as_good(slow, ids, wanted):
    """Whether ids are those that are wanted, or, in a Unigram, of the same score up to rounding.

    The library adds scores in float32, tokenizers in float64: of "bbb" as "bb b" or "b bb" each may
    choose another.
    """
    if ids == wanted or slow.model.kind == "BPE":
        return ids == wanted
    scores = dict(zip(slow.model.pieces, slow.model.scores.tolist(), strict=True))
    names = {number: token for token, number in slow.tokens.items()}
    one, other = (sum(scores.get(names[number], 0) for number in x) for x in (ids, wanted))
    return sorted(ids) == sorted(wanted) or abs(one - other) < 1e-5 * abs(one)


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    @cache
    def build(name, kind):
        letters_kind, size, options = MODELS[name]
        data = train(letters_kind, size, **options)
        folder = tmp_path_factory.mktemp("pair")
        slow = slow_tokenizer(folder, data, {"tokenizer_class": kind})
        return slow, library(data), made(slow)

    return build


@pytest.mark.parametrize("name", MODELS)
@given(text=TEXTS)
def test_texts_are_split_as_by_the_library(name, text, pair):
    slow, theirs, ours = pair(name, "LlamaTokenizer")
    assert obstacles(slow) == []
    ids = theirs.encode(text)
    assert are_as_good(slow, ours.encode(text, add_special_tokens=False).ids, ids)
    if slow.model.has_byte_fallback:
        assert ours.decode(ids) == theirs.decode(ids)


WORDS = st.text("ab", min_size=2, max_size=6)


@given(words=st.lists(WORDS, unique=True, max_size=25), text=st.text("ab", max_size=24))
def test_any_scores_of_bpe_give_the_same_merges(words, text, tmp_path_factory):
    message = messages.ModelProto()
    message.pieces.add(piece="<unk>", type=2)
    for piece in (*words, "a", "b"):
        message.pieces.add(piece=piece, score=-len(message.pieces))
    message.trainer_spec.model_type = 2
    message.normalizer_spec.add_dummy_prefix = False
    data = message.SerializeToString()
    slow = slow_tokenizer(
        tmp_path_factory.getbasetemp(), data, {"tokenizer_class": "GemmaTokenizer"}
    )
    assert made(slow).encode(text, add_special_tokens=False).ids == library(data).encode(text)


@pytest.mark.parametrize("kind", CLASSES)
@given(text=TEXTS)
def test_ids_are_those_of_the_class(kind, text, pair):
    slow, theirs, ours = pair("Unigram", kind)
    pieces = theirs.encode(text, out_type=str)
    unknown = slow.tokens[slow.unknown]
    wanted = [slow.tokens.get(piece, unknown) for piece in pieces]
    assert are_as_good(slow, ours.encode(text, add_special_tokens=False).ids, wanted)
    assert ours.get_vocab() == slow.tokens


SPECIAL = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<new>"}
PARTS = st.lists(st.sampled_from(["<s>", "</s>", "<new>", " ", "abc", "中国 人", " a"]), max_size=6)


@pytest.fixture(scope="module", params=["BPE with bytes", "Unigram"])
def special(request, tmp_path_factory):
    kind, size, options = MODELS[request.param]
    folder = tmp_path_factory.mktemp("special")
    settings = {"tokenizer_class": "LlamaTokenizer", **SPECIAL}
    slow = slow_tokenizer(folder, train(kind, size, **options), settings)
    path = str(folder / "tokenizer.model")
    return slow, SentencePieceBackend(vocab_file=path, **SPECIAL), made(slow)


@given(parts=PARTS)
def test_special_tokens_within_texts(parts, special):
    slow, theirs, ours = special
    wanted = theirs.convert_tokens_to_ids(theirs.tokenize("".join(parts)))
    assert ours.encode("".join(parts), add_special_tokens=False).ids == wanted
    assert slow.tokens["<new>"] == len(slow.model.pieces)


@pytest.fixture(scope="module")
def without_legacy(tmp_path_factory):
    data = train("bpe", 500, **BYTES)
    settings = {"tokenizer_class": "LlamaTokenizer", "legacy": False, **SPECIAL}
    slow = slow_tokenizer(tmp_path_factory.mktemp("new"), data, settings)
    special = {token: slow.tokens[token] for token in SPECIAL.values()}
    return WithoutLegacy(data, special), made(slow)


@given(parts=PARTS.filter(lambda parts: not parts or parts[0] not in (" ", " a")))
def test_without_legacy_only_the_text_itself_gets_a_prefix(parts, without_legacy):
    theirs, ours = without_legacy
    text = "".join(parts)
    assert ours.encode(text, add_special_tokens=False).ids == theirs.encode(text)


class WithoutLegacy:
    """What `legacy: false` means: one space before the text, unless a special token begins it."""

    def __init__(self, data, special):
        self.special = special
        self.library = library(edited(data, self._no_prefix))

    @staticmethod
    def _no_prefix(message):
        message.normalizer_spec.add_dummy_prefix = False

    def encode(self, text):
        found = re.split(f"({'|'.join(map(re.escape, self.special))})", text)
        first, *rest = found
        ids = self.library.encode(f" {first}" if first else "")
        for part in rest:
            ids += [self.special[part]] if part in self.special else self.library.encode(part)
        return ids


FRAMES = {
    "LlamaTokenizer": ({}, "<s> A", "<s> A <s> B"),
    "T5Tokenizer": ({}, "A </s>", "A </s> B </s>"),
    "XLMRobertaTokenizer": ({}, "<s> A </s>", "<s> A </s> </s> B </s>"),
    "CamembertTokenizer": ({}, "<s> A </s>", "<s> A </s> </s> B </s>"),
    "InternLM2Tokenizer": (
        {"add_bos_token": False, "add_eos_token": True},
        "A </s>",
        "A </s> B </s>",
    ),
    "BaichuanTokenizer": ({"add_bos_token": False}, "A", "A B"),
}


@pytest.mark.parametrize("kind", FRAMES)
def test_what_stands_around_texts(kind, tmp_path):
    settings, single, both = FRAMES[kind]
    slow = slow_tokenizer(tmp_path, train("unigram", 100), {"tokenizer_class": kind, **settings})
    ours = made(slow)
    a, b = (ours.encode(text, add_special_tokens=False).tokens for text in ("abc", "de"))

    def framed(frame):
        parts = {"A": a, "B": b}
        return [token for part in frame.split() for token in parts.get(part, [part])]

    assert ours.encode("abc").tokens == framed(single)
    assert ours.encode("abc", "de").tokens == framed(both)


@pytest.mark.parametrize("kind", ["LlamaTokenizer", "T5Tokenizer", "XLMRobertaTokenizer"])
def test_the_result_is_that_of_transformers(kind, tmp_path):
    is_bpe = kind == "LlamaTokenizer"
    start = {"pad_id": 0, "eos_id": 1, "unk_id": 2, "bos_id": -1} if kind == "T5Tokenizer" else {}
    data = train("bpe", 500, **BYTES) if is_bpe else train("unigram", 100, **start)
    slow = slow_tokenizer(tmp_path, data, {"tokenizer_class": kind, "legacy": not is_bpe})
    theirs = getattr(transformers, kind).from_pretrained(tmp_path)
    ours = made(slow)
    for text in ("abc 中国人 a", "日本語 fé", "ab</s>c", "x<unk> y", "a, ,b"):
        wanted = theirs(text, add_special_tokens=False)["input_ids"]
        assert ours.encode(text, add_special_tokens=False).ids == wanted


def test_symbols_with_spaces_are_looked_for_where_spaces_are_replaced(tmp_path):
    symbols = {"user_defined_symbols": "▁▁,▁▁▁,\t\t,<u>", "add_dummy_prefix": False}
    data = train("bpe", 500, **BYTES, **symbols)
    slow = slow_tokenizer(tmp_path, data, {"tokenizer_class": "GemmaTokenizer"})
    assert obstacles(slow) == []
    ours, theirs = made(slow), library(data)
    for text in ("a  b", "   a", "a     b", "\t\t\ta", "<u>a<u> <u>", "  <u>  "):
        assert ours.encode(text, add_special_tokens=False).ids == theirs.encode(text)


def keep(message):
    """Change nothing."""


def tie(message):
    message.pieces[400].score = message.pieces[401].score


def part(message):
    message.pieces[-1].piece = "QQ"


def unuse(message):
    message.pieces[400].type = 5


def suffix(message):
    message.trainer_spec.treat_whitespace_as_suffix = True


LLAMA = {"tokenizer_class": "LlamaTokenizer"}
SYMBOL = BYTES | {"user_defined_symbols": "<u>"}
OBSTACLES = {
    "scores of pieces are equal": (BYTES, tie, LLAMA),
    "characters within pieces are none, such as 'Q'": (BYTES, part, LLAMA),
    "it has unused pieces": (BYTES, unuse, LLAMA),
    "spaces belong to the words before them": (BYTES, suffix, LLAMA),
    "its class prepares texts in a way of its own": (
        BYTES,
        keep,
        {"tokenizer_class": "XLNetTokenizer"},
    ),
    "user-defined pieces are looked for after the space": (SYMBOL, keep, LLAMA),
    "spaces are removed, and `legacy` is false": ({}, keep, LLAMA | {"legacy": False}),
}


@pytest.mark.parametrize("what", OBSTACLES)
def test_what_cannot_be_written_is_known(what, tmp_path):
    options, change, settings = OBSTACLES[what]
    size = 500 if "byte_fallback" in options else 200
    slow = slow_tokenizer(tmp_path, edited(train("bpe", size, **options), change), settings)
    (found,) = obstacles(slow)
    assert what in found


def test_a_symbol_that_is_an_added_token_is_no_obstacle(tmp_path):
    decoder = {"3": {"content": "<u>"}}
    settings = LLAMA | {"added_tokens_decoder": decoder}
    slow = slow_tokenizer(tmp_path, train("bpe", 500, **SYMBOL), settings)
    assert slow.tokens["<u>"] == 3
    assert obstacles(slow) == []
