"""The tokens of a tokenizer.json are the same, however the file is laid out."""

import json

import pytest

from graphmerge.checkpoint.reading import read_checkpoint
from graphmerge.errors import InputError
from graphmerge.testing.stored_models import write_model
from graphmerge.vocabulary.reading import read_tokenizer
from graphmerge.vocabulary.tokenizer_json import read_tokens_of

VOCABULARY = {"a": 0, "merges": 1, '"merges": [': 2, "b]}}": 3, "]}}": 4}
MERGES = {"merges": [["a", '"merges": ['], ["b", "]}}"]]}
MODEL = {"type": "BPE", "vocab": VOCABULARY}
ADDED = {"added_tokens": [{"id": 5, "content": '<"merges": [>', "special": True}]}
LISTS = {"decoder": {"type": "Sequence", "decoders": [{"type": "Fuse"}]}}
LAYOUTS = {
    "as the library writes it": ADDED | LISTS | {"model": MODEL | MERGES},
    "merges before the vocabulary": ADDED | {"model": {"type": "BPE"} | MERGES | MODEL},
    "added tokens at the end": {"model": MODEL | MERGES} | ADDED,
    "added tokens between lists": {"model": MODEL | MERGES} | ADDED | LISTS,
    "a list after the merges": ADDED | {"model": MODEL | MERGES | {"more": []}},
    "merges as text": ADDED | {"model": MODEL | {"merges": ["a b", "b ]}}"]}},
    "no merges": ADDED | {"model": MODEL},
    "no type": ADDED | {"model": {"vocab": VOCABULARY} | MERGES},
    "a list of pieces": ADDED
    | {"model": {"type": "Unigram", "vocab": [[t, 0] for t in VOCABULARY]}},
}


def tokenizer_of(folder, text):
    write_model(folder, {}, config={})
    (folder / "tokenizer.json").write_text(text)
    return read_tokenizer(read_checkpoint(folder))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("indent", [None, 2])
def test_the_tokens_are_those_of_the_file(layout, indent, tmp_path):
    text = json.dumps(LAYOUTS[layout], indent=indent, ensure_ascii=False)
    found = tokenizer_of(tmp_path, text)
    assert found.tokens == VOCABULARY | {'<"merges": [>': 5}
    assert list(found.added) == ['<"merges": [>']
    assert found.kind == ("Unigram" if layout == "a list of pieces" else "BPE")


def test_merges_are_left_out_where_the_library_has_them(tmp_path):
    (tmp_path / "tokenizer.json").write_text(json.dumps(LAYOUTS["as the library writes it"]))
    assert read_tokens_of(tmp_path / "tokenizer.json")["model"]["merges"] == []


@pytest.mark.parametrize("kept", [0.3, 0.9, 0.99])
def test_a_file_that_is_cut_off_is_refused(kept, tmp_path):
    text = json.dumps(LAYOUTS["as the library writes it"])
    with pytest.raises(InputError, match="invalid JSON"):
        tokenizer_of(tmp_path, text[: int(kept * len(text))])


def test_broken_vocabularies_are_refused(tmp_path):
    for number, model in enumerate(({"vocab": 3}, [], "vocab", {"vocab": {"a": True}})):
        with pytest.raises(InputError, match=r"not a tokenizer|no integer id"):
            tokenizer_of(tmp_path / f"{number}", json.dumps({"added_tokens": [], "model": model}))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("added_tokens.json", {"<x>": "7"}),
        ("tokenizer_config.json", {"added_tokens_decoder": {"seven": {"content": "<x>"}}}),
        ("tokenizer_config.json", {"added_tokens_decoder": {"7": "<x>"}}),
        ("tokenizer.json", {"model": {"vocab": {}}, "added_tokens": [{"content": "a", "id": "b"}]}),
    ],
)
def test_broken_added_tokens_are_refused_by_file(name, content, tmp_path):
    write_model(tmp_path, {}, config={})
    (tmp_path / "tokenizer.json").write_text(json.dumps({"model": {"vocab": {"a": 0}}}))
    (tmp_path / name).write_text(json.dumps(content))
    with pytest.raises(InputError, match=name):
        read_tokenizer(read_checkpoint(tmp_path))
