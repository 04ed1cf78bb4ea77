"""README.md of merges, from recipe to file."""

import json
import shutil

import pytest
import yaml

from graphmerge.describing import card_of
from graphmerge.pipeline import compile_recipe
from graphmerge.testing.adapters import write_adapter
from graphmerge.testing.checkpoints import write_base, write_fine_tune
from graphmerge.testing.llama_shapes import TINY
from graphmerge.testing.merging import merge

SLERP = {
    "merge_method": "slerp",
    "base_model": "base",
    "models": [{"model": "first"}],
    "parameters": {"t": [{"filter": "self_attn", "value": [0, 0.8]}, {"value": 0.5}]},
}
GRAPH = {
    "graph": {
        "tied": {
            "merge_method": "ties",
            "base_model": "base",
            "models": [
                {"model": "first", "parameters": {"weight": [0.25, 0.75], "density": 0.5}},
                {"model": "base+adapter", "parameters": {"weight": 0.25, "density": 1}},
            ],
        },
        "stacked": {
            "merge_method": "passthrough",
            "slices": [
                {"sources": [{"model": "tied", "layer_range": [0, 3]}]},
                {"sources": [{"model": "first", "layer_range": [3, 4]}]},
            ],
        },
    },
    "output": "stacked",
}


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    write_base(root / "base", TINY, seed=0)
    write_fine_tune(root / "first", root / "base", seed=1, scale=0.01)
    write_adapter(root / "adapter", root / "base", rank=2, seed=2)
    return root


def text_of(root, recipe, name):
    merge(recipe, root / name)
    return (root / name / "README.md").read_text()


def front_matter(text):
    return yaml.safe_load(text.split("---\n")[1])


def test_an_interpolation_says_where_between_its_models_it_is(models):
    text = text_of(models, SLERP, "slerp")
    assert "- t 0 to 0.8 (`self_attn`)\n- t 0.5 (all others)\n" in text
    assert "| `base` | `self_attn` | 1 to 0.2 |\n| `base` | all others | 0.5 |\n" in text
    assert "| `first` | `self_attn` | 0 to 0.8 |\n| `first` | all others | 0.5 |\n" in text


def test_a_graph_is_described_step_by_step(models):
    text = text_of(models, GRAPH, "graph")
    tied, stacked = text.split("### tied\n")[1].split("### stacked\n")
    assert "The base is `base`.\n" in tied
    assert "| model | tensors | density | weight | share |\n" in tied
    assert "| `first` | all others | 0.5 | 0.25 to 0.75 | 0.5 to 0.75 |\n" in tied
    assert "| `base` with the adapter `adapter` | " in tied
    assert "| 0 to 2 | `tied`: 0 to 2 |\n| 3 | `first`: 3 |\n" in stacked


def test_cards_of_the_models_give_licence_and_library(models, tmp_path):
    for name in ("base", "first"):
        shutil.copytree(models / name, tmp_path / name)
    for name, library in (("base", "mlx"), ("first", "transformers")):
        said = f"---\nlicense: apache-2.0\nlibrary_name: {library}\n---\n# A model\n"
        (tmp_path / name / "README.md").write_text(said)
    text = text_of(tmp_path, SLERP, "out")
    assert front_matter(text) == {
        "library_name": "mlx",
        "tags": ["merge", "graphmerge"],
        "license": "apache-2.0",
    }
    assert "| `first` | apache-2.0 |\n" in text


def test_half_a_pair_of_surrogates_is_written_as_json_writes_it(models, tmp_path):
    for name in ("base", "first"):
        shutil.copytree(models / name, tmp_path / name)
    (tmp_path / "base" / "README.md").write_text('---\nlicense: "\\uD83D"\n---\n')
    config = json.loads((tmp_path / "base" / "config.json").read_text())
    (tmp_path / "base" / "config.json").write_text(json.dumps(config | {"is": "\ud83d"}))
    text_of(tmp_path, SLERP, "out")
    assert json.loads((tmp_path / "out" / "config.json").read_text())["is"] == "\ud83d"


@pytest.mark.parametrize("broken", ["", "---\n[\n---\n", "---\njust text\n---\n", "# no card"])
def test_a_broken_card_of_a_model_is_no_reason_to_fail(models, tmp_path, broken):
    for name in ("base", "first"):
        shutil.copytree(models / name, tmp_path / name)
    (tmp_path / "base" / "README.md").write_text(broken)
    text = text_of(tmp_path, SLERP, "out")
    assert "| `base` | not stated |\n" in text


def test_a_model_in_the_cache_of_the_hub_is_named_by_its_id(models, tmp_path):
    inside = "hub/models--org--Expert-7B/snapshots/0123abc"
    shutil.copytree(models / "first", tmp_path / inside)
    shutil.copytree(models / "base", tmp_path / "org" / "base")
    recipe = SLERP | {"base_model": "org/base", "models": [{"model": inside}]}
    text = text_of(tmp_path, recipe, "out")
    assert front_matter(text)["base_model"] == ["org/Expert-7B"]
    assert "- [org/Expert-7B](https://huggingface.co/org/Expert-7B)\n" in text
    assert "- `base`\n" in text  # a folder here, though its path looks like an id


def test_the_same_merge_gives_the_same_card(models):
    first, second = (text_of(models, GRAPH, name) for name in ("once", "twice"))
    assert first.replace("once", "twice") == second


def test_the_code_of_the_card_loads_the_model(models, monkeypatch):
    pytest.importorskip("transformers")
    text = text_of(models, SLERP, "loaded")
    code = text.split("```python\n")[1].split("```\n")[0]
    monkeypatch.chdir(models)
    names = {}
    exec(code, names)
    assert type(names["model"]).__name__ == "LlamaForCausalLM"
    assert names["tokenizer"]("text").input_ids


def test_documents_are_described_each_with_what_is_its_own(models):
    """The last document has no name: its tensors are listed without one."""
    first = {"name": "half", "merge_method": "linear"} | {
        "models": [{"model": name, "parameters": {"weight": 0.5}} for name in ("base", "first")]
    }
    last = {"merge_method": "task_arithmetic", "base_model": "base"} | {
        "models": [{"model": "half", "parameters": {"weight": 0.75}}]
    }
    path = models / "documents.yml"
    path.write_text(yaml.safe_dump_all([first, last], sort_keys=False))
    compiled = compile_recipe(path)
    half, whole = card_of(compiled, models, "documents").steps
    assert [(row.model, row.values["weight"]) for row in half.contributions if row.model] == [
        ("base", "0.5"),
        ("first", "0.5"),
    ]
    assert [(row.model, row.values["weight"]) for row in whole.contributions if row.model] == [
        ("half", "0.75")
    ]
