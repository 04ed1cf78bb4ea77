"""Small transformers models with PEFT adapters, and what PEFT makes of them."""

import warnings

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import (
    AutoModelForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
)

LLAMA = {
    "vocab_size": 96,
    "hidden_size": 32,
    "intermediate_size": 56,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}


def write_llama(folder, *, dtype=torch.float32, seed=0, **config):
    torch.manual_seed(seed)
    model = LlamaForCausalLM(LlamaConfig(**LLAMA | config)).to(dtype)
    model.save_pretrained(folder)
    return folder


def write_gpt2(folder, *, seed=0, **config):
    torch.manual_seed(seed)
    sizes = {"vocab_size": 96, "n_positions": 16, "n_embd": 32, "n_layer": 2, "n_head": 4}
    GPT2LMHeadModel(GPT2Config(**sizes | config)).save_pretrained(folder)
    return folder


def write_adapter(folder, base, *, seed=1, dtype=None, **settings):
    """An adapter that does something: PEFT's own start with B = 0."""
    model = AutoModelForCausalLM.from_pretrained(base)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        adapted = get_peft_model(model, LoraConfig(**{"r": 4, "lora_alpha": 12} | settings))
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for parameter in adapted.parameters():
                if parameter.requires_grad:
                    noise = torch.randn(parameter.shape, generator=generator)
                    parameter.add_(0.1 * noise)
        if dtype is not None:
            adapted = adapted.to(dtype)
        adapted.save_pretrained(folder)
    return folder


def merged_by_peft(base, adapter):
    """Every tensor of PEFT's merge_and_unload, by name."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = AutoModelForCausalLM.from_pretrained(base, dtype="auto")
        merged = PeftModel.from_pretrained(model, adapter).merge_and_unload()
    return dict(merged.state_dict())
