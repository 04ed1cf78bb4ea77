"""Small models with tensors of every kind: of several blocks, 0-d, empty, equal integers."""

import torch

from graphmerge.ops.blocks import BLOCK_ELEMENTS
from graphmerge.testing.stored_models import write_model

LAYERS = 4
CONFIG = {"model_type": "llama", "num_hidden_layers": LAYERS}
IN_LAYERS = {"mlp.up_proj.weight": (8, 6), "self_attn.q_proj.weight": (5, 7)}
OUTSIDE = {
    "model.embed_tokens.weight": (BLOCK_ELEMENTS + 17, 1),
    "model.temperature": (),
    "model.nothing": (0, 4),
    "model.norm.weight": (16,),
    "lm_head.weight": (24, 8),
}


def drawn_tensors(seed, dtype=torch.float32):
    """Random tensors of every shape."""
    generator = torch.Generator().manual_seed(seed)
    shapes = dict(OUTSIDE)
    for layer in range(LAYERS):
        shapes |= {f"model.layers.{layer}.{part}": shape for part, shape in IN_LAYERS.items()}
    drawn = {name: torch.randn(size, generator=generator) for name, size in shapes.items()}
    return {name: tensor.to(dtype) for name, tensor in drawn.items()}


def write_models(folder, names, dtypes=None, *, integers=True):
    """Write models, each with its own random numbers; returns their tensors by model."""
    written = {}
    for seed, name in enumerate(names):
        written[name] = drawn_tensors(seed, dtypes[seed] if dtypes else torch.float32)
        if integers:
            written[name]["model.layers.0.position_ids"] = torch.arange(9)
        write_model(folder / name, written[name], config=CONFIG)
    return written
