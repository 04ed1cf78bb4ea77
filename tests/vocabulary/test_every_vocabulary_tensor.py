"""Embeddings, heads and output biases get the same rows, whichever of them a model stores."""

import json

import pytest
import transformers
from safetensors.torch import load_file
from vocabulary_models import (
    EMBEDDING,
    bpe,
    by_token,
    config_of,
    embedding,
    merge,
    recipe,
    unigram,
    word_piece,
    write_named,
)

BERT = "bert.embeddings.word_embeddings.weight"
LAYOUTS = {
    "head": ({EMBEDDING: (1, 2), "lm_head.weight": (-1, 2)}, "llama"),
    "head and its bias": (
        {EMBEDDING: (1, 2), "lm_head.weight": (-1, 2), "lm_head.bias": (0.5, 1)},
        "phi",
    ),
    "tied, with a bias": ({BERT: (1, 2), "cls.predictions.bias": (0.5, 1)}, "bert"),
    "other names": ({"gpt_neox.embed_in.weight": (1, 2), "embed_out.weight": (2, 2)}, "gpt_neox"),
    "shared": ({"shared.weight": (1, 2), "lm_head.weight": (3, 2)}, "t5"),
}
KINDS = {
    "BPE": (bpe("ab", []), bpe("ba", [("b", "a")])),
    "WordPiece": (word_piece(["a", "b"]), word_piece(["b", "a", "##ba"])),
    "Unigram": (
        unigram([("a", -1.0), ("b", -2.0)]),
        unigram([("b", -1.0), ("a", -2.0), ("ba", 0)]),
    ),
}


@pytest.mark.parametrize(
    ("layout", "kind"),
    [
        *((layout, "BPE") for layout in LAYOUTS),
        *(("head", kind) for kind in KINDS if kind != "BPE"),
    ],
)
def test_rows_follow_their_tokens(layout, kind, tmp_path):
    roles, model_type = LAYOUTS[layout]
    for number, (name, tokenizer) in enumerate(zip(("base", "x"), KINDS[kind], strict=True), 1):
        config = {"model_type": model_type, "vocab_size": tokenizer.get_vocab_size()}
        copied = type(tokenizer).from_str(tokenizer.to_str())
        write_named(tmp_path / name, number, copied, roles, config, [f"<{name}>"])
    out, _ = merge(tmp_path, recipe(tmp_path, {"source": "union"}))
    longest = {"BPE": "ba", "WordPiece": "##ba", "Unigram": "ba"}[kind]
    unknown = "[UNK]" if kind == "WordPiece" else "<unk>"
    wanted = {
        unknown: 1000 + 10_000 * 2000,
        "a": 1001 + 10_000 * 2002,
        "b": 1002 + 10_000 * 2001,
        "<base>": 10_001 * 1003,  # of the base, in both models
        longest: 10_001 * 2003,  # of x, in both models
        "<x>": 10_001 * 2004,
    }
    for name, (factor, _) in roles.items():
        assert by_token(out, name) == {token: factor * row for token, row in wanted.items()}, name
    assert config_of(out)["vocab_size"] == 6


TIED = {EMBEDDING: (1, 2)}
UNTIED = {EMBEDDING: (1, 2), "lm_head.weight": (-1, 2)}
CLASS = {"model_type": "llama", "architectures": ["LlamaForCausalLM"], "vocab_size": 4}


@pytest.mark.parametrize("base", ["base", "x"])
def test_tied_heads_take_the_rows_of_heads(base, tmp_path):
    """The base is tied and x is not: what the base lacks is a row of x's head in its head."""
    write_named(
        tmp_path / "base",
        1,
        bpe("ab", []),
        TIED,
        CLASS | {"tie_word_embeddings": True},
        ["<base>"],
    )
    write_named(tmp_path / "x", 2, bpe("ba", []), UNTIED, CLASS, ["<x>"])
    out, _ = merge(tmp_path, recipe(tmp_path, {"source": "union"}, base=base))
    assert by_token(out)["<x>"] == 10_001 * 2003
    heads = by_token(out, "lm_head.weight")
    assert heads["a"] == 1001 - 10_000 * 2002
    assert heads["<x>"] == -10_001 * 2003
    assert heads["<base>"] == 10_001 * 1003  # the head of the base is its embedding
    assert not config_of(out).get("tie_word_embeddings", False)


@pytest.mark.parametrize("is_stated", [True, False])
def test_models_that_are_all_tied_stay_tied(is_stated, tmp_path):
    config = CLASS | ({"tie_word_embeddings": True} if is_stated else {})
    write_named(tmp_path / "base", 1, bpe("ab", []), TIED, config, ["<base>"])
    write_named(tmp_path / "x", 2, bpe("ba", []), TIED, config, ["<x>"])
    out, _ = merge(tmp_path, recipe(tmp_path, {"source": "union"}))
    assert load_file(out / "model.safetensors").keys() == {EMBEDDING, "model.layers.0.norm.weight"}
    assert by_token(out)["<x>"] == 10_001 * 2003
    assert config_of(out).get("tie_word_embeddings") == config.get("tie_word_embeddings")


def test_a_tied_model_that_stores_its_head_loads(tmp_path):
    """Both are stored, and equal: the rows stay equal, so the config stays right."""
    roles = {EMBEDDING: (1, 2), "lm_head.weight": (1, 2)}
    config = CLASS | {"tie_word_embeddings": True}
    write_named(tmp_path / "base", 1, bpe("ab", []), roles, config, ["<base>"])
    write_named(tmp_path / "x", 2, bpe("ba", []), roles, config, ["<x>"])
    out, _ = merge(tmp_path, recipe(tmp_path, {"source": "union"}))
    assert by_token(out) == by_token(out, "lm_head.weight")
    assert config_of(out)["tie_word_embeddings"] is True


NESTED = {"model_type": "llava", "text_config": {"model_type": "llama", "vocab_size": 4}}


@pytest.mark.parametrize("multiple", [None, 5, 8])
def test_vocab_size_of_nested_configs_follows(multiple, tmp_path):
    write_named(tmp_path / "base", 1, bpe("ab", []), UNTIED, NESTED, ["<base>"])
    write_named(tmp_path / "x", 2, bpe("ab", []), UNTIED, NESTED, ["<x>"])
    section = {"source": "union"} | ({"pad_to_multiple_of": multiple} if multiple else {})
    out, _ = merge(tmp_path, recipe(tmp_path, section))
    config = config_of(out)
    assert "vocab_size" not in config
    rows = {None: 5, 5: 5, 8: 8}[multiple]
    assert config["text_config"]["vocab_size"] == len(embedding(out)) == rows


IDS = {"bos_token_id": 1, "eos_token_id": [2, 3], "pad_token_id": 3, "forced_bos_token_id": 2}


def test_ids_of_special_tokens_follow_the_tokenizer(tmp_path):
    """x states its own eos; of the other ids the same tokens are found in its tokenizer."""
    tied = CLASS | {"tie_word_embeddings": True}
    write_named(
        tmp_path / "base", 1, bpe("ab", []), TIED, tied | IDS | {"image_token_index": 2}, ["<s>"]
    )
    write_named(tmp_path / "x", 2, bpe("ba", []), TIED, tied | {"eos_token_id": 0}, ["<x>"])
    (tmp_path / "base" / "generation_config.json").write_text(json.dumps(IDS | {"top_k": 7}))
    out, _ = merge(tmp_path, recipe(tmp_path, {"source": str(tmp_path / "x")}))
    config = config_of(out)
    assert config["eos_token_id"] == 0
    assert config["bos_token_id"] == 2  # "a"
    assert config["pad_token_id"] is None  # x has no <s>
    assert config["image_token_index"] == config["forced_bos_token_id"] == 1  # "b"
    generation = json.loads((out / "generation_config.json").read_text())
    wanted = {"bos_token_id": 2, "eos_token_id": 0, "pad_token_id": None, "forced_bos_token_id": 1}
    assert generation == wanted | {"top_k": 7}


def test_ids_of_special_tokens_stay_with_the_tokenizer(tmp_path):
    config = CLASS | {"tie_word_embeddings": True}
    write_named(tmp_path / "base", 1, bpe("ab", []), TIED, config | IDS, ["<s>"])
    write_named(tmp_path / "x", 2, bpe("ba", []), TIED, config, ["<x>"])
    out, _ = merge(tmp_path, recipe(tmp_path, {"source": "union", "pad_to_multiple_of": 8}))
    assert {key: config_of(out)[key] for key in IDS} == IDS


def test_the_settings_of_a_model_with_the_same_vocabulary_are_taken(tmp_path):
    """Its rows fit as they are, but its chat template and special tokens are its own."""
    config = CLASS | {"tie_word_embeddings": True}
    write_named(tmp_path / "base", 1, bpe("ab", []), TIED, config | {"eos_token_id": 1})
    write_named(tmp_path / "x", 2, bpe("ab", []), TIED, config | {"eos_token_id": 2})
    for name, token in (("base", "a"), ("x", "b")):
        settings = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": token}
        (tmp_path / name / "tokenizer_config.json").write_text(json.dumps(settings))
    out, notes = merge(tmp_path, recipe(tmp_path, {"source": str(tmp_path / "x")}))
    assert not notes
    assert by_token(out)["a"] == 1001 + 10_000 * 2001
    assert config_of(out)["eos_token_id"] == 2
    assert transformers.AutoTokenizer.from_pretrained(out).eos_token == "b"
