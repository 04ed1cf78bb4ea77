"""Rules 5 and 6: which model a tensor comes from, stacked layers, bases, and what is refused."""

import json

import pytest
from constant_models import LLAMA, constant_model, names, numbered, outcome

from graphmerge.errors import InputError
from graphmerge.ops.sparsify import RandomDrop
from graphmerge.testing.merging import compile_mapping, merge
from graphmerge.units import GIB

A, B, C = 0, 100, 200
"""What the values of models a, b and c start from."""


@pytest.fixture
def models(tmp_path):
    for name, start in (("a", A), ("b", B), ("c", C)):
        constant_model(tmp_path / name, numbered(start))
    return tmp_path


def source(model, first, last, **parameters):
    given = {"parameters": parameters} if parameters else {}
    return {"model": model, "layer_range": [first, last], **given}


def slices(method, *parts, **fields):
    listed = [part if isinstance(part, dict) else {"sources": part} for part in parts]
    return {"merge_method": method, "slices": listed, **fields}


def passthrough(*spans):
    return slices("passthrough", *([source(*span)] for span in spans))


@pytest.mark.parametrize(
    ("spans", "layers", "outside"),
    [
        ([("a", 0, 4)], [1, 2, 3, 4], [50, 60, 70]),
        ([("a", 0, 2), ("b", 2, 4)], [1, 2, B + 3, B + 4], [50, B + 60, B + 70]),
        ([("b", 1, 3), ("b", 1, 3)], [B + 2, B + 3, B + 2, B + 3], [B + 50, B + 60, B + 70]),
        ([("a", 3, 4), ("a", 0, 1)], [4, 1], [50, 60, 70]),
        ([("a", 0, 3), ("b", 0, 0)], [1, 2, 3], [50, B + 60, B + 70]),
        ([("c", 2, 2), ("a", 0, 2)], [1, 2], [C + 50, 60, 70]),
    ],
    ids=str,
)
def test_stacked_layers_are_renumbered_and_ends_come_from_first_and_last(
    models, spans, layers, outside
):
    """A zero-length last slice is the known trick to choose lm_head and final norm."""
    found = outcome(passthrough(*spans), models)
    assert list(found) == names(len(layers))
    embedding, norm, head = outside
    assert found["model.embed_tokens.weight"] == embedding
    assert (found["model.norm.weight"], found["lm_head.weight"]) == (norm, head)
    assert [found[f"model.layers.{i}.mlp.up_proj.weight"] for i in range(len(layers))] == layers


def test_the_config_counts_the_stacked_layers(models):
    merged = merge(passthrough(("a", 0, 3), ("b", 1, 4)), models / "out")
    config = json.loads((merged.out / "config.json").read_text())
    assert config["num_hidden_layers"] == 6
    assert config["architectures"] == LLAMA["architectures"]


def test_layers_that_predict_further_tokens_count_on_after_the_stack(tmp_path):
    """DeepSeek-V3 keeps them as layers beyond num_hidden_layers; here layer 4 of 4."""
    config = LLAMA | {"num_hidden_layers": 4, "num_nextn_predict_layers": 1}
    constant_model(tmp_path / "a", numbered(A), layers=5, config=config)
    found = outcome(passthrough(("a", 0, 3), ("a", 1, 4)), tmp_path)
    up = [found[f"model.layers.{i}.mlp.up_proj.weight"] for i in range(7)]
    assert up == [1, 2, 3, 2, 3, 4, 5]


def test_merged_slices_pair_the_layers_of_their_sources(models):
    """linear of a[0:2] and b[2:4], weights 1 and 2, not normalised"""
    part = [source("a", 0, 2, weight=1), source("b", 2, 4, weight=2)]
    found = outcome(slices("linear", part, parameters={"normalize": False}), models)
    assert found["model.layers.0.mlp.up_proj.weight"] == 1 + 2 * (B + 3)
    assert found["model.layers.1.self_attn.q_proj.weight"] == 2 + 2 * (B + 4)
    assert found["model.norm.weight"] == 60 + 2 * (B + 60)


def test_a_slice_may_have_a_base_of_its_own(models):
    first = {"sources": [source("a", 0, 2), source("c", 0, 2, weight=1)]}
    second = {"sources": [source("b", 2, 4), source("c", 2, 4, weight=0.5)], "base_model": "b"}
    found = outcome(slices("task_arithmetic", first, second, base_model="a"), models)
    assert found["model.layers.1.mlp.up_proj.weight"] == C + 2
    assert found["model.layers.2.mlp.up_proj.weight"] == B + 3 + 0.5 * (C - B)
    assert found["model.embed_tokens.weight"] == C + 50
    assert found["lm_head.weight"] == B + 70 + 0.5 * (C - B)


@pytest.mark.parametrize("dtype", [None, "float16"])
def test_a_lone_source_of_slerp_is_copied(models, dtype):
    """mergekit 0.1.4 did so; `dtype` holds for the copy as well, or the output would be mixed."""
    parts = ([source("a", 0, 2), source("b", 0, 2)], [source("b", 2, 4)])
    recipe = slices("slerp", *parts, base_model="a", parameters={"t": 0.5})
    recipe |= {"dtype": dtype} if dtype else {}
    merged = merge(recipe, models / "out")
    tensors = merged.tensors()
    assert float(tensors["model.layers.3.mlp.up_proj.weight"][0, 0]) == B + 4
    assert float(tensors["lm_head.weight"][0, 0]) == B + 70
    assert len({tensor.dtype for tensor in tensors.values()}) == 1
    reasons = {output.name: output.reason for output in merged.plan.graph.outputs}
    assert reasons["lm_head.weight"] == "the slice has a single source"
    assert reasons["model.layers.0.mlp.up_proj.weight"] == ""


@pytest.mark.parametrize("method", ["slerp", "nuslerp", "arcee_fusion", "model_stock"])
def test_a_lone_model_is_no_slice(models, method):
    recipe = {"merge_method": method, "base_model": "a", "models": [{"model": "a"}]}
    recipe["parameters"] = {"t": 0.5} if method == "slerp" else {}
    with pytest.raises(InputError, match=f"wrong number of models for {method} @ \\$.models: got"):
        outcome(recipe, models)


def test_slices_without_any_layer_are_refused(models):
    empty = [source("a", 2, 2)], [source("b", 0, 0)]
    message = (
        r"model without layers @ \$\.slices: got layer_range \[2, 2\], layer_range \[0, 0\]; wanted"
    )
    with pytest.raises(InputError, match=message):
        outcome(slices("passthrough", *empty), models)
    assert outcome(slices("passthrough", *empty, [source("b", 0, 1)]), models)


def test_the_same_model_twice_is_two_inputs(models):
    part = [source("a", 0, 2, weight=1), source("a", 2, 4, weight=1)]
    found = outcome(slices("linear", part), models)
    assert found["model.layers.0.mlp.up_proj.weight"] == (1 + 3) / 2
    both = [{"model": "b", "parameters": {"weight": weight}} for weight in (1, 3)]
    recipe = {"merge_method": "linear", "models": both, "parameters": {"normalize": False}}
    assert outcome(recipe, models)["lm_head.weight"] == 4 * (B + 70)


def test_the_same_model_twice_has_two_masks_and_two_weights(models):
    tuned = [{"model": "b", "parameters": {"weight": weight}} for weight in (1, 2)]
    recipe = {
        "merge_method": "dare_linear",
        "base_model": "a",
        "models": tuned,
        "parameters": {"density": 0.5},
    }
    build = compile_mapping(recipe, models / "recipe.yml").build
    resolved = build.parameters["lm_head.weight"]
    assert (resolved["weight of b"], resolved["weight of b#2"]) == (1, 2)
    ops = (node.op for node in build.graph.nodes())
    keys = {op.key.model for op in ops if isinstance(op, RandomDrop)}
    assert keys == {"b", "b#2"}


def test_a_base_that_is_not_listed_is_an_input_of_linear_and_needs_a_weight(models):
    """Rule 6: a global weight serves."""
    listed = [{"model": "b", "parameters": {"weight": 1}}]
    recipe = {"merge_method": "linear", "base_model": "a", "models": listed}
    with pytest.raises(InputError, match="linear needs parameter 'weight'"):
        outcome(recipe, models)
    found = outcome(recipe | {"parameters": {"weight": 3}}, models)
    assert found["model.norm.weight"] == pytest.approx((3 * 60 + B + 60) / 4)


def test_the_weight_of_a_listed_base_is_ignored_by_task_vectors(models):
    listed = [{"model": name, "parameters": {"weight": 1}} for name in ("a", "b")]
    recipe = {"merge_method": "task_arithmetic", "base_model": "a", "models": listed}
    assert outcome(recipe, models)["model.norm.weight"] == B + 60


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        (
            slices("passthrough", [source("a", 0, 5)]),
            (
                r"layer_range goes beyond the model @ \$\.slices\[0\]\.sources\[0\]\.layer_range: "
                r"got \[0, 5\]; wanted at most 4 layers"
            ),
        ),
        (
            slices("slerp", [source("a", 0, 4), source("b", 0, 4)], parameters={"t": 0.5}),
            r"slerp needs a base model @ \$\.slices\[0\]",
        ),
        (
            slices(
                "slerp",
                [source("a", 0, 4), source("b", 0, 4)],
                [source("b", 4, 4), source("c", 4, 4)],
                base_model="a",
                parameters={"t": 0.5},
            ),
            r"the base model is not among the sources.*@ \$\.slices\[1\]: got b, c",
        ),
        (
            slices(
                "slerp",
                [source("a", 0, 2), source("b", 0, 2), source("c", 0, 2)],
                base_model="a",
                parameters={"t": 0.5},
            ),
            r"wrong number of models for slerp @ \$\.slices\[0\]: got 3 \(a, b, c\); wanted 2",
        ),
        (
            slices("passthrough", [source("a", 0, 2), source("b", 0, 2)]),
            r"wrong number of models for passthrough.*got 2",
        ),
        (
            slices("ties", [source("a", 0, 2)], base_model="a"),
            r"wrong number of models for ties.*got 1 \(a\); wanted at least 2, the base included",
        ),
        (
            slices("linear", [source("a", 0, 2), source("b", 0, 3)], parameters={"weight": 1}),
            r"layer",
        ),
        (slices("passthrough", [source("a", 3, 1)]), r"layer_range"),
        (
            {"merge_method": "passthrough", "modules": {"nonsense": {"models": [{"model": "a"}]}}},
            r"no tensor belongs to module 'nonsense' @ \$\.modules\.nonsense; wanted a part of",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_wrong_with_slices_is_said_before_any_work(models, recipe, message):
    with pytest.raises(InputError, match=message):
        compile_mapping(recipe, models / "recipe.yml")


def test_all_that_is_wrong_is_said_at_once(models):
    recipe = slices(
        "slerp",
        [source("a", 0, 9), source("b", 0, 9)],
        [source("a", 0, 1), source("b", 0, 1), source("c", 0, 1)],
        base_model="c",
        parameters={"t": 0.5, "weigth": 1},
    )
    with pytest.raises(InputError) as caught:
        compile_mapping(recipe, models / "recipe.yml")
    text = str(caught.value)
    for part in ("weigth", "beyond the model", "not among the sources", "wrong number of models"):
        assert part in text


def test_a_stack_of_two_halves_reads_each_byte_once(models):
    merged = merge(passthrough(("a", 0, 2), ("b", 2, 4)), models / "out", budget_bytes=GIB)
    assert merged.report.read_bytes == merged.report.written_bytes == len(names()) * 24
