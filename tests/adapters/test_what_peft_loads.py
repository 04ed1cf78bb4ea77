"""PEFT loads all that extract-lora writes; what it could not load is left out, and told."""

import warnings

import pytest
import torch
from peft import PeftModel
from transformers import (
    BertConfig,
    BertModel,
    CLIPConfig,
    CLIPModel,
    GPT2Config,
    GPT2Model,
    T5Config,
    T5ForConditionalGeneration,
)
from typer.testing import CliRunner

from graphmerge.adapters.embedding_names import is_embedding
from graphmerge.cli.app import app
from graphmerge.testing.stored_models import read_model

ENCODER = {
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
}
TEXT = {**ENCODER, "vocab_size": 40, "max_position_embeddings": 12}
MODELS = {
    "gpt2": (
        GPT2Model,
        GPT2Config(vocab_size=40, n_positions=12, n_embd=16, n_layer=1, n_head=2),
        {"wte", "wpe"},
    ),
    "bert": (
        BertModel,
        BertConfig(**TEXT),
        {"word_embeddings", "position_embeddings", "token_type_embeddings"},
    ),
    "t5": (
        T5ForConditionalGeneration,
        T5Config(vocab_size=40, d_model=16, d_kv=8, d_ff=24, num_layers=1, num_heads=2),
        {"shared", "relative_attention_bias"},
    ),
    "clip": (
        CLIPModel,
        CLIPConfig(
            text_config=TEXT,
            vision_config={**ENCODER, "image_size": 8, "patch_size": 4},
            projection_dim=16,
        ),
        {"token_embedding", "position_embedding"},
    ),
}


@pytest.mark.parametrize("kind", MODELS)
def test_every_change_is_loaded_or_told(tmp_path, kind):
    class_, config, embeddings = MODELS[kind]
    torch.manual_seed(0)
    model = class_(config)
    model.save_pretrained(tmp_path / "base")
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 2:
                parameter.add_(0.1 * torch.randn(parameter.shape))
    model.save_pretrained(tmp_path / "tuned")
    arguments = ["extract-lora", *(str(tmp_path / name) for name in ("tuned", "base", "made"))]
    result = CliRunner().invoke(app, [*arguments, "--rank", "16"])
    assert result.exit_code == 0, result.output
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        loaded = PeftModel.from_pretrained(
            class_.from_pretrained(tmp_path / "base"), tmp_path / "made"
        )
    assert not [str(one.message) for one in caught if "adapter keys" in str(one.message)]
    merged = loaded.merge_and_unload().state_dict()
    told = {line.rsplit(": ", 1)[-1] for line in result.output.splitlines() if "left out" in line}
    assert {name.split(".")[-2] for name in told} == embeddings
    for name, tensor in read_model(tmp_path / "tuned").items():
        if name not in told:
            torch.testing.assert_close(merged[name], tensor, atol=1e-5, rtol=1e-5, msg=name)


@pytest.mark.parametrize(
    ("name", "is_one"),
    [
        ("h.0.wpe", True),
        ("encoder.layer.0.attention.self.distance_embedding", True),
        ("decoder.embed_positions", True),
        ("tokens_embed", True),
        ("embeddings.patch_embedding", False),
        ("embed_out", False),
        ("embeddings_project", False),
        ("embeddings.dense", False),
        ("shared_expert", False),
    ],
)
def test_embeddings_by_name(name, is_one):
    assert is_embedding(name) is is_one
