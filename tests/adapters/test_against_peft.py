"""A model with an adapter is what PEFT's merge_and_unload makes of both."""

import json

import pytest
import torch
from adapter_models import merged_by_peft, write_adapter, write_gpt2, write_llama
from safetensors.torch import load_file, save_file

from graphmerge.testing.merging import merge

ATTENTION = ["q_proj", "v_proj"]
CASES = {
    "plain": {"target_modules": ATTENTION},
    "all-linear": {"target_modules": "all-linear", "r": 1},
    "rslora": {"target_modules": ATTENTION, "use_rslora": True},
    "patterns": {
        "target_modules": [*ATTENTION, "down_proj"],
        "rank_pattern": {"v_proj": 2, r"layers\.1\.mlp\.down_proj": 7},
        "alpha_pattern": {"q_proj": 3, "model.layers.1.mlp.down_proj": 0.5},
    },
    "rslora-patterns": {
        "target_modules": ATTENTION,
        "use_rslora": True,
        "rank_pattern": {"v_proj": 9},
    },
    "whole-modules": {"target_modules": ATTENTION, "modules_to_save": ["lm_head", "norm"]},
    "embeddings": {"target_modules": [*ATTENTION, "embed_tokens"]},
    "bias-all": {"target_modules": [*ATTENTION, "o_proj"], "bias": "all"},
    "bias-of-lora": {"target_modules": ATTENTION, "bias": "lora_only"},
    "lora-of-bias": {"target_modules": ATTENTION, "lora_bias": True},
}


def written(adapter, tmp_path):
    recipe = {"merge_method": "passthrough", "models": [{"model": f"base+{adapter}"}]}
    return merge(recipe, tmp_path / "out").tensors()


def require_equal(got, wanted, tolerance=1e-6):
    assert got.keys() == wanted.keys()
    for name, tensor in wanted.items():
        assert got[name].dtype == tensor.dtype, name
        torch.testing.assert_close(got[name], tensor, rtol=tolerance, atol=tolerance, msg=name)


@pytest.mark.parametrize("case", CASES)
def test_merged_as_by_peft(tmp_path, case):
    base = write_llama(tmp_path / "base", attention_bias="bias" in case)
    adapter = write_adapter(tmp_path / "adapter", base, **CASES[case])
    wanted = merged_by_peft(base, adapter)
    before = merge(
        {"merge_method": "passthrough", "models": [{"model": "base"}]}, tmp_path / "same"
    ).tensors()
    assert sum(not torch.equal(before[name], wanted[name]) for name in before) >= 4
    require_equal(written("adapter", tmp_path), wanted)


@pytest.mark.parametrize("targets", [["c_attn", "c_proj", "c_fc"], ["c_proj"]])
def test_weights_stored_the_other_way_round(tmp_path, targets):
    base = write_gpt2(tmp_path / "base")
    adapter = write_adapter(tmp_path / "adapter", base, target_modules=targets, fan_in_fan_out=True)
    wanted = merged_by_peft(base, adapter)
    got = written("adapter", tmp_path)
    require_equal(got, {name: wanted[name] for name in got})


@pytest.mark.parametrize("is_stated", [False, True])
def test_both_ways_round_in_one_model(tmp_path, is_stated):
    """The config says of the last module only how it is stored; all of these are square."""
    base = write_gpt2(tmp_path / "base", vocab_size=32, tie_word_embeddings=False)
    adapter = write_adapter(tmp_path / "adapter", base, target_modules=["attn.c_proj", "lm_head"])
    path = adapter / "adapter_config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps(config | {"fan_in_fan_out": is_stated}))
    wanted = merged_by_peft(base, adapter)
    got = written("adapter", tmp_path)
    require_equal(got, {name: wanted[name] for name in got})


@pytest.mark.parametrize("saved", ["self_attn", "o_proj"])
def test_biases_of_modules_that_are_stored_whole(tmp_path, saved):
    """PEFT stores them three times: the base's own, the new ones, and those under the plain name.

    The plain name counts, also where the others are not the same.
    """
    base = write_llama(tmp_path / "base", attention_bias=True)
    settings = {"target_modules": ["down_proj"], "modules_to_save": [saved], "bias": "all"}
    adapter = write_adapter(tmp_path / "adapter", base, **settings)
    path = adapter / "adapter_model.safetensors"
    tensors = load_file(path)
    wrapped = [n for n in tensors if ".original_module." in n or ".modules_to_save." in n]
    assert len(wrapped) >= 4
    save_file(tensors | {name: torch.ones_like(tensors[name]) for name in wrapped}, path)
    require_equal(written("adapter", tmp_path), merged_by_peft(base, adapter))


@pytest.mark.parametrize("saved", ["embed_tokens", "lm_head"])
def test_a_saved_head_stays_tied_where_peft_ensures_it(tmp_path, saved):
    """Both are stored, and loaded into one parameter: if they are not the same, the head's wins."""
    base = write_llama(tmp_path / "base", tie_word_embeddings=True)
    settings = {"target_modules": ATTENTION, "modules_to_save": [saved]}
    adapter = write_adapter(tmp_path / "adapter", base, **settings, ensure_weight_tying=True)
    path = adapter / "adapter_model.safetensors"
    head = {"base_model.model.lm_head.weight": torch.randn(96, 32)}
    save_file(load_file(path) | head, path)
    wanted = merged_by_peft(base, adapter)
    assert torch.equal(wanted.pop("lm_head.weight"), wanted["model.embed_tokens.weight"])
    require_equal(written("adapter", tmp_path), wanted)
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["tie_word_embeddings"] is True


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_rounded_once(tmp_path, dtype):
    base = write_llama(tmp_path / "base", dtype=dtype)
    adapter = write_adapter(
        tmp_path / "adapter", base, target_modules="all-linear", modules_to_save=["norm"]
    )
    require_equal(written("adapter", tmp_path), merged_by_peft(base, adapter), 8e-3)
