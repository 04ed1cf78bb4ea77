"""Whole models of unequal depth are refused: of the deeper ones, layers would be left out."""

import pytest
import torch
from constant_models import LLAMA, constant_model, names, outcome

import graphmerge as gm
from graphmerge.errors import InputError, RecipeError
from graphmerge.testing.merging import compile_mapping
from graphmerge.testing.stored_models import write_model

HINT = "use slices: to choose as many layers of each, in Python gm.stack_layers"


def linear(*models, **fields):
    listed = [{"model": model, "parameters": {"weight": 1}} for model in models]
    return {"merge_method": "linear", "models": listed, **fields}


def problems(recipe, folder):
    with pytest.raises(RecipeError) as caught:
        compile_mapping(recipe, folder / "recipe.yml")
    return [str(problem) for problem in caught.value.problems]


def warnings(recipe, folder):
    return compile_mapping(recipe, folder / "recipe.yml").build.graph.warnings


def model(folder, *lists, config=LLAMA):
    """A model with `PREFIX N` for the lists of blocks that it has."""
    split = (text.split() for text in lists)
    blocks = [f"{prefix}.{index}.w" for prefix, count in split for index in range(int(count))]
    tensors = {name: torch.ones(2, 3) for name in ("embed.weight", *blocks)}
    return write_model(folder, tensors, config=config)


@pytest.fixture
def models(tmp_path):
    """Models a and c of 4 layers, and b of 5."""
    for name, layers in (("a", 4), ("b", 5), ("c", 4)):
        constant_model(tmp_path / name, 1.0, layers=layers)
    return tmp_path


@pytest.mark.parametrize(
    ("listed", "got"),
    [
        ("ab", "a has 4, b has 5"),
        ("ba", "b has 5, a has 4"),
        ("acb", "a has 4, c has 4, b has 5"),
        ("aab", "a has 4, b has 5"),
    ],
)
def test_models_of_unequal_depth_are_one_error_in_either_order(models, listed, got):
    (problem,) = problems(linear(*listed), models)
    assert problem == (
        f"the models differ in their number of layers @ $.models: got {got} in model.layers; "
        f"wanted equal numbers ({HINT})"
    )


@pytest.mark.parametrize(("base", "other"), [("a", "b"), ("b", "a")])
def test_the_base_is_one_of_them(models, base, other):
    recipe = linear(other, base_model=base) | {"merge_method": "task_arithmetic"}
    (problem,) = problems(recipe, models)
    depths = {"a": 4, "b": 5}
    assert f"got {base} has {depths[base]}, {other} has {depths[other]} in" in problem


def test_a_module_inside_the_layers_is_compared(models):
    module = {"models": [{"model": "a"}, {"model": "b"}], "parameters": {"weight": 1}}
    (problem,) = problems({"merge_method": "linear", "modules": {"mlp": module}}, models)
    assert "number of layers @ $.modules.mlp.models: got a has 4, b has 5" in problem


def test_operations_name_their_inputs(models):
    graph = {"sum": {"op": "weighted-sum", "inputs": ["a", "b"], "weights": [1, 1]}}
    (problem,) = problems({"graph": graph, "output": "sum"}, models)
    assert "number of layers @ entry sum, $.inputs: got a has 4, b has 5" in problem


def test_so_it_is_in_python(models):
    a, b = (gm.load(models / name) for name in "ab")
    message = r"differ in their number of layers.*stack_layers"
    with pytest.raises(InputError, match=message):
        gm.merge("linear", [a, b], weight=[1, 1])
    with pytest.raises(InputError, match=message):
        gm.weighted_sum([b, a])


def test_what_takes_each_tensor_from_one_model_may_differ(models):
    choice = {"op": "where", "inputs": ["a", "b"], "tensors": "lm_head"}
    recipe = {"graph": {"mixed": choice}, "output": "mixed"}
    assert any("left out" in line for line in warnings(recipe, models))


def test_slices_may_cut_layers_of_models_of_unequal_depth(models):
    spans = ({"model": name, "layer_range": [0, 4]} for name in "ab")
    recipe = {"merge_method": "linear", "parameters": {"weight": 1}}
    assert len(outcome(recipe | {"slices": [{"sources": list(spans)}]}, models)) == len(names())


def test_a_module_outside_the_layers_may_be_of_models_of_unequal_depth(models):
    module = {"models": [{"model": "a"}, {"model": "b"}]}
    recipe = {"merge_method": "linear", "modules": {"lm_head": module}}
    assert len(outcome(recipe | {"parameters": {"weight": 1}}, models)) == len(names())


def test_every_stack_is_compared_with_its_own(tmp_path):
    model(tmp_path / "a", "encoder.block 2", "decoder.block 3", config={"is_encoder_decoder": True})
    model(tmp_path / "b", "encoder.block 2", "decoder.block 4", config={"is_encoder_decoder": True})
    (problem,) = problems(linear("a", "b"), tmp_path)
    assert "got a has 3, b has 4 in decoder.block;" in problem


def test_experts_are_no_layers(tmp_path):
    layers = LLAMA | {"num_hidden_layers": 1}
    model(tmp_path / "a", "model.layers.0.experts 2", config=layers)
    model(tmp_path / "b", "model.layers.0.experts 3", config=layers)
    (warning,) = warnings(linear("a", "b"), tmp_path)
    assert warning.endswith("model.layers.0.experts.2.w")
    for name, count in (("c", 2), ("d", 3)):
        model(tmp_path / name, f"experts {count}")
    assert any(line.endswith(": experts.2.w") for line in warnings(linear("c", "d"), tmp_path))


def test_layers_that_predict_further_tokens_do_not_count(tmp_path):
    """In a and b the third layer is such a one; b's config.json does not say so."""
    predicting = LLAMA | {"num_hidden_layers": 2, "num_nextn_predict_layers": 1}
    model(tmp_path / "a", "model.layers 3", config=predicting)
    model(tmp_path / "b", "model.layers 3", config=LLAMA | {"num_hidden_layers": 3})
    model(tmp_path / "c", "model.layers 2", config=LLAMA | {"num_hidden_layers": 2})
    assert not any("left out" in line for line in warnings(linear("a", "b"), tmp_path))
    assert any(line.endswith(": model.layers.2.w") for line in warnings(linear("c", "a"), tmp_path))


def test_models_without_layers_in_common_are_not_compared(tmp_path):
    model(tmp_path / "a", "model.layers 2", config=LLAMA | {"num_hidden_layers": 2})
    model(tmp_path / "b", "transformer.h 3", config={"n_layer": 3})
    write_model(tmp_path / "c", {"embed.weight": torch.ones(2, 3)})
    for other in "bc":
        with pytest.raises(InputError, match=r"has no tensor model\.layers\.0\.w"):
            compile_mapping(linear("a", other), tmp_path / "recipe.yml")
    left_out = "a: 2 tensors are left out"
    assert any(line.startswith(left_out) for line in warnings(linear("c", "a"), tmp_path))
