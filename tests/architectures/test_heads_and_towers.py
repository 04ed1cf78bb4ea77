"""Heads that some models have of their own, and layers of vision towers."""

import json

import pytest
import torch
from file_merges import RECIPES, linear, recipe_of
from tiny_models import load, save_pair, tiny_model

from graphmerge.testing.merging import merge
from graphmerge.testing.stored_models import read_model

HEAD, EMBEDDING = "lm_head.weight", "model.embed_tokens.weight"


@pytest.mark.parametrize(("base", "tuned"), [(True, False), (False, True), (True, True)])
def test_a_head_of_its_own_is_merged_with_the_embedding_of_tied_models(base, tuned, tmp_path):
    for seed, (name, tied) in enumerate((("base", base), ("tuned", tuned))):
        model = tiny_model("LlamaForCausalLM", seed, tie_word_embeddings=tied)
        model.save_pretrained(tmp_path / name)
    kind = type(model)
    states = [load(kind, tmp_path / name)[0].state_dict() for name in ("base", "tuned")]
    merged = merge(recipe_of(linear), tmp_path / "out")
    assert not merged.plan.graph.omissions
    model, odd = load(kind, tmp_path / "out")
    assert not odd
    assert model.config.tie_word_embeddings is (base and tuned)
    for name, tensor in model.state_dict().items():
        torch.testing.assert_close(tensor, 0.75 * states[0][name] + 0.25 * states[1][name])


@pytest.mark.parametrize("names", [("tied", "own"), ("own", "tied")])
def test_a_stack_of_tied_and_untied_models_has_the_head_of_its_last_slice(names, tmp_path):
    heads = {}
    for seed, name in enumerate(("tied", "own")):
        model = tiny_model("LlamaForCausalLM", seed, tie_word_embeddings=name == "tied")
        model.save_pretrained(tmp_path / name)
        heads[name] = model.lm_head.weight.detach().clone()
    slices = [{"sources": [{"model": name, "layer_range": [0, 2]}]} for name in names]
    merge({"merge_method": "passthrough", "slices": slices}, tmp_path / "out")
    stack, odd = load(type(model), tmp_path / "out")
    assert not odd
    assert torch.equal(stack.lm_head.weight, heads[names[1]])
    assert not stack.config.tie_word_embeddings


TOWERS = {
    "LlavaForConditionalGeneration": ("vision_tower", "num_hidden_layers", "vision_tower"),
    "Qwen2VLForConditionalGeneration": ("visual", "depth", "visual.blocks"),
}


@pytest.mark.parametrize("class_name", TOWERS)
def test_layers_of_a_tower_count_where_modules_name_it(class_name, tmp_path):
    """A gradient from nothing to all of the tuned model, and then a stack of tower layers."""
    module, key, blocks = TOWERS[class_name]
    layers = {"vision_config": {key: 3}, "text_config": {"num_hidden_layers": 2}}
    save_pair(class_name, tmp_path, **layers)
    first, second = (read_model(tmp_path / name) for name in ("base", "tuned"))
    recipe = {
        "merge_method": "slerp",
        "base_model": "base",
        "modules": {module: {"models": RECIPES[linear]["models"][1:]}},
        "parameters": {"t": [0, 1]},
    }
    found = merge(recipe, tmp_path / "out").tensors()
    assert found.keys() == first.keys()
    for name, tensor in found.items():
        if module not in name or ".0." in name:
            assert torch.equal(tensor, first[name]), name
        elif ".2." in name and blocks in name:
            torch.testing.assert_close(tensor, second[name])
    whole = {"merge_method": "slerp", **RECIPES[linear], "base_model": "base"}
    whole = whole | {"models": RECIPES[linear]["models"][1:], "parameters": {"t": [0, 1]}}
    found = merge(whole, tmp_path / "whole").tensors()
    assert all(torch.equal(x, first[n]) for n, x in found.items() if module in n)
    assert not all(torch.equal(x, first[n]) for n, x in found.items())


@pytest.mark.parametrize("class_name", TOWERS)
def test_layers_of_a_tower_are_stacked(class_name, tmp_path):
    module, key, _ = TOWERS[class_name]
    layers = {"vision_config": {key: 3}, "text_config": {"num_hidden_layers": 2}}
    kind, _ = save_pair(class_name, tmp_path, **layers)
    spans = [
        {"sources": [{"model": name, "layer_range": span}]}
        for name, span in (("base", [0, 2]), ("tuned", [1, 3]))
    ]
    recipe = {"merge_method": "passthrough", "modules": {module: {"slices": spans}}}
    merge(recipe, tmp_path / "out")
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["vision_config"][key] == 4
    model, odd = load(kind, tmp_path / "out")
    assert not odd
    assert model.config.get_text_config().num_hidden_layers == 2
