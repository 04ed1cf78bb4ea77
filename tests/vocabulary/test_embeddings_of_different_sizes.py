"""Vocabularies of different sizes where the recipe has no tokenizer section."""

import json

import pytest
import torch
from vocabulary_models import bpe, config_of, embedding, merge, write_model

from graphmerge.errors import InputError
from graphmerge.pipeline import compile_recipe
from graphmerge.testing.stored_models import write_model as write_tensors


def write(folder, *, other="abc", rows=None):
    write_model(folder / "base", 1, bpe("abc", []))
    write_model(folder / "x", 2, bpe(other, []), ["<x>", "<y>"], rows=rows)


def recipe(folder, **keys):
    models = [{"model": str(folder / name), "parameters": {"weight": 1}} for name in ("base", "x")]
    content = {"merge_method": "linear", "models": models, "parameters": {"normalize": False}}
    (folder / "recipe.yml").write_text(json.dumps({**content, **keys}))
    return (folder / "recipe.yml").read_text()


def test_common_rows_that_are_proven_are_kept(tmp_path):
    write(tmp_path)
    out, notes = merge(tmp_path, recipe(tmp_path))
    assert embedding(out).tolist() == [3000 + 2 * row for row in range(4)]
    assert config_of(out)["vocab_size"] == 4
    assert "embeddings: cropped to 4 rows, as the tokenizer files say" in notes[0]


def test_the_tokenizer_that_fits_is_taken(tmp_path):
    write(tmp_path)
    out, _ = merge(tmp_path, recipe(tmp_path, base_model=str(tmp_path / "x")))
    ours, theirs = (path / "tokenizer.json" for path in (out, tmp_path / "base"))
    assert ours.read_bytes() == theirs.read_bytes()


@pytest.mark.parametrize("keys", [{}, {"embeddings": "error"}])
def test_what_is_not_proven_is_refused(tmp_path, keys):
    write(tmp_path, other="acb")
    recipe(tmp_path, **keys)
    with pytest.raises(InputError, match="vocabularies differ in size") as error:
        compile_recipe(tmp_path / "recipe.yml")
    for way in ("tokenizer:", "embeddings: crop", "embeddings: extend"):
        assert way in str(error.value)


def test_crop(tmp_path):
    write(tmp_path, other="acb")
    out, _ = merge(tmp_path, recipe(tmp_path, embeddings="crop"))
    assert embedding(out).tolist() == [3000 + 2 * row for row in range(4)]


def test_extend(tmp_path):
    write(tmp_path, other="acb", rows=7)
    out, _ = merge(tmp_path, recipe(tmp_path, embeddings="extend"))
    line = [1000, 1001, 1002, 1003, *(1003 * (1 - t) + 1000 * t for t in (0.25, 0.5, 0.75))]
    assert embedding(out).tolist() == [row + 2000 + i for i, row in enumerate(line)]
    assert config_of(out)["vocab_size"] == 7


def test_wrong_values_are_named(tmp_path):
    write(tmp_path)
    recipe(tmp_path, embeddings="cropp")
    with pytest.raises(InputError, match="did you mean 'crop'"):
        compile_recipe(tmp_path / "recipe.yml")
    recipe(tmp_path, embeddings="crop", tokenizer={"source": "union"}, base_model="base")
    with pytest.raises(InputError, match="no effect beside a tokenizer section"):
        compile_recipe(tmp_path / "recipe.yml")


def test_padding_of_an_embedding_is_cropped_to_the_rows_of_its_head(tmp_path):
    """No tensor is extended where rows are only to be left out."""
    for name, rows, heads in (("base", 8, 6), ("x", 9, 7)):
        tensors = {
            "model.embed_tokens.weight": torch.arange(rows)[:, None] + torch.zeros(4),
            "model.layers.0.norm.weight": torch.ones(4),
            "lm_head.weight": torch.arange(heads)[:, None] + torch.zeros(4),
        }
        config = {"model_type": "llama", "vocab_size": heads, "num_hidden_layers": 1}
        write_tensors(tmp_path / name, tensors, config=config)
    out, _ = merge(tmp_path, recipe(tmp_path, embeddings="crop"))
    assert (
        embedding(out).tolist() == embedding(out, "lm_head.weight").tolist() == [0, 2, 4, 6, 8, 10]
    )
    assert config_of(out)["vocab_size"] == 6
