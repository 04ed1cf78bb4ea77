"""What stands beside the weights of a donor is in the output, byte by byte."""

import json

import pytest

from graphmerge.pipeline import RunOptions
from graphmerge.testing.checkpoints import write_base, write_fine_tune
from graphmerge.testing.llama_shapes import TINY
from graphmerge.testing.merging import merge

TOKENIZER = {
    "tokenizer.json", "tokenizer_config.json", "tokenizer.model", "special_tokens_map.json",
    "added_tokens.json", "vocab.json", "merges.txt",
}  # fmt: skip
TEMPLATES = {"chat_template.jinja", "chat_template.json", "additional_chat_templates/tools.jinja"}
PROCESSOR = {"preprocessor_config.json", "processor_config.json", "video_preprocessor_config.json"}
GENERATION = {"generation_config.json"}
CODE = {"configuration_odd.py", "modeling_odd.py"}
KINDS = {
    "tokenizer": TOKENIZER,
    "chat templates": TEMPLATES,
    "processor": PROCESSOR,
    "generation": GENERATION,
    "code": CODE,
}
OWN = {"config.json", "model.safetensors", "graphmerge.json", "graphmerge_recipe.yml", "README.md"}
RECIPE = {
    "merge_method": "linear",
    "base_model": "base",
    "models": [{"model": name, "parameters": {"weight": 1}} for name in ("base", "first")],
}


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A donor with a file of every kind, and files that are none of its model."""
    root = tmp_path_factory.mktemp("models")
    write_base(root / "base", TINY, seed=0)
    write_fine_tune(root / "first", root / "base", seed=1, scale=0.01)
    (root / "base" / "additional_chat_templates").mkdir()
    for name in set().union(*KINDS.values()):
        file = root / "base" / name
        if not file.exists():
            file.write_text("{}" if "token" in name else json.dumps({"of": name}))
    for name in ("trainer_state.json", "optimizer.pt", "README.md", "events.out"):
        (root / "base" / name).write_text("not of the model")
    return root


@pytest.fixture(scope="module")
def merged(models):
    return merge(RECIPE, models / "merged").out


@pytest.mark.parametrize("kind", KINDS)
def test_files_of_a_kind_are_copied(models, merged, kind):
    for name in KINDS[kind]:
        assert (merged / name).read_bytes() == (models / "base" / name).read_bytes(), name


def test_nothing_else_is_copied(merged):
    assert files(merged) == OWN.union(*KINDS.values())


def test_without_tokenizer_and_card_all_else_is_there(models):
    options = RunOptions(copy_tokenizer=False, write_model_card=False)
    out = merge(RECIPE, models / "bare", options=options).out
    assert files(out) == (OWN - {"README.md"}).union(PROCESSOR, GENERATION, CODE)


def files(folder):
    return {file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()}


def with_tokenizer_of(models, source):
    """The tokenizer files of the output, without copies of them."""
    recipe = RECIPE | {"tokenizer": {"source": source}}
    options = RunOptions(copy_tokenizer=False)
    out = merge(recipe, models / f"tokens-of-{source}", options=options).out
    return files(out) & (TOKENIZER | TEMPLATES)


def test_a_tokenizer_that_the_recipe_takes_over_is_a_copy_too(models):
    assert with_tokenizer_of(models, "first") == set()


def test_a_tokenizer_that_the_recipe_makes_is_written_in_any_case(models):
    settings = json.loads((models / "first" / "tokenizer.json").read_text())
    added = dict(settings["added_tokens"][-1]) | {"id": TINY.vocabulary, "content": "<|new|>"}
    settings["added_tokens"].append(added)
    (models / "first" / "tokenizer.json").write_text(json.dumps(settings))
    assert with_tokenizer_of(models, "union") >= {"tokenizer.json", "chat_template.jinja"}
