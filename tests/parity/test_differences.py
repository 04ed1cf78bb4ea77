"""Where graphmerge differs from mergekit on purpose; each test states what graphmerge does."""

import json

import pytest
import torch
from graphmerge_run import run_graphmerge
from parity_comparison import (
    allowed_error,
    difference,
    differences,
    load_checkpoint,
    read_config,
    ulp,
)
from transformers import AutoModelForCausalLM

from graphmerge.errors import InputError

pytestmark = pytest.mark.parity


class Both:
    """Runs a recipe through mergekit and graphmerge."""

    def __init__(self, models, run_mergekit, name):
        self.models, self.name, self._run_mergekit = models, name, run_mergekit
        self.ours, self.theirs = models / "graphmerge" / name, models / "mergekit" / name

    def merge(self, recipe):
        """Run graphmerge, then mergekit; what mergekit says of its failure, or None."""
        (self.models / f"{self.name}.yml").write_text(recipe)
        self.merge_ours()
        return self.merge_theirs(recipe)

    def merge_ours(self):
        run_graphmerge(self.models / f"{self.name}.yml", self.ours)

    def merge_theirs(self, recipe):
        self._run_mergekit({self.name: recipe})
        return json.loads(self.theirs.with_name(f"{self.name}.json").read_text())

    def tensors(self):
        return load_checkpoint(self.ours), load_checkpoint(self.theirs)


@pytest.fixture
def both(models, run_mergekit, request):
    return Both(models, run_mergekit, request.node.originalname)


def linear(a, b):
    return f"""
merge_method: linear
models:
- {{model: {a}, parameters: {{weight: 0.7}}}}
- {{model: {b}, parameters: {{weight: 0.2}}}}
"""


def test_experts_keep_their_stored_names(both):
    """mergekit writes the experts of a layer as one tensor, as transformers 5 holds them in memory."""
    assert both.merge(linear("mixtral/a", "mixtral/b")) is None
    ours, theirs = both.tensors()
    assert ours.keys() == load_checkpoint(both.models / "mixtral/a").keys()
    for layer in range(4):
        moe, mlp = f"model.layers.{layer}.block_sparse_moe", f"model.layers.{layer}.mlp"
        one, two, three = (
            [ours.pop(f"{moe}.experts.{expert}.w{n}.weight") for expert in range(3)]
            for n in (1, 2, 3)
        )
        gate_up = [torch.cat(pair) for pair in zip(one, three, strict=True)]
        ours[f"{mlp}.experts.gate_up_proj"] = torch.stack(gate_up)
        ours[f"{mlp}.experts.down_proj"] = torch.stack(two)
        ours[f"{mlp}.gate.weight"] = ours.pop(f"{moe}.gate.weight")
    assert differences(ours, theirs) == []


def test_buffers_that_a_model_may_lack_are_not_required(both):
    """mergekit refuses GPT-NeoX models without the attention masks that old checkpoints stored."""
    assert "attention.bias required" in both.merge(linear("gpt_neox/a", "gpt_neox/b"))
    ours = load_checkpoint(both.ours)
    a, b = (load_checkpoint(both.models / f"gpt_neox/{role}") for role in "ab")
    mean = {name: (0.7 * a[name].double() + 0.2 * b[name].double()) / 0.9 for name in a}
    assert differences(ours, {name: tensor.float() for name, tensor in mean.items()}) == []


def test_a_stack_of_layers_of_two_types_loads(both):
    """mergekit leaves Gemma 2's list of layer types as it was, and fails on it."""
    recipe = """
merge_method: passthrough
slices:
- {sources: [{model: gemma2/a, layer_range: [0, 3]}]}
- {sources: [{model: gemma2/b, layer_range: [1, 4]}]}
"""
    assert "layer_types" in both.merge(recipe)
    stored = read_config(both.models / "gemma2/a")["layer_types"]
    assert read_config(both.ours)["layer_types"] == stored[0:3] + stored[1:4]
    model = AutoModelForCausalLM.from_pretrained(both.ours)
    b = load_checkpoint(both.models / "gemma2/b")
    query = model.get_parameter("model.layers.5.self_attn.q_proj.weight")
    assert torch.equal(query, b["model.layers.3.self_attn.q_proj.weight"])


def test_a_model_may_appear_twice_in_a_slice(both):
    """mergekit 0.1.5 refuses this."""
    recipe = """
merge_method: linear
slices:
- sources:
  - {model: llama/a, layer_range: [0, 2], parameters: {weight: 1}}
  - {model: llama/a, layer_range: [2, 4], parameters: {weight: 3}}
"""
    assert "Duplicate merge inputs" in both.merge(recipe)
    a = load_checkpoint(both.models / "llama/a")
    first, third = (a[f"model.layers.{n}.mlp.up_proj.weight"] for n in (0, 2))
    merged = load_checkpoint(both.ours)["model.layers.0.mlp.up_proj.weight"]
    assert not difference(merged, (first + 3 * third) / 4)


def test_a_lone_source_of_slerp_is_copied(both):
    """As mergekit 0.1.4 did, and published recipes expect; 0.1.5 refuses it."""
    recipe = """
merge_method: slerp
base_model: llama/a
slices:
- {sources: [{model: llama/b, layer_range: [0, 2]}]}
- {sources: [{model: llama/a, layer_range: [2, 4]}, {model: llama/b, layer_range: [2, 4]}]}
parameters: {t: 0.5}
"""
    assert "requires at least 2 inputs" in both.merge(recipe)
    name = "model.layers.1.mlp.up_proj.weight"
    b = load_checkpoint(both.models / "llama/b")
    assert torch.equal(load_checkpoint(both.ours)[name], b[name])


TYPO = """
merge_method: ties
base_model: llama/base
models: [{model: llama/a, parameters: {weight: 1, density: 0.5}}]
parameters: {normalise: false}
"""
DENSITY = """
merge_method: ties
base_model: llama/base
models: [{model: llama/a, parameters: {weight: 1, density: 1.5}}]
"""
LAYER_RANGE = """
merge_method: passthrough
models: [{model: llama/a, layer_range: [0, 2]}]
"""
WEIGHTS = """
merge_method: linear
models:
- {model: llama/a, parameters: {weight: 1}}
- {model: llama/b, parameters: {weight: -1}}
"""


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        (TYPO, "did you mean 'normalize'"),
        (DENSITY, "density out of range"),
        (LAYER_RANGE, "a whole model has no layer range"),
        (WEIGHTS, "weights sum to zero"),
    ],
    ids=["unknown-parameter", "density", "layer-range-of-a-model", "zero-sum"],
)
def test_what_mergekit_lets_pass_is_refused(recipe, message, both):
    assert both.merge_theirs(recipe) is None
    with pytest.raises(InputError, match=message):
        both.merge_ours()


HALF_PRECISION = ["llama-bf16", "llama-fp16"]


@pytest.mark.parametrize("family", HALF_PRECISION)
def test_task_vectors_of_16_bits_are_rounded_once(family, both):
    """mergekit rounds every difference, product and sum to 16 bits."""
    recipe = f"""
merge_method: task_arithmetic
base_model: {family}/base
models:
- {{model: {family}/a, parameters: {{weight: 0.7}}}}
- {{model: {family}/b, parameters: {{weight: 0.6}}}}
"""
    assert both.merge(recipe) is None
    ours, theirs = both.tensors()
    base, a, b = updates_of(both.models / family, "a", "b")
    for name, merged in ours.items():
        exact = base[name] + 0.7 * a[name] + 0.6 * b[name]
        half_ulp = ulp(exact, merged.dtype) / 2
        assert ((merged.double() - exact).abs() <= half_ulp + exact.abs().max() * 2e-7).all()
        largest = torch.stack([base[name], a[name], b[name], exact]).abs().amax(0)
        assert ((theirs[name].double() - exact).abs() <= 5 * ulp(largest, merged.dtype)).all()


@pytest.mark.parametrize("family", HALF_PRECISION)
def test_trimming_differs_among_equal_magnitudes_only(family, both):
    """16-bit updates have many equal magnitudes; graphmerge keeps those of lowest index."""
    recipe = f"""
merge_method: ties
base_model: {family}/base
models:
- {{model: {family}/a, parameters: {{weight: 0.75, density: 0.4}}}}
- {{model: {family}/b, parameters: {{weight: 0.5, density: 0.7}}}}
dtype: float32
"""
    assert both.merge(recipe) is None
    ours, theirs = both.tensors()
    _, a, b = updates_of(both.models / family, "a", "b")
    for name, merged in ours.items():
        at_the_cut = is_least_kept(a[name], 0.4) | is_least_kept(b[name], 0.7)
        error = (merged.double() - theirs[name].double()).abs()
        assert (error[~at_the_cut] <= allowed_error(theirs[name])).all()


def is_least_kept(update, density):
    """Where the magnitude is that of the least entry that is kept."""
    magnitude = update.abs()
    kept = max(1, int(density * update.numel()))
    return magnitude == magnitude.flatten().topk(kept).values[-1]


def updates_of(family, *roles):
    """Base and updates, in float64."""
    base = {name: tensor.double() for name, tensor in load_checkpoint(family / "base").items()}
    tuned = [load_checkpoint(family / role) for role in roles]
    return base, *({name: model[name].double() - base[name] for name in base} for model in tuned)


@pytest.mark.parametrize("method", ["dare_linear", "dare_ties"])
@pytest.mark.parametrize("rescale", ["true", "false"])
def test_random_masks_differ_in_their_values_only(method, rescale, both):
    """Both keep the same share, and the same L1 norm where they rescale."""
    recipe = f"""
merge_method: {method}
base_model: llama/base
models: [{{model: llama/a, parameters: {{weight: 1, density: 0.3}}}}]
parameters: {{rescale: {rescale}}}
"""
    assert both.merge(recipe) is None
    base, a = updates_of(both.models / "llama", "a")
    for merged in both.tensors():
        for name, tensor in merged.items():
            update = tensor.double() - base[name]
            kept = update != 0
            assert abs(kept.double().mean() - 0.3) <= 4 * (0.21 / kept.numel()) ** 0.5
            norm = a[name].abs().sum() if rescale == "true" else a[name][kept].abs().sum()
            torch.testing.assert_close(update.abs().sum(), norm, rtol=1e-4, atol=0)
