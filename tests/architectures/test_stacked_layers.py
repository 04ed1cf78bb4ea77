"""Layers of decoder families are stacked: transformers loads the stack, and it runs."""

import json
import re

import pytest
import torch
from file_merges import linear, merged_in_memory, recipe_of
from tiny_models import load, save_pair, tiny_model

from graphmerge.errors import CheckpointError
from graphmerge.testing.merging import merge
from graphmerge.testing.stored_models import read_model

LAYERS = 4
SOURCES = (0, 1, 2, 1, 2, 3)
"""The layer that each layer of the stack is copied from: 0-2 of one model, 1-3 of the other."""
SMALL_ROPE = {"rope_parameters": {"rope_type": "default", "mrope_section": [1, 1, 2]}}
TEXT = {"text_config": {"num_hidden_layers": LAYERS}}
FAMILIES = {
    name: {key: LAYERS}
    for key, names in {
        "num_hidden_layers": """LlamaForCausalLM MistralForCausalLM MixtralForCausalLM
            Qwen2ForCausalLM Qwen3ForCausalLM Qwen3MoeForCausalLM Qwen3NextForCausalLM
            Gemma2ForCausalLM Gemma3ForCausalLM Cohere2ForCausalLM PhiForCausalLM
            StableLmForCausalLM FalconForCausalLM GPTNeoXForCausalLM Olmo2ForCausalLM
            GraniteForCausalLM GptOssForCausalLM SmolLM3ForCausalLM DeepseekV3ForCausalLM
            Glm4MoeForCausalLM Exaone4ForCausalLM OPTForCausalLM MambaForCausalLM
            BertForMaskedLM""",
        "n_layer": "GPT2LMHeadModel BloomForCausalLM",
    }.items()
    for name in names.split()
} | {
    "Qwen2VLForConditionalGeneration": {"text_config": TEXT["text_config"] | SMALL_ROPE},
    "LlavaForConditionalGeneration": TEXT,
    "Gemma3ForConditionalGeneration": TEXT,
}
MIXED = {
    "Qwen2ForCausalLM": {"use_sliding_window": True, "max_window_layers": 1},
    "Qwen3MoeForCausalLM": {"mlp_only_layers": [1]},
    "DeepseekV3ForCausalLM": {"num_key_value_heads": 4},
}
"""What makes layers differ, where the default config has them alike; and what small sizes need."""
TOKENS = torch.tensor([[1, 17, 5, 63, 40, 42, 9, 9, 13, 2]])


def stack(folder, spans=((0, 3), (1, 4))):
    slices = [
        {"sources": [{"model": model, "layer_range": list(span)}]}
        for model, span in zip(("base", "tuned"), spans, strict=True)
    ]
    merge({"merge_method": "passthrough", "slices": slices}, folder / "out")
    return folder / "out"


def source_name(name):
    """The name of a tensor in the model that it is copied from, if it is in the layers."""
    if "vision" in name or "visual" in name:
        return name
    return re.sub(r"\.(\d+)\.", lambda found: f".{SOURCES[int(found[1])]}.", name, count=1)


@pytest.mark.parametrize("class_name", FAMILIES)
def test_a_stack_loads_and_runs(class_name, tmp_path):
    overrides = FAMILIES[class_name] | MIXED.get(class_name, {})
    kind, states = save_pair(class_name, tmp_path, **overrides)
    model, odd = load(kind, stack(tmp_path))
    assert not odd
    text = model.config.get_text_config()
    assert text.num_hidden_layers == len(SOURCES)
    before = kind.from_pretrained(tmp_path / "base").config.get_text_config()
    for key in ("layer_types", "no_rope_layers"):
        if getattr(before, key, None):
            assert list(getattr(text, key)) == [getattr(before, key)[i] for i in SOURCES]
    for name, tensor in model.state_dict().items():
        in_source = source_name(name)
        assert any(torch.equal(tensor, state[in_source]) for state in states), name
        index = re.search(r"\.(\d+)\.", name)
        if in_source != name:
            assert torch.equal(tensor, states[int(index[1]) >= 3][in_source]), name
    with torch.inference_mode():
        assert model(input_ids=TOKENS).logits.isfinite().all()


def test_kinds_of_attention_are_written_for_configs_that_leave_them_out(tmp_path):
    """Gemma 2 of before layer_types: every second layer has full attention."""
    save_pair("Gemma2ForCausalLM", tmp_path, num_hidden_layers=LAYERS)
    for name in ("base", "tuned"):
        file = tmp_path / name / "config.json"
        config = json.loads(file.read_text())
        del config["layer_types"]
        file.write_text(json.dumps(config))
    config = json.loads((stack(tmp_path) / "config.json").read_text())
    kinds = ("sliding_attention", "full_attention")
    assert config["layer_types"] == [kinds[i % 2] for i in SOURCES]


@pytest.mark.parametrize(
    ("class_name", "spans", "rule"),
    [
        ("DeepseekV3ForCausalLM", ((0, 3), (0, 4)), "first_k_dense_replace"),
        ("JambaForCausalLM", ((0, 3), (0, 4)), "expert_layer_period"),
    ],
)
def test_an_order_that_the_config_cannot_describe_is_refused(class_name, spans, rule, tmp_path):
    save_pair(class_name, tmp_path, num_hidden_layers=LAYERS)
    with pytest.raises(CheckpointError, match=f"in this order @ .*{rule}"):
        stack(tmp_path, spans)


FORWARD = ("LlamaForCausalLM", "Qwen3MoeForCausalLM", "Gemma2ForCausalLM", "GPT2LMHeadModel")


@pytest.mark.parametrize("class_name", FORWARD)
def test_logits_are_those_of_a_merge_in_memory(class_name, tmp_path):
    kind, states = save_pair(class_name, tmp_path)
    merge(recipe_of(linear), tmp_path / "out")
    model, _ = load(kind, tmp_path / "out")
    wanted = tiny_model(class_name)
    merged = merged_in_memory(linear, *states)
    wanted.load_state_dict({name: x.to(states[0][name].dtype) for name, x in merged.items()})
    with torch.inference_mode():
        found, expected = (one(input_ids=TOKENS).logits for one in (model, wanted))
    assert (found - expected).abs().max() <= 1e-5 * expected.abs().max()
    assert read_model(tmp_path / "out").keys() == read_model(tmp_path / "base").keys()
