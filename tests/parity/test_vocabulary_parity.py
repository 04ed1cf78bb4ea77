"""Both programs give every token the same rows, wherever its id is."""

import json

import pytest
from vocabulary_models import by_token, config_of, embedding

pytestmark = pytest.mark.parity

TENSORS = ("model.embed_tokens.weight", "lm_head.weight")
WEIGHTS = {"base": 1, "x": 64, "y": 4096}
"""Rows name the model and the row that they are from; so do their sums, which float32 holds."""


def recipe(tokenizer, *, base="vocabularies/base", **keys):
    content = {
        "merge_method": "linear",
        "models": [
            {"model": f"vocabularies/{name}", "parameters": {"weight": weight}}
            for name, weight in WEIGHTS.items()
        ],
        "parameters": {"normalize": False},
        "dtype": "float32",
    }
    content |= {"tokenizer": tokenizer} if tokenizer else {}
    content |= {"base_model": base} if base else {}
    return json.dumps(content | keys)


def token(name, *, force=False, **source):
    """A section with one token; its source is a model, or what the keys say."""
    given = source.get("of") or source
    return {"source": "union", "tokens": {name: {"source": given, "force": force}}}


MODEL_TOKEN = {"kind": "model_token", "model": "vocabularies/y"}
RECIPES = {
    "union": recipe({"source": "union"}),
    "union by its older name": recipe(None, tokenizer_source="union"),
    "union without a base": recipe({"source": "union"}, base=None),
    "base": recipe({"source": "base"}),
    "a model": recipe({"source": "vocabularies/x"}),
    "a model that is not merged": recipe({"source": "vocabularies/z"}),
    "padding": recipe({"source": "union", "pad_to_multiple_of": 16}),
    "a token of a model": recipe(token("c", of="vocabularies/x", force=True)),
    "a token that all have": recipe(token("c", of="vocabularies/x")),
    "a zero token": recipe(token("e", kind="zero")),
    "another token": recipe(token("d", **MODEL_TOKEN, token="e")),
    "a row by number": recipe(token("ac", **MODEL_TOKEN, token_id=3)),
    "a new token": recipe(token("<new>", **MODEL_TOKEN, token="a")),
}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.recipe(text)) for name, text in RECIPES.items()]
)
def test_same_rows(name, merge):
    assert merge.failure_of_mergekit is None
    merge.run()
    for tensor in TENSORS:
        assert by_token(merge.ours, tensor) == by_token(merge.theirs, tensor)
        ours, theirs = embedding(merge.ours, tensor), embedding(merge.theirs, tensor)
        assert len(ours) == len(theirs)
        tokens = len(by_token(merge.ours))
        assert ours[tokens:].tolist() == pytest.approx(theirs[tokens:].tolist())  # padding
    assert config_of(merge.ours)["vocab_size"] == config_of(merge.theirs)["vocab_size"]
    assert name == "padding" or tokens == len(ours)


@pytest.mark.recipe(recipe(token("<x>", of="vocabularies/z")))
def test_rows_of_models_that_are_not_merged(merge):
    """mergekit refuses what its documentation allows."""
    assert "requires a vocabulary weight" in merge.failure_of_mergekit
    merge.run()
    assert by_token(merge.ours)["<x>"] == (1 + 4096) * 4003 + 64 * 2009


@pytest.mark.recipe(recipe({"source": "vocabularies/x"}))
def test_ids_of_special_tokens_follow_the_tokenizer(merge):
    """mergekit leaves them as they are in the base, where they mean other tokens."""
    merge.run()
    assert config_of(merge.ours)["eos_token_id"] == 2
    assert config_of(merge.theirs)["eos_token_id"] == 1
