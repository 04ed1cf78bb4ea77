"""Tiny random models of any class in transformers: its own default config, with small sizes."""

import warnings

import torch
import transformers
from transformers.utils import logging

logging.set_verbosity_error()

SMALL = {
    # language models
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "global_head_dim": 8,
    "rotary_dim": 4,
    "vocab_size": 64,
    "type_vocab_size": 2,
    "max_position_embeddings": 64,
    "sliding_window": 8,
    "embedding_size": 32,
    "word_embed_proj_dim": 32,
    "ffn_dim": 48,
    "ffn_hidden_size": 48,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "cls_token_id": 3,
    "sep_token_id": 4,
    "decoder_start_token_id": 1,
    # the older words for the same
    "n_embd": 32,
    "n_inner": 48,
    "n_layer": 2,
    "n_layers": 2,
    "n_head": 4,
    "n_heads": 4,
    "n_positions": 64,
    "d_model": 32,
    "d_ff": 48,
    "d_kv": 8,
    "dim": 32,
    "hidden_dim": 48,
    # encoders and decoders
    "num_layers": 2,
    "num_heads": 4,
    "num_decoder_layers": 2,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_ffn_dim": 48,
    "decoder_ffn_dim": 48,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    # experts; numbers that are no number of layers
    "num_experts": 3,
    "num_local_experts": 3,
    "moe_num_experts": 3,
    "n_routed_experts": 4,
    "num_experts_per_tok": 2,
    "n_group": 2,
    "topk_group": 1,
    "moe_intermediate_size": 16,
    "shared_expert_intermediate_size": 16,
    "first_k_dense_replace": 1,
    # latent attention and state spaces
    "q_lora_rank": 16,
    "kv_lora_rank": 8,
    "qk_rope_head_dim": 8,
    "qk_nope_head_dim": 8,
    "v_head_dim": 8,
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 8,
    "attention_hidden_size": 32,
    "lru_width": 32,
    "state_size": 4,
    "time_step_rank": 4,
    "mamba_d_state": 4,
    "mamba_n_heads": 4,
    "mamba_d_head": 16,
    "mamba_n_groups": 1,
    "mamba_expand": 2,
    # other senses
    "image_size": 16,
    "patch_size": 8,
    "num_channels": 3,
    "projection_dim": 16,
    "embed_dim": 32,
    "depth": 2,
    "out_hidden_size": 32,
    "num_position_embeddings": 16,
    "deepstack_visual_indexes": [0],
    "spatial_merge_size": 2,
    "num_mel_bins": 8,
    "max_source_positions": 32,
    "max_target_positions": 32,
    "image_token_id": 5,
    "image_token_index": 5,
    "video_token_id": 6,
    "vision_start_token_id": 7,
    "vision_end_token_id": 8,
}
"""Values of config keys, for every config that has the key."""


def small_config(kind, **overrides):
    """A config of a class with small sizes in it and in the configs inside it.

    Overrides of a config inside it are given as a dict: `text_config={"num_hidden_layers": 3}`.
    """
    default = kind()
    chosen = {key: value for key, value in SMALL.items() if key in default.to_dict()}
    for name in kind.sub_configs:
        inner = getattr(default, name, None)
        if inner is not None:
            own = overrides.pop(name, {})
            chosen[name] = small_config(type(inner), **own).to_dict()
    return kind(**chosen | overrides)


def tiny_model(class_name, seed=0, **overrides):
    """A model whose every float is random: norms and biases as well, which begin as constants."""
    kind = getattr(transformers, class_name)
    torch.manual_seed(seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about sizes that no real model has
        dtype = getattr(torch, overrides.get("dtype", "float32"))
        model = kind(small_config(kind.config_class, **overrides)).to(dtype)
    move(model, seed, 0.1)
    return model.eval()


@torch.no_grad()
def move(model, seed, scale):
    """Add noise to every float of a model; parameters that are tied stay so."""
    generator = torch.Generator().manual_seed(seed)
    seen = set()
    for tensor in model.state_dict(keep_vars=True).values():
        if tensor.is_floating_point() and tensor.data_ptr() not in seen:
            seen.add(tensor.data_ptr())
            noise = torch.randn(tensor.shape, generator=generator)
            tensor.add_((scale * noise).to(tensor.dtype))


def save_pair(class_name, folder, **overrides):
    """Save a model as `base` and one like it as `tuned`; what transformers says of both in memory.

    Returns:
        The class, and the tensors of both models as they are in memory.
    """
    model = tiny_model(class_name, **overrides)
    states = []
    for number, name in enumerate(("base", "tuned")):
        if number:
            move(model, 17, 0.02)
        model.save_pretrained(folder / name)
        states.append({key: tensor.clone() for key, tensor in model.state_dict().items()})
    return type(model), states


def load(kind, folder):
    """A saved model, and what was odd about it: missing, unexpected, mismatched tensors."""
    model, info = kind.from_pretrained(folder, output_loading_info=True, dtype="auto")
    return model.eval(), {key: found for key, found in info.items() if found}
