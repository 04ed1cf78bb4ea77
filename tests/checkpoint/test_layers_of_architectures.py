"""Layers, heads and embeddings are found in what transformers saves for each architecture.

architectures.json holds the config keys and the tensor names and shapes that transformers 5.17
wrote for tiny random models: 3 layers (2 in decoders of encoder-decoder models), 3 experts and 3
vision layers, so that nothing can be told apart by its number alone; vocabulary 64.
"""

import json
from pathlib import Path

import pytest

from graphmerge.checkpoint import (
    Checkpoint,
    TensorEntry,
    find_embeddings,
    find_layers,
    is_after_layers,
    tied_head,
)
from graphmerge.spec import DType, TensorSpec

ARCHITECTURES = json.loads((Path(__file__).parent / "architectures.json").read_text())
LLAMA = "model.layers.*3 < num_hidden_layers"
GPT = "transformer.h.*3 < num_hidden_layers"
TEXT = "language_model.model.layers.*3 < text_config.num_hidden_layers"
HEAD, EMBED = "lm_head.weight", "model.embed_tokens.weight"
UNTIED = (HEAD, EMBED)
TABLE = {
    # name: stacks; the head that is left out, if it is; the vocabulary tensors
    "llama": (LLAMA, None, UNTIED),
    "mistral": (LLAMA, None, UNTIED),
    "mixtral": (LLAMA, None, UNTIED),
    "qwen2": (LLAMA, HEAD, (EMBED,)),
    "qwen2_moe": (LLAMA, None, UNTIED),
    "qwen2_vl": ("model.layers.*3 < text_config.num_hidden_layers", None, UNTIED),
    "gemma2": (LLAMA, HEAD, (EMBED,)),
    "gemma3": (TEXT, "language_model.lm_head.weight", (f"language_model.{EMBED}",)),
    "phi": (LLAMA, None, ("lm_head.bias", *UNTIED)),
    "phi3": (LLAMA, None, UNTIED),
    "gpt2": ("transformer.h.*3 < n_layer", HEAD, ("transformer.wte.weight",)),
    "gpt_neox": (
        "gpt_neox.layers.*3 < num_hidden_layers",
        None,
        ("embed_out.weight", "gpt_neox.embed_in.weight"),
    ),
    "falcon": (GPT, HEAD, ("transformer.word_embeddings.weight",)),
    "stablelm": (LLAMA, None, UNTIED),
    "cohere": (LLAMA, HEAD, (EMBED,)),
    "olmo": (LLAMA, None, UNTIED),
    "granite": (LLAMA, None, UNTIED),
    "deepseek_v3": (LLAMA, None, UNTIED),
    "mamba": ("backbone.layers.*3 < num_hidden_layers", HEAD, ("backbone.embeddings.weight",)),
    "opt": (
        "model.decoder.layers.*3 < num_hidden_layers",
        HEAD,
        ("model.decoder.embed_tokens.weight",),
    ),
    "bert": (
        "bert.encoder.layer.*3 < num_hidden_layers",
        "cls.predictions.decoder.weight",
        ("bert.embeddings.word_embeddings.weight", "cls.predictions.bias"),
    ),
    "bert_cls": (
        "bert.encoder.layer.*3 < num_hidden_layers",
        None,
        ("bert.embeddings.word_embeddings.weight",),
    ),
    "roberta": (
        "roberta.encoder.layer.*3 < num_hidden_layers",
        "lm_head.decoder.weight",
        ("lm_head.bias", "roberta.embeddings.word_embeddings.weight"),
    ),
    "distilbert": (
        "distilbert.transformer.layer.*3 < n_layers",
        "vocab_projector.weight",
        ("distilbert.embeddings.word_embeddings.weight", "vocab_projector.bias"),
    ),
    "t5": (
        "encoder.block.*3 < num_layers, decoder.block.*2 < num_decoder_layers",
        HEAD,
        ("shared.weight",),
    ),
    "bart": (
        "model.encoder.layers.*3 < encoder_layers, model.decoder.layers.*2 < decoder_layers",
        HEAD,
        ("final_logits_bias", "model.shared.weight"),
    ),
    "whisper": (
        "model.encoder.layers.*3 < encoder_layers, model.decoder.layers.*2 < decoder_layers",
        HEAD,
        ("model.decoder.embed_tokens.weight",),
    ),
    "llava": (TEXT, None, (f"language_model.{HEAD}", f"language_model.{EMBED}")),
    "mllama": (TEXT, None, (f"language_model.{HEAD}", f"language_model.{EMBED}")),
    "vit": ("vit.encoder.layer.*3 < num_hidden_layers", None, ()),
    "clip": (
        "text_model.encoder.layers.*3 < text_config.num_hidden_layers",
        None,
        ("text_model.embeddings.token_embedding.weight",),
    ),
    "wav2vec2": (
        "wav2vec2.encoder.layers.*3 < num_hidden_layers",
        None,
        ("lm_head.bias", "lm_head.weight"),
    ),
    "t5gemma": (
        (
            "model.encoder.layers.*3 < encoder.num_hidden_layers, "
            "model.decoder.layers.*3 < decoder.num_hidden_layers"
        ),
        "lm_head.out_proj.weight",
        ("model.decoder.embed_tokens.weight", "model.encoder.embed_tokens.weight"),
    ),
    "vision_encoder_decoder": (
        (
            "encoder.encoder.layer.*3 < encoder.num_hidden_layers, "
            "decoder.model.decoder.layers.*2 < decoder.decoder_layers"
        ),
        None,
        ("decoder.model.decoder.embed_tokens.weight",),
    ),
}
AFTER = {
    # the names that follow the layers, for models with the same ones: the rest of `outside` precede
    "llama": {HEAD, "model.norm.weight"},
    "gemma3": {"language_model.model.norm.weight"},
    "gpt2": {"transformer.ln_f.bias", "transformer.ln_f.weight"},
    "gpt_neox": {
        "embed_out.weight",
        "gpt_neox.final_layer_norm.bias",
        "gpt_neox.final_layer_norm.weight",
    },
    "mamba": {"backbone.norm_f.weight"},
    "opt": {
        "model.decoder.final_layer_norm.bias",
        "model.decoder.final_layer_norm.weight",
        "model.decoder.project_out.weight",
    },
    "bert_cls": {
        "bert.pooler.dense.bias",
        "bert.pooler.dense.weight",
        "classifier.bias",
        "classifier.weight",
    },
    "t5": {"decoder.final_layer_norm.weight", "encoder.final_layer_norm.weight"},
    "whisper": {
        "model.decoder.layer_norm.bias",
        "model.decoder.layer_norm.weight",
        "model.encoder.layer_norm.bias",
        "model.encoder.layer_norm.weight",
    },
    "vit": {"classifier.bias", "classifier.weight", "vit.layernorm.bias", "vit.layernorm.weight"},
}
architectures = pytest.mark.parametrize("name", TABLE)


def shapes(name):
    """Every tensor with its shape; those inside the blocks get shape (2, 2)."""
    found = {tensor: tuple(shape) for tensor, shape in ARCHITECTURES[name]["outside"].items()}
    for pattern, suffixes in ARCHITECTURES[name]["inside"].items():
        prefix, indexes = pattern.removesuffix("}.").split("{")
        for index in indexes.split(","):
            found |= {f"{prefix}{index}.{suffix}": (2, 2) for suffix in suffixes}
    return found


def show(layout):
    return ", ".join(f"{x.prefix}*{x.count} < {x.config_key}" for x in layout.stacks)


def test_every_architecture_is_in_the_table():
    assert TABLE.keys() == ARCHITECTURES.keys()
    assert AFTER.keys() <= TABLE.keys()


@architectures
def test_layers(name):
    layout = find_layers(shapes(name), ARCHITECTURES[name]["config"])
    assert show(layout) == TABLE[name][0]
    assert layout.note == ""


@architectures
def test_layers_without_config(name):
    """The names alone give the same layers; the note says that nothing confirms it."""
    layout = find_layers(reversed(shapes(name)), {})
    with_config = find_layers(shapes(name), ARCHITECTURES[name]["config"])
    assert [(x.prefix, x.count) for x in layout.stacks] == [
        (x.prefix, x.count) for x in with_config.stacks
    ]
    assert "config.json states no number of layers" in layout.note


@architectures
def test_tied_head(name):
    _, head, vocabulary = TABLE[name]
    found = tied_head(shapes(name), ARCHITECTURES[name]["config"])
    assert (found[0] if found else None) == head
    assert found is None or found[1] in vocabulary


def checkpoint_of(shapes, config):
    entries = {
        tensor: TensorEntry(tensor, TensorSpec(shape, DType.F32), Path("model.safetensors"), 0)
        for tensor, shape in sorted(shapes.items())
    }
    return Checkpoint(Path(), entries, config, files=(), side_files=())


@architectures
def test_embeddings(name):
    checkpoint = checkpoint_of(shapes(name), ARCHITECTURES[name]["config"])
    assert find_embeddings(checkpoint) == TABLE[name][2]


def test_embeddings_have_the_rows_of_the_vocabulary():
    shapes = {
        "embed_tokens.weight": (72, 8),  # more rows than tokens, as in Llama-3.2-Vision
        "output.weight": (64, 8),
        "experts.output.weight": (8, 8),
        "norm.weight": (64, 8),
        "lm_head.weight": (64,),
        "vision_tower.embeddings.weight": (64, 8),
    }
    found = find_embeddings(checkpoint_of(shapes, {"vocab_size": 64}))
    assert found == ("embed_tokens.weight", "output.weight")
    assert find_embeddings(checkpoint_of(shapes, {})) == ("embed_tokens.weight",)


@pytest.mark.parametrize("name", AFTER)
def test_what_follows_the_layers(name):
    layout = find_layers(shapes(name), ARCHITECTURES[name]["config"])
    outside = [tensor for tensor in shapes(name) if layout.locate(tensor) is None]
    assert {tensor for tensor in outside if is_after_layers(tensor, layout)} == AFTER[name]
