"""What published recipes have and mergekit ignores: accepted, with a word about it."""

import json

import torch

from graphmerge.testing.merging import merge
from graphmerge.testing.stored_models import write_model


def write_pair(folder, second_dtype=torch.bfloat16):
    config = {"torch_dtype": "bfloat16", "num_hidden_layers": 1}
    tensors = {"model.layers.0.a.weight": torch.ones(4)}
    write_model(
        folder / "a",
        {name: x.to(torch.bfloat16) for name, x in tensors.items()},
        config=config,
    )
    write_model(folder / "b", {n: x.to(second_dtype) for n, x in tensors.items()}, config=config)


def recipe(**source):
    models = [{"model": name, "parameters": {"weight": 1}, **source} for name in "ab"]
    return {"merge_method": "linear", "models": models}


def test_a_layer_range_of_a_whole_model_has_no_effect_and_is_told_of(tmp_path):
    write_pair(tmp_path)
    merged = merge(recipe(layer_range=[0, 0]), tmp_path / "out")
    assert set(merged.tensors()) == {"model.layers.0.a.weight"}
    assert sum("layer_range has no effect" in text for text in merged.report.warnings) == 2


def test_config_names_the_dtype_that_mixed_inputs_are_promoted_to(tmp_path):
    write_pair(tmp_path, torch.float16)
    merged = merge(recipe(), tmp_path / "out")
    assert merged.tensors()["model.layers.0.a.weight"].dtype is torch.float32
    assert json.loads((merged.out / "config.json").read_text())["torch_dtype"] == "float32"


def test_config_keeps_its_dtype_where_the_tensors_keep_theirs(tmp_path):
    write_pair(tmp_path)
    merged = merge(recipe(), tmp_path / "out")
    assert json.loads((merged.out / "config.json").read_text())["torch_dtype"] == "bfloat16"
