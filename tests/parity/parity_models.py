"""Tiny transformers models for the parity suite: random weights, a base and three fine-tunes."""

import shutil

import torch
import transformers
from attrs import frozen
from safetensors.torch import load_file, save_file

SIZES = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "vocab_size": 96,
    "max_position_embeddings": 64,
}
GROUPED = {**SIZES, "num_key_value_heads": 2, "pad_token_id": None}
TOKENS = {"bos_token_id": 1, "eos_token_id": 2}
# The embedding has more elements than a tile, so that statistics span tiles.
LLAMA = {**GROUPED, "hidden_size": 64, "intermediate_size": 96, "vocab_size": 5000}
GPT2 = {"n_embd": 32, "n_layer": 4, "n_head": 4, "vocab_size": 96, "n_positions": 64}
MIXTRAL = {**GROUPED, "num_local_experts": 3, "num_experts_per_tok": 2}

ROLES = ("base", "a", "b", "c")
NOISE_STD = 0.01
"""Of what is added to weights. They start with 0.02, so that a fine-tune turns a matrix by about 30
degrees; the weights of norms are near 1 and hardly turn, which takes slerp's linear branch."""


@frozen
class Family:
    """A group of models of one architecture."""

    config: str
    """Config class of transformers."""
    sizes: dict
    """Arguments of the config."""
    dtype: torch.dtype = torch.float32
    """Stored dtype. Groups that differ only in this hold the same weights, rounded."""


FAMILIES = {
    "llama": Family("LlamaConfig", LLAMA),
    "llama-bf16": Family("LlamaConfig", LLAMA, torch.bfloat16),
    "llama-fp16": Family("LlamaConfig", LLAMA, torch.float16),
    "llama-tied": Family("LlamaConfig", {**GROUPED, "tie_word_embeddings": True}),
    "mistral": Family("MistralConfig", GROUPED, torch.bfloat16),
    "qwen2": Family("Qwen2Config", GROUPED, torch.bfloat16),
    "qwen3": Family("Qwen3Config", {**GROUPED, "head_dim": 8}),
    "gemma2": Family("Gemma2Config", {**GROUPED, "head_dim": 8}),
    "gpt2": Family("GPT2Config", GPT2),
    "phi3": Family("Phi3Config", {**GROUPED, "pad_token_id": 0}, torch.float16),
    "olmo2": Family("Olmo2Config", GROUPED),
    "stablelm": Family("StableLmConfig", GROUPED, torch.float16),
    "starcoder2": Family("Starcoder2Config", GROUPED),
    "mixtral": Family("MixtralConfig", MIXTRAL),
    "gpt_neox": Family("GPTNeoXConfig", SIZES),
}


def write_models(folder, name):
    """Write `folder/name/ROLE` for every role."""
    family = FAMILIES[name]
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    config = getattr(transformers, family.config)(**family.sizes, **TOKENS)
    model = transformers.AutoModelForCausalLM.from_config(config)
    _perturb(model, generator)  # biases and norms start at 0 and 1
    base = {key: value.clone() for key, value in model.state_dict().items()}
    for role in ROLES:
        model.to(torch.float32)
        model.load_state_dict(base)
        if role != "base":
            _perturb(model, generator)
        model.to(family.dtype).save_pretrained(folder / name / role)


def _perturb(model, generator):
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += torch.randn(parameter.shape, generator=generator) * NOISE_STD


EXTREMES = {
    "same-as-a": lambda a, _base: a,
    "a-times-2": lambda a, _base: a * 2,
    "minus-a": lambda a, _base: -a,
    "zero": lambda a, _base: a * 0,
    "base-minus-update": lambda a, base: base - (a - base),
}
"""Weights that take the special cases of methods, as functions of llama/a and llama/base."""


def write_extremes(folder):
    """Write `folder/extreme/NAME` for every extreme; needs the models of llama."""
    a, base = (load_file(folder / f"llama/{role}/model.safetensors") for role in ("a", "base"))
    for name, make in EXTREMES.items():
        target = folder / "extreme" / name
        target.mkdir(parents=True)
        shutil.copy(folder / "llama/a/config.json", target)
        tensors = {key: make(a[key], base[key]).contiguous() for key in a}
        save_file(tensors, target / "model.safetensors", {"format": "pt"})
