"""Vocabularies in Python expressions, and of results that are inputs of other merges."""

import json

import pytest
from safetensors.torch import load_file
from tokenizers import Tokenizer
from vocabulary_models import EMBEDDING, bpe, by_token, embedding, merge, write_named

import graphmerge as gm
from graphmerge.vocabulary.chat_templates import BUILT_IN

ROLES = {EMBEDDING: (1, 2), "lm_head.weight": (-1, 2)}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    for number, (name, letters) in enumerate({"base": "ab", "x": "abc", "y": "bac"}.items(), 1):
        config = {"model_type": "llama", "vocab_size": len(letters) + 2}
        write_named(tmp_path / name, number, bpe(letters, []), ROLES, config, [f"<{name}>"])
    monkeypatch.chdir(tmp_path)
    return tmp_path


def union(**keys):
    return gm.merge("linear", ["base", "y"], base="base", weight=[1, 1], tokenizer="union", **keys)


def recipe(**keys):
    models = [{"model": name, "parameters": {"weight": 1}} for name in ("base", "y")]
    return json.dumps({"merge_method": "linear", "models": models, "base_model": "base", **keys})


def test_a_union_is_that_of_the_recipe(folder):
    value = union()
    assert value.spec(EMBEDDING).shape == (6, 8)
    value.save("saved")
    out, _ = merge(folder, recipe(tokenizer={"source": "union"}))
    for file in ("model.safetensors", "tokenizer.json", "config.json"):
        assert (folder / "saved" / file).read_bytes() == (out / file).read_bytes(), file
    assert value.tensor(EMBEDDING)[:, 0].tolist() == embedding(out).tolist()


SECTION = {
    "source": "x",
    "pad_to_multiple_of": 4,
    "tokens": {"c": {"source": {"kind": "model_token", "model": "base", "token": "a"}}},
}


def test_sections_hold_models_that_are_loaded_or_named(folder):
    del folder
    source = {"kind": "model_token", "model": gm.load("base"), "token": "a"}
    section = SECTION | {"source": gm.load("x"), "tokens": {"c": {"source": source}}}
    loaded, named = (
        gm.merge("linear", ["base", "y"], weight=[1, 1], tokenizer=one)
        for one in (section, SECTION)
    )
    assert gm.to_recipe(loaded) == gm.to_recipe(named)
    again = gm.from_recipe(gm.to_recipe(loaded))
    assert gm.to_recipe(again) == gm.to_recipe(loaded)
    for value in (loaded, again):
        assert value.tensor(EMBEDDING)[:5, 0].tolist() == [2000, 2001.5, 2001.5, 2002, 0]


def test_a_checkpoint_is_a_source_by_itself(folder):
    value = gm.merge("linear", ["base", "y"], weight=[1, 1], tokenizer=gm.load("x"))
    value.save("out")
    ours, theirs = (Tokenizer.from_file(f"{name}/tokenizer.json") for name in ("out", "x"))
    assert ours.get_vocab() == theirs.get_vocab()
    assert len(embedding(folder / "out")) == 5


def test_embeddings_are_cropped_and_extended(folder):
    del folder
    for policy, rows in {"crop": 4, "extend": 5}.items():
        value = gm.merge("linear", ["base", "y"], weight=[1, 1], embeddings=policy)
        assert value.spec(EMBEDDING).shape == (rows, 8)
    with pytest.raises(gm.CheckpointError, match="vocabularies differ in size"):
        gm.merge("linear", ["base", "y"], weight=[1, 1])


def test_templates_are_those_of_the_merge_or_of_save(folder):
    union(chat_template="alpaca").save("a")
    union(chat_template="alpaca").cast("float16").save("b")
    value = union(chat_template="alpaca")
    value.save("c", plan=value.plan(), chat_template="{{ messages }}")
    wanted = {"a": BUILT_IN["alpaca"], "b": BUILT_IN["alpaca"], "c": "{{ messages }}"}
    for name, template in wanted.items():
        assert (folder / name / "chat_template.jinja").read_text() == template
    assert gm.from_recipe((folder / "c" / "graphmerge_recipe.yml").read_text())
    assert "chat_template: '{{ messages }}'" in (folder / "c" / "graphmerge_recipe.yml").read_text()


def test_a_template_without_its_tokens_is_warned_of(folder):
    with pytest.warns(UserWarning, match="chat template writes <|im_start|>"):
        union().save("out", chat_template="chatml")
    assert (folder / "out" / "chat_template.jinja").read_text() == BUILT_IN["chatml"]


def test_templates_of_operations_are_stored_in_their_recipe(folder):
    x, y = gm.load("x"), gm.load("y")
    (x + 0.5 * (y - x)).save("out", chat_template="mistral")
    text = (folder / "out" / "graphmerge_recipe.yml").read_text()
    out, _ = merge(folder, text)
    for name in ("out", out):
        assert (folder / name / "chat_template.jinja").read_text() == BUILT_IN["mistral"]


MISTAKES = {
    "tokenizer.sorce": ({"tokenizer": {"sorce": "x"}}, "did you mean 'source'"),
    "embeddings": ({"embeddings": "cropp"}, "did you mean 'crop'"),
    "beside": ({"tokenizer": "union", "embeddings": "crop"}, "no effect beside a tokenizer"),
    "chat_template": ({"chat_template": "chatlm"}, "did you mean 'chatml'"),
    "a filter": ({"chat_template": "{{ messages | nosuch }}"}, "No filter named 'nosuch'"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_mistakes_are_told_where_they_are_made(case, folder):
    del folder
    given, message = MISTAKES[case]
    with pytest.raises(gm.RecipeError, match=message):
        gm.merge("linear", ["base", "x"], weight=[1, 1], **given)


def test_what_has_no_files_gives_no_tokenizer(folder):
    del folder
    with pytest.raises(gm.GraphError, match="a result has no tokenizer files"):
        gm.merge("linear", ["base", "x"], weight=[1, 1], tokenizer=union())


def test_results_keep_their_tokenizer(folder):
    """Not that of the checkpoint that the result has its config from."""
    union().cast("float32").save("out")
    assert by_token(folder / "out")["<y>"] == 2 * 3004 / 2
    x = gm.merge("linear", ["base", "y"], weight=[1, 1], tokenizer="x")
    both = gm.merge("linear", [x, "x"], weight=[1, 1])  # as many rows, of the same tokens
    both.save("both")
    assert Tokenizer.from_file("both/tokenizer.json").get_vocab()["<x>"] == 4
    cropped = gm.merge("linear", ["base", union()], weight=[1, 1], embeddings="extend")
    assert cropped.spec(EMBEDDING).shape == (6, 8)


def test_rows_of_results_are_neither_cropped_nor_combined(folder):
    del folder
    result = union()
    with pytest.raises(gm.CheckpointError, match="rows of a result cannot be cropped"):
        gm.merge("linear", ["base", result], weight=[1, 1])
    with pytest.raises(gm.CheckpointError, match="vocabularies of results cannot be combined"):
        gm.merge("linear", ["base", result], weight=[1, 1], tokenizer="union")


GRAPH = """
graph:
  both: {merge_method: linear, models: [{model: base}, {model: y}], tokenizer: {source: union},
    parameters: {weight: 1}}
  saved: {op: cast, inputs: [both], out_dtype: float16}
output: saved
chat_template: alpaca
"""


def test_graphs_have_the_tokenizer_of_their_entries(folder):
    out, notes = merge(folder, GRAPH)
    assert load_file(out / "model.safetensors")[EMBEDDING].shape == (6, 8)
    assert len(Tokenizer.from_file(str(out / "tokenizer.json")).get_vocab()) == 6
    assert (out / "chat_template.jinja").read_text() == BUILT_IN["alpaca"]
    assert any("entry both: vocabulary: 6 rows" in note for note in notes)
