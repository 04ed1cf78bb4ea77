"""transformers loads a merge, and computes what it does with one made in memory by torch."""

import json

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM

from graphmerge.testing.checkpoints import write_base, write_fine_tune
from graphmerge.testing.llama_shapes import LlamaShape
from graphmerge.testing.merging import merge

SHAPE = LlamaShape(4, 64, 128, vocabulary=320, heads=4, kv_heads=2)
TOKENS = torch.tensor([[1, 17, 5, 255, 300, 42], [1, 2, 3, 4, 5, 6]])


@pytest.fixture(scope="module", params=["F32", "BF16"])
def models(request, tmp_path_factory):
    """A base and two fine-tunes whose changes are as large as the weights."""
    root = tmp_path_factory.mktemp("models")
    write_base(root / "base", SHAPE, seed=0, dtype=request.param)
    for number in (1, 2):
        write_fine_tune(root / f"tuned{number}", root / "base", seed=number, scale=0.02)
    return root


def loaded(folder):
    model = AutoModelForCausalLM.from_pretrained(folder)
    assert isinstance(model, LlamaForCausalLM)
    return model.eval()


def states(root):
    """The tensors of base and fine-tunes in float64."""
    folders = (root / "base", root / "tuned1", root / "tuned2")
    return [{n: x.double() for n, x in loaded(folder).state_dict().items()} for folder in folders]


def linear(base, first, second):
    return {name: (first[name] + 3 * second[name]) / 4 for name in base}


def task_arithmetic(base, first, second):
    return {name: first[name] - 0.5 * (second[name] - base[name]) for name in base}


def slerp(base, first, second):
    return {name: _slerp(base[name], first[name], 0.25) for name in base}


def ties(base, first, second):
    """With weights that are powers of two: no sign depends on how a sum is rounded."""
    return {name: _ties(base[name], [first[name], second[name]], (0.5, 0.25)) for name in base}


def _ties(base, models, weights):
    """The larger half of each task vector; of the weighted entries those of the elected sign."""
    deltas = [_larger_half(model - base) for model in models]
    weighed = [weight * delta for weight, delta in zip(weights, deltas, strict=True)]
    sign = torch.where(sum(weighed) >= 0, 1.0, -1.0).double()
    agreeing = [delta * sign > 0 for delta in deltas]
    total = sum(x * agrees for x, agrees in zip(weighed, agreeing, strict=True))
    divisor = sum(weight * agrees for weight, agrees in zip(weights, agreeing, strict=True))
    return base + total / torch.where(divisor == 0, 1, divisor)


def _larger_half(delta):
    """The first half of the entries by magnitude; of equal ones the first by position."""
    order = delta.abs().flatten().sort(descending=True, stable=True).indices
    mask = torch.zeros(delta.numel(), dtype=torch.bool)
    mask[order[: delta.numel() // 2]] = True
    return torch.where(mask.view(delta.shape), delta, 0)


def _slerp(a, b, t):
    angle = torch.arccos((a * b).sum() / (a.norm() * b.norm()))
    if abs(torch.cos(angle)) > 0.9995:
        return torch.lerp(a, b, t)
    return (torch.sin((1 - t) * angle) * a + torch.sin(t * angle) * b) / torch.sin(angle)


def weighted(*weights, **parameters):
    return [
        {"model": f"tuned{number}", "parameters": {"weight": weight, **parameters}}
        for number, weight in enumerate(weights, start=1)
    ]


RECIPES = {
    linear: {"models": weighted(1, 3)},
    task_arithmetic: {"base_model": "base", "models": weighted(1, -0.5)},
    ties: {"base_model": "base", "models": weighted(0.5, 0.25, density=0.5)},
    slerp: {"base_model": "base", "models": [{"model": "tuned1"}], "parameters": {"t": 0.25}},
}


@torch.inference_mode()
def logits(model):
    return model(TOKENS).logits


@pytest.mark.parametrize("method", RECIPES, ids=lambda method: method.__name__)
def test_logits_are_those_of_a_merge_in_memory(models, method):
    recipe = {"merge_method": method.__name__, **RECIPES[method]}
    out = models / method.__name__
    merge(recipe, out)
    found = loaded(out)
    wanted = loaded(models / "base")
    dtype = wanted.dtype
    in_memory = method(*states(models))
    wanted.load_state_dict({name: x.to(dtype) for name, x in in_memory.items()})
    assert found.dtype is dtype
    difference = (logits(found) - logits(wanted)).abs().max()
    assert difference <= (1e-5 if dtype is torch.float32 else 2e-2) * logits(wanted).abs().max()
    assert (logits(found) - logits(loaded(models / "base"))).abs().max() > 10 * difference


def test_a_stack_of_layers_runs(models):
    """Layers 0-2 of one model and 1-3 of the other: 6 layers, as config.json says."""
    slices = [
        {"sources": [{"model": name, "layer_range": list(span)}]}
        for name, span in (("tuned1", (0, 3)), ("tuned2", (1, 4)))
    ]
    out = models / "stacked"
    merge({"merge_method": "passthrough", "slices": slices}, out)
    found, sources = loaded(out), (loaded(models / "tuned1"), loaded(models / "tuned2"))
    assert AutoConfig.from_pretrained(out).num_hidden_layers == 6
    first, second = (source.state_dict() for source in sources)
    stacked = found.state_dict()
    for layer in range(6):
        name = "model.layers.{}.mlp.up_proj.weight"
        source = first[name.format(layer)] if layer < 3 else second[name.format(layer - 2)]
        assert torch.equal(stacked[name.format(layer)], source)
    assert torch.equal(stacked["model.embed_tokens.weight"], first["model.embed_tokens.weight"])
    assert torch.equal(stacked["lm_head.weight"], second["lm_head.weight"])
    assert logits(found).isfinite().all()


def test_the_tokenizer_of_the_base_comes_along(models):
    out = models / "with-tokenizer"
    merge({"merge_method": "slerp", **RECIPES[slerp]}, out)
    text = "Grüße, world"
    pair = [AutoTokenizer.from_pretrained(folder) for folder in (models / "base", out)]
    assert pair[0](text).input_ids == pair[1](text).input_ids
    assert json.loads((out / "generation_config.json").read_text())["eos_token_id"] == 2
