"""Which ids pieces have in a model: as the classes of transformers give them, or a refusal."""

import json

import pytest
import transformers
from sentencepiece_models import BYTES, LIKE_LLAMA, edited, library, train, write_folder
from transformers.tokenization_utils_sentencepiece import SentencePieceBackend

from graphmerge.checkpoint.reading import read_checkpoint
from graphmerge.errors import InputError
from graphmerge.vocabulary.reading import has_vocabulary, read_tokenizer

T5_START = {"pad_id": 0, "eos_id": 1, "unk_id": 2, "bos_id": -1}
GEMMA_START = {"pad_id": 0, "eos_id": 1, "bos_id": 2, "unk_id": 3}
GEMMA_START |= {"pad_piece": "<pad>", "eos_piece": "<eos>", "bos_piece": "<bos>"}
NO_PREFIX = {"add_dummy_prefix": False, "control_symbols": "<mask>"}
CLASSES = {
    "LlamaTokenizer": ("bpe", BYTES, "tokenizer.model"),
    "GemmaTokenizer": ("bpe", BYTES | GEMMA_START | NO_PREFIX, "tokenizer.model"),
    "T5Tokenizer": ("unigram", T5_START, "spiece.model"),
    "XLMRobertaTokenizer": ("unigram", {}, "sentencepiece.bpe.model"),
    "CamembertTokenizer": ("unigram", {}, "sentencepiece.bpe.model"),
}


def tokens_of(folder):
    return read_tokenizer(read_checkpoint(folder)).tokens


def folder_for(folder, kind, settings, options=None, **more):
    data = train(kind, 500 if kind == "bpe" else 100, **(options if options is not None else BYTES))
    return write_folder(folder, 1, data, settings, **more)


@pytest.mark.parametrize("name", CLASSES)
@pytest.mark.parametrize("suffix", ["", "Fast"])
def test_ids_are_those_of_the_class(name, suffix, tmp_path):
    kind, options, file = CLASSES[name]
    folder_for(tmp_path, kind, {"tokenizer_class": name + suffix}, options, name=file)
    theirs = getattr(transformers, name).from_pretrained(tmp_path)
    assert tokens_of(tmp_path) == theirs.get_vocab()


@pytest.mark.parametrize(
    ("model_type", "settings", "name"),
    [
        ("llama", None, "LlamaTokenizer"),
        ("mixtral", {"tokenizer_class": None}, "LlamaTokenizer"),
        ("xlm-roberta", {"tokenizer_class": "PreTrainedTokenizerFast"}, "XLMRobertaTokenizer"),
    ],
)
def test_without_a_class_the_type_of_the_model_counts(model_type, settings, name, tmp_path):
    kind, options, _ = CLASSES[name]
    folder_for(tmp_path / "a", kind, {"tokenizer_class": name}, options)
    config = {"model_type": model_type, "num_hidden_layers": 1}
    folder_for(tmp_path / "b", kind, settings, options, config=config)
    assert tokens_of(tmp_path / "b") == tokens_of(tmp_path / "a")


def test_offsets_by_numbers(tmp_path):
    pieces = train("unigram", 100)
    for name, offset in (
        ("XLMRobertaTokenizer", 1),
        ("CamembertTokenizer", 4),
        ("AlbertTokenizer", 0),
    ):
        write_folder(tmp_path / name, 1, pieces, {"tokenizer_class": name})
        found = tokens_of(tmp_path / name)
        assert [found[library(pieces).id_to_piece(place)] for place in (3, 50, 99)] == [
            place + offset for place in (3, 50, 99)
        ]
    assert tokens_of(tmp_path / "CamembertTokenizer")["<mask>"] == 104
    assert tokens_of(tmp_path / "XLMRobertaTokenizer")["<unk>"] == 3


def test_sentinels(tmp_path):
    settings = {"tokenizer_class": "T5Tokenizer", "extra_ids": 3}
    folder_for(tmp_path, "unigram", settings, T5_START)
    found = tokens_of(tmp_path)
    assert [found[f"<extra_id_{number}>"] for number in range(3)] == [102, 101, 100]
    tokens = ["<extra_id_0>", "<extra_id_1>"]
    (tmp_path / "tokenizer_config.json").write_text(
        json.dumps(settings | {"additional_special_tokens": tokens})
    )
    with pytest.raises(InputError, match="do not agree"):
        tokens_of(tmp_path)


def slow(folder, **more):
    """What the slow class of transformers makes of a folder."""
    path = str(folder / "tokenizer.model")
    special = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    return SentencePieceBackend(vocab_file=path, **special | more)


def test_stated_ids_rename_pieces_and_follow_them(tmp_path):
    stated = {450: "<|im_start|>", 500: "<|new|>", 503: "<|far|>"}
    decoder = {str(i): {"content": token, "special": True} for i, token in stated.items()}
    settings = {"tokenizer_class": "LlamaTokenizer", "added_tokens_decoder": decoder}
    folder_for(tmp_path, "bpe", settings)
    (tmp_path / "added_tokens.json").write_text('{"<ignored>": 501}')
    made = {i: transformers.AddedToken(token, special=True) for i, token in stated.items()}
    assert tokens_of(tmp_path) == slow(tmp_path, added_tokens_decoder=made).get_vocab()
    found = read_tokenizer(read_checkpoint(tmp_path))
    assert list(found.added) == ["<unk>", "<s>", "</s>", *stated.values()]


def test_added_tokens_without_a_decoder(tmp_path):
    folder_for(tmp_path, "bpe", {"tokenizer_class": "LlamaTokenizer"})
    (tmp_path / "added_tokens.json").write_text('{"<b>": 500, "<a>": 501}')
    found = tokens_of(tmp_path)
    assert (found["<b>"], found["<a>"], len(found)) == (500, 501, 502)


def test_special_tokens_without_an_id_get_the_next_ones(tmp_path):
    special = {"additional_special_tokens": ["<x>", "<s>"], "pad_token": {"content": "[PAD]"}}
    folder_for(tmp_path, "bpe", {"tokenizer_class": "LlamaTokenizer"})
    (tmp_path / "special_tokens_map.json").write_text(json.dumps(special))
    found = tokens_of(tmp_path)
    assert (found["[PAD]"], found["<x>"]) == (500, 501)
    theirs = slow(tmp_path, pad_token="[PAD]", additional_special_tokens=["<x>", "<s>"])
    assert found == theirs.get_vocab()
    (tmp_path / "added_tokens.json").write_text('{"<far>": 600}')
    with pytest.raises(InputError, match=r"no file says which ids.*\[PAD\], <x>"):
        tokens_of(tmp_path)


REFUSED = {
    "not known which ids": ({"tokenizer_class": "MBartTokenizer"}, {}),
    "first pieces are not those": ({"tokenizer_class": "XLMRobertaTokenizer"}, GEMMA_START),
    "called like a token": (
        {"tokenizer_class": "T5Tokenizer"},
        LIKE_LLAMA | {"user_defined_symbols": "<extra_id_5>"},
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_where_ids_are_not_certain_the_file_is_refused_by_name(what, tmp_path):
    settings, options = REFUSED[what]
    folder_for(tmp_path, "unigram", settings, options)
    with pytest.raises(InputError, match=rf"{what}.*tokenizer\.model"):
        tokens_of(tmp_path)


def test_a_file_of_another_format_with_the_name(tmp_path):
    write_folder(tmp_path, 1, train("bpe", 500, **BYTES))
    (tmp_path / "tokenizer.model").write_bytes(b"IQ== 0\nIg== 1\n")  # as tiktoken has it
    checkpoint = read_checkpoint(tmp_path)
    assert not has_vocabulary(checkpoint)
    with pytest.raises(InputError, match=r"format that is not read.*tokenizer\.model"):
        read_tokenizer(checkpoint)


def test_names_of_the_reserved_pieces_come_from_the_file(tmp_path):
    def change(message):
        message.pieces[1].piece = "<|begin|>"

    data = edited(train("bpe", 500, **BYTES), change)
    settings = {"tokenizer_class": "LlamaTokenizer", "bos_token": "<|begin|>"}
    write_folder(tmp_path, 1, data, settings)
    found = read_tokenizer(read_checkpoint(tmp_path))
    assert found.tokens["<|begin|>"] == 1
    assert found.added["<|begin|>"]["special"]
    assert "<s>" not in found.tokens
