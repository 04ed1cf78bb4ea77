"""recipes/published/ over checkpoints that have the true shapes of their models, and no weights."""

from pathlib import Path

import pytest

from graphmerge.describing import card_of
from graphmerge.output import model_card
from graphmerge.pipeline import compile_recipe, make_plan
from graphmerge.recipe import load_recipe_graph
from graphmerge.schedule.plan import Request
from graphmerge.testing.checkpoints import write_header_only
from graphmerge.testing.llama_shapes import LlamaShape
from graphmerge.units import GIB

RECIPES = sorted((Path(__file__).parents[2] / "recipes" / "published").glob("*.yml"))
MISTRAL_7B = LlamaShape(32, 4096, 14336, vocabulary=32000, heads=32, kv_heads=8)
HERMES_7B = LlamaShape(32, 4096, 14336, vocabulary=32002, heads=32, kv_heads=8)
LLAMA_2_13B = LlamaShape(40, 5120, 13824, vocabulary=32000, heads=40, kv_heads=40)
LLAMA_3_8B = LlamaShape(32, 4096, 14336, vocabulary=128256, heads=32, kv_heads=8)
DEEPSEEK_CODER_7B = LlamaShape(32, 4096, 11008, vocabulary=32256, heads=32, kv_heads=32)
SHAPES = {
    "mlabonne/NeuralHermes-2.5-Mistral-7B": HERMES_7B,
    "TheBloke/Llama-2-13B-fp16": LLAMA_2_13B,
    "KoboldAI/LLaMA2-13B-Tiefighter": LLAMA_2_13B,
    "chaoyi-wu/MedLLaMA_13B": LLAMA_2_13B,
    "Doctor-Shotgun/llama-2-13b-chat-limarp-v2-merged": LLAMA_2_13B,
    "meta-llama/Llama-3.1-8B": LLAMA_3_8B,
    "Alelcv27/Llama3.1-8B-Base-Code": LLAMA_3_8B,
    "Alelcv27/Llama3.1-8B-Base-Math": LLAMA_3_8B,
    "deepseek-ai/deepseek-coder-6.7b-base": DEEPSEEK_CODER_7B,
    "deepseek-ai/deepseek-coder-6.7b-instruct": DEEPSEEK_CODER_7B,
    "ise-uiuc/Magicoder-S-DS-6.7B": DEEPSEEK_CODER_7B,
    "m-a-p/OpenCodeInterpreter-DS-6.7B": DEEPSEEK_CODER_7B,
}
"""Models that are no Mistral-7B."""
LAYERS = {"mistral-passthrough-9b": 40, "solar-depth-up-scaling": 48, "llama2-task-arithmetic": 40}
"""Layers of the outputs that do not have 32."""
PARAMETERS = {
    "deepseek-coder-ties": 6.74e9,
    "llama2-task-arithmetic": 13.0e9,
    "llama3-della": 8.03e9,
    "mistral-passthrough-9b": 8.99e9,
    "solar-depth-up-scaling": 10.73e9,
}
"""Parameters of the outputs that do not have 7.24 billion, as their model cards or papers say."""


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A working directory with every model that the recipes name."""
    folder = tmp_path_factory.mktemp("hub")
    for path in RECIPES:
        for reference in load_recipe_graph(path).stored():
            if not (folder / reference.path).exists():
                write_header_only(folder / reference.path, SHAPES.get(reference.path, MISTRAL_7B))
    return folder


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_published_merge_is_planned(path, models, monkeypatch, tmp_path):
    monkeypatch.chdir(models)
    compiled = compile_recipe(path)
    plan = make_plan(compiled, Request(budget_bytes=2 * GIB, workers=2), calibrate=False)
    plan.validate()
    layers = LAYERS.get(path.stem, 32)
    assert compiled.build.model.config["num_hidden_layers"] == layers
    assert len(plan.graph.outputs) == 9 * layers + 3
    parameters = sum(output.spec.numel for output in plan.graph.outputs)
    assert parameters == pytest.approx(PARAMETERS.get(path.stem, 7.24e9), rel=0.002)
    card = model_card(card_of(compiled, tmp_path, path.stem))
    assert all(f"`{reference.path.split('/')[-1]}`" in card for reference in compiled.models)


def test_a_vocabulary_with_two_more_tokens_is_cropped_and_told(models, monkeypatch):
    monkeypatch.chdir(models)
    (path,) = [path for path in RECIPES if path.stem == "mistral-ties"]
    compiled = compile_recipe(path)
    shapes = {output.name: output.spec.shape for output in compiled.build.graph.outputs}
    assert shapes["model.embed_tokens.weight"] == shapes["lm_head.weight"] == (32000, 4096)
    assert any("cropped to 32,000 rows" in note for note in compiled.build.graph.notes)


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_published_merge_says_what_it_is(path):
    text = path.read_text()
    assert text.startswith("# ")
    assert max(map(len, text.splitlines())) <= 120


def test_the_card_of_a_stack_says_where_its_layers_are_from(models, monkeypatch, tmp_path):
    monkeypatch.chdir(models)
    (path,) = [path for path in RECIPES if path.stem == "mistral-passthrough-9b"]
    card = model_card(card_of(compile_recipe(path), tmp_path, "stack"))
    assert "| 0 to 31 | `mistral-ft-optimized-1218`: 0 to 31 |\n" in card
    assert "| 32 to 39 | `NeuralHermes-2.5-Mistral-7B`: 24 to 31 |\n" in card


def test_models_of_another_shape_are_named_as_the_recipes_name_them():
    named = {str(model) for path in RECIPES for model in load_recipe_graph(path).stored()}
    assert SHAPES.keys() <= named
