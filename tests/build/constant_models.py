"""Models whose tensors are constants, so that what a recipe resolves to shows in the output."""

import torch

from graphmerge.testing.evaluation import evaluate
from graphmerge.testing.merging import compile_mapping
from graphmerge.testing.stored_models import write_model

BEFORE = ("model.embed_tokens.weight",)
AFTER = ("lm_head.weight", "model.norm.weight")
PARTS = ("mlp.up_proj.weight", "self_attn.q_proj.weight")
LAYERS = 4
LLAMA = {"model_type": "llama", "architectures": ["LlamaForCausalLM"]}


def names(layers=LAYERS):
    """Tensor names in the order of the model."""
    inside = [f"model.layers.{layer}.{part}" for layer in range(layers) for part in PARTS]
    return [*BEFORE, *inside, *AFTER]


def layer_of(name):
    """Number of a tensor's layer; None outside the layers."""
    return int(name.split(".")[2]) if ".layers." in name else None


def constant_model(folder, value, *, layers=LAYERS, dtype=torch.float32, config=None):
    """A model with the same constant everywhere, or `value(name)`."""
    value_of = value if callable(value) else lambda _: value
    tensors = {name: torch.full((2, 3), value_of(name), dtype=dtype) for name in names(layers)}
    settings = LLAMA | {"num_hidden_layers": layers} | (config or {})
    return write_model(folder, tensors, config=settings)


def numbered(start):
    """Values that tell where a tensor is from: start + 1 + layer; start + 50, 70, 60 outside."""
    outside = dict(zip((*BEFORE, *AFTER), (50, 70, 60), strict=True))

    def value(name):
        layer = layer_of(name)
        return start + (outside[name] if layer is None else 1 + layer)

    return value


def outcome(recipe, folder):
    """The constant of every output tensor, by name, in the order of the output."""
    compiled = compile_mapping(recipe, folder / "recipe.yml")
    found = {}
    for name, tensor in evaluate(compiled.build.graph).items():
        assert (tensor == tensor[0]).all()
        found[name] = float(tensor[0])
    return found
