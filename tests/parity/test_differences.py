"""Where graphmerge differs from mergekit on purpose; each test states what graphmerge does."""

import pytest
import torch
from parity_comparison import (
    allowed_error,
    difference,
    differences,
    read_config,
    ulp,
)
from transformers import AutoModelForCausalLM

from graphmerge.errors import InputError
from graphmerge.testing.stored_models import read_model

pytestmark = pytest.mark.parity
recipe = pytest.mark.recipe

HALF_PRECISION = ("llama-bf16", "llama-fp16")


def linear(a, b):
    return f"""
merge_method: linear
models:
- {{model: {a}, parameters: {{weight: 0.7}}}}
- {{model: {b}, parameters: {{weight: 0.2}}}}
"""


@recipe(linear("mixtral/a", "mixtral/b"))
def test_experts_keep_their_stored_names(merge):
    """mergekit fuses the experts of a layer into one tensor, as transformers 5 does in memory."""
    merge.run()
    ours, theirs = merge.tensors()
    assert ours.keys() == read_model(merge.models / "mixtral/a").keys()
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


@recipe(linear("gpt_neox/a", "gpt_neox/b"))
def test_buffers_that_a_model_may_lack_are_not_required(merge):
    """mergekit refuses GPT-NeoX models without the attention masks that old checkpoints stored."""
    assert "attention.bias required" in merge.failure_of_mergekit
    merge.run()
    ours = read_model(merge.ours)
    a, b = (read_model(merge.models / f"gpt_neox/{role}") for role in "ab")
    mean = {name: (0.7 * a[name].double() + 0.2 * b[name].double()) / 0.9 for name in a}
    assert differences(ours, {name: tensor.float() for name, tensor in mean.items()}) == []


@recipe("""
merge_method: passthrough
slices:
- {sources: [{model: gemma2/a, layer_range: [0, 3]}]}
- {sources: [{model: gemma2/b, layer_range: [1, 4]}]}
""")
def test_a_stack_of_layers_of_two_types_loads(merge):
    """mergekit leaves Gemma 2's list of layer types as it was, and fails on it."""
    assert "layer_types" in merge.failure_of_mergekit
    merge.run()
    stored = read_config(merge.models / "gemma2/a")["layer_types"]
    assert read_config(merge.ours)["layer_types"] == stored[0:3] + stored[1:4]
    model = AutoModelForCausalLM.from_pretrained(merge.ours)
    b = read_model(merge.models / "gemma2/b")
    query = model.get_parameter("model.layers.5.self_attn.q_proj.weight")
    assert torch.equal(query, b["model.layers.3.self_attn.q_proj.weight"])


@recipe("""
merge_method: linear
slices:
- sources:
  - {model: llama/a, layer_range: [0, 2], parameters: {weight: 1}}
  - {model: llama/a, layer_range: [2, 4], parameters: {weight: 3}}
""")
def test_a_model_may_appear_twice_in_a_slice(merge):
    """mergekit 0.1.5 refuses this."""
    assert "Duplicate merge inputs" in merge.failure_of_mergekit
    merge.run()
    a = read_model(merge.models / "llama/a")
    first, third = (a[f"model.layers.{n}.mlp.up_proj.weight"] for n in (0, 2))
    merged = read_model(merge.ours)["model.layers.0.mlp.up_proj.weight"]
    assert not difference(merged, (first + 3 * third) / 4)


@recipe("""
merge_method: slerp
base_model: llama/a
slices:
- {sources: [{model: llama/a, layer_range: [0, 2]}]}
- {sources: [{model: llama/a, layer_range: [2, 4]}, {model: llama/b, layer_range: [2, 4]}]}
parameters: {t: 0.5}
""")
def test_a_lone_source_of_slerp_is_copied(merge):
    """As mergekit 0.1.4 did, and published recipes expect; 0.1.5 refuses it."""
    assert "requires at least 2 inputs" in merge.failure_of_mergekit
    merge.run()
    name = "model.layers.1.mlp.up_proj.weight"
    a = read_model(merge.models / "llama/a")
    assert torch.equal(read_model(merge.ours)[name], a[name])


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


@recipe(LAYER_RANGE)
def test_layer_ranges_of_whole_models_are_ignored_as_by_mergekit(merge):
    assert merge.failure_of_mergekit is None
    merge.run()
    assert differences(*merge.tensors()) == []


@pytest.mark.parametrize(
    "message",
    [
        pytest.param("did you mean 'normalize'", marks=recipe(TYPO)),
        pytest.param("density out of range", marks=recipe(DENSITY)),
        pytest.param("weights sum to zero", marks=recipe(WEIGHTS)),
    ],
)
def test_what_mergekit_lets_pass_is_refused(message, merge):
    assert merge.failure_of_mergekit is None
    with pytest.raises(InputError, match=message):
        merge.run()


def task_arithmetic(family):
    return f"""
merge_method: task_arithmetic
base_model: {family}/base
models:
- {{model: {family}/a, parameters: {{weight: 0.7}}}}
- {{model: {family}/b, parameters: {{weight: 0.6}}}}
"""


@pytest.mark.parametrize(
    "family", [pytest.param(name, marks=recipe(task_arithmetic(name))) for name in HALF_PRECISION]
)
def test_task_vectors_of_16_bits_are_rounded_once(family, merge):
    """mergekit rounds every difference, product and sum to 16 bits."""
    merge.run()
    ours, theirs = merge.tensors()
    base, a, b = updates_of(merge.models / family, "a", "b")
    for name, merged in ours.items():
        exact = base[name] + 0.7 * a[name] + 0.6 * b[name]
        half_ulp = ulp(exact, merged.dtype) / 2
        assert ((merged.double() - exact).abs() <= half_ulp + exact.abs().max() * 2e-7).all()
        largest = torch.stack([base[name], a[name], b[name], exact]).abs().amax(0)
        assert ((theirs[name].double() - exact).abs() <= 5 * ulp(largest, merged.dtype)).all()


def trimmed(family):
    return f"""
merge_method: ties
base_model: {family}/base
models:
- {{model: {family}/a, parameters: {{weight: 0.75, density: 0.4}}}}
- {{model: {family}/b, parameters: {{weight: 0.5, density: 0.7}}}}
dtype: float32
"""


@pytest.mark.parametrize(
    "family", [pytest.param(name, marks=recipe(trimmed(name))) for name in HALF_PRECISION]
)
def test_trimming_differs_among_equal_magnitudes_only(family, merge):
    """16-bit updates have many equal magnitudes; graphmerge keeps those of lowest index."""
    merge.run()
    ours, theirs = merge.tensors()
    _, a, b = updates_of(merge.models / family, "a", "b")
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
    base = {name: tensor.double() for name, tensor in read_model(family / "base").items()}
    tuned = [read_model(family / role) for role in roles]
    return base, *({name: model[name].double() - base[name] for name in base} for model in tuned)


def dare(method, rescale):
    more = ", epsilon: 0.2" if "della" in method else ""
    return f"""
merge_method: {method}
base_model: llama/base
models: [{{model: llama/a, parameters: {{weight: 1, density: 0.3{more}}}}}]
parameters: {{rescale: {rescale}}}
"""


@pytest.mark.parametrize(
    ("method", "rescale"),
    [
        pytest.param(method, rescale, marks=recipe(dare(method, rescale)))
        for method in ("dare_linear", "dare_ties", "della", "della_linear")
        for rescale in (True, False)
    ],
)
def test_random_masks_keep_the_same_share_and_norm(method, rescale, merge):
    """Which entries are dropped differs: graphmerge draws by tensor and index."""
    merge.run()
    base, a = updates_of(merge.models / "llama", "a")
    for merged in merge.tensors():
        for name, tensor in merged.items():
            update = tensor.double() - base[name]
            kept = update != 0
            assert abs(kept.double().mean() - 0.3) <= 5 * (0.3 * 0.7 / kept.numel()) ** 0.5
            norm = a[name].abs().sum() if rescale else a[name][kept].abs().sum()
            torch.testing.assert_close(update.abs().sum(), norm, rtol=1e-4, atol=0)


@recipe("""
merge_method: arcee_fusion
base_model: llama/base
models: [{model: llama/a}]
""")
def test_fusion_differs_at_the_threshold_only(merge):
    """mergekit takes divergences in float32 and, of large tensors, quantiles of a sample."""
    merge.run()
    ours, theirs = merge.tensors()
    base, a = updates_of(merge.models / "llama", "a")
    for name, merged in ours.items():
        apart = (merged.double() - theirs[name].double()).abs() > allowed_error(theirs[name])
        taken = (merged.double() - base[name]).abs() > allowed_error(theirs[name])
        size = a[name].abs() * divergence(base[name], a[name])
        assert ((size[apart] / size[taken].min() - 1).abs() < 1e-2).all(), name
        assert apart.sum() <= max(3, 1e-3 * apart.numel()), name


def divergence(base, update):
    """KL of the softmax of each row."""
    p, q = ((base + update).softmax(-1) + 1e-8, base.softmax(-1) + 1e-8)
    return (p * (p / q).log()).sum(-1, keepdim=True)


@recipe("""
merge_method: multislerp
models:
- {model: llama/a, parameters: {weight: 0.7}}
- {model: llama/b, parameters: {weight: 0.2}}
""")
def test_lengths_are_taken_in_float64(merge):
    """mergekit sums 320,000 squares in float32, and is off by 4e-6 here."""
    merge.run()
    ours, theirs = merge.tensors()
    name = "model.embed_tokens.weight"
    a, b = (read_model(merge.models / f"llama/{role}")[name].double() for role in "ab")
    weights = (0.7 / 0.9, 0.2 / 0.9)
    mean = sum(w * x / x.norm() for w, x in zip(weights, (a, b), strict=True))
    length = sum(w * x.norm() for w, x in zip(weights, (a, b), strict=True))
    assert not difference(ours[name], (mean / mean.norm() * length).float())
    assert difference(ours[name], theirs[name])


@recipe("""
merge_method: nuslerp
models:
- {model: llama/a, parameters: {weight: 0.7}}
- {model: extreme/minus-a, parameters: {weight: 0.2}}
""")
def test_opposite_models_are_interpolated_linearly(merge):
    """Their angle is half a turn but for rounding, by whose sine mergekit divides."""
    merge.run()
    ours, theirs = merge.tensors()
    a = read_model(merge.models / "llama/a")
    want = {name: tensor * (0.5 / 0.9) for name, tensor in a.items()}
    assert differences(ours, want) == []
    assert differences(theirs, want) != []


@recipe("""
merge_method: karcher
models: [{model: llama/a}, {model: extreme/minus-a}]
""")
def test_the_karcher_mean_of_opposite_models_is_the_first(merge):
    """No way between them is the shortest; mergekit takes one that rounding chooses."""
    merge.run()
    ours, theirs = merge.tensors()
    a = read_model(merge.models / "llama/a")
    assert differences(ours, a) == []
    assert differences(theirs, a) != []


@recipe("""
merge_method: multislerp
models:
- {model: extreme/zero, parameters: {weight: 1}}
- {model: extreme/minus-a, parameters: {weight: 1}}
- {model: llama/a, parameters: {weight: 1}}
""")
def test_directions_that_cancel_are_summed_as_they_are(merge):
    """mergekit ends the run, for which a tensor is enough that no fine-tune has changed."""
    assert "sum of the input tensors is zero" in merge.failure_of_mergekit
    merge.run()
    for name, tensor in read_model(merge.ours).items():
        assert tensor.abs().max() < 1e-7, name
