"""Rules 1 to 4 of mergekit recipes: which value a parameter has for a tensor.

A linear merge of one model of ones, not normalised, outputs its weight; task arithmetic of ones on
a base of zeros with weight 1 outputs lambda.
"""

import pytest
from constant_models import AFTER, BEFORE, LAYERS, constant_model, layer_of, names, outcome

from graphmerge.errors import InputError
from graphmerge.testing.merging import compile_mapping

NOT_GIVEN = object()


@pytest.fixture
def models(tmp_path):
    constant_model(tmp_path / "zeros", 0.0)
    constant_model(tmp_path / "ones", 1.0)
    return tmp_path


def given(**parameters):
    kept = {name: value for name, value in parameters.items() if value is not NOT_GIVEN}
    return {"parameters": kept} if kept else {}


def weights(models, *, source=NOT_GIVEN, part=NOT_GIVEN, outer=NOT_GIVEN, span=(0, LAYERS)):
    """Weight of every output tensor, with weights given in up to three scopes."""
    listed = {"model": "ones", "layer_range": list(span), **given(weight=source)}
    slices = [{"sources": [listed], **given(weight=part)}]
    top = {"normalize": False} | ({} if outer is NOT_GIVEN else {"weight": outer})
    recipe = {"merge_method": "linear", "slices": slices, "parameters": top}
    return outcome(recipe, models)


def lambdas(models, *, part=NOT_GIVEN, outer=NOT_GIVEN, span=(0, LAYERS)):
    """lambda of every output tensor, with lambdas given in up to two scopes."""
    sources = [
        {"model": "zeros", "layer_range": list(span)},
        {"model": "ones", "layer_range": list(span), **given(weight=1)},
    ]
    slices = [{"sources": sources, **given(**{"lambda": part})}]
    recipe = {"merge_method": "task_arithmetic", "base_model": "zeros", "slices": slices}
    return outcome(recipe | given(**{"lambda": outer}), models)


@pytest.mark.parametrize(
    ("scopes", "wanted"),
    [
        ({"source": 2, "part": 3, "outer": 4}, 2),
        ({"part": 3, "outer": 4}, 3),
        ({"outer": 4}, 4),
        ({"source": [], "part": 3}, 3),
        ({"source": 0, "part": 3}, 0),
        ({"source": "1e-1", "part": 3}, pytest.approx(0.1)),
    ],
    ids=str,
)
def test_the_innermost_scope_wins_for_per_model_parameters(models, scopes, wanted):
    """Rule 1: source, slice, global; an empty list counts as not given."""
    assert weights(models, **scopes) == dict.fromkeys(names(), wanted)


@pytest.mark.parametrize(
    ("scopes", "wanted"),
    [({"part": 3, "outer": 4}, 3), ({"outer": 4}, 4), ({}, 1)],
    ids=str,
)
def test_the_innermost_scope_wins_for_the_methods_parameters(models, scopes, wanted):
    """Rule 1: slice, global, default."""
    assert set(lambdas(models, **scopes).values()) == {wanted}


def test_a_parameter_without_value_or_default_is_an_error(models):
    message = r"linear needs parameter 'weight'"
    with pytest.raises(InputError, match=message):
        weights(models)


def test_an_unlisted_base_of_linear_needs_a_weight_of_its_own(models):
    listed = [{"model": "ones", "parameters": {"weight": 1}}]
    recipe = {"merge_method": "linear", "base_model": "zeros", "models": listed}
    message = r"'weight' @ tensor .*: got none for zeros \(the base model is merged as one"
    with pytest.raises(InputError, match=message):
        outcome(recipe, models)


@pytest.mark.parametrize("form", ["models", "slices"])
def test_a_parameter_of_the_merge_that_a_model_has_is_told_where_it_is_missed(models, form):
    sources = [{"model": name, "parameters": {"t": 0.5}} for name in ("ones", "zeros")]
    recipe = {"merge_method": "slerp", "base_model": "ones", "models": sources}
    if form == "slices":
        del recipe["models"]
        recipe["slices"] = [{"sources": [one | {"layer_range": [0, 1]} for one in sources]}]
    with pytest.raises(InputError) as caught:
        outcome(recipe, models)
    place = {"models": "$.models", "slices": "$.slices[0].sources"}[form]
    assert [problem.where for problem in caught.value.problems] == [
        f"{place}[{number}].parameters.t" for number in range(2)
    ]
    assert {problem.hint for problem in caught.value.problems} == {"move it to $.parameters"}
    assert outcome(recipe | {"parameters": {"t": 0.5}}, models), "then the others have no effect"


def test_the_module_is_between_slice_and_recipe(models):
    module = {"models": [{"model": "ones"}], "parameters": {"weight": 3}}
    recipe = {
        "merge_method": "linear",
        "modules": {"model": module},
        "parameters": {"weight": 4, "normalize": False},
    }
    found = outcome(recipe, models)
    assert {value for name, value in found.items() if name.startswith("model.")} == {3}
    assert found["lm_head.weight"] == 1, "copied: in no module"


FILTERS = [
    ([{"filter": "mlp", "value": 2}, {"value": 3}], lambda n: 2 if "mlp" in n else 3),
    ([{"value": 3}, {"filter": "mlp", "value": 2}], lambda _: 3),
    ([{"filter": "*", "value": 3}, {"filter": "mlp", "value": 2}], lambda _: 3),
    (
        [{"filter": "layers.1", "value": 2}, {"filter": "lm_head", "value": 5}],
        lambda n: 2 if "layers.1" in n else 5 if "lm_head" in n else 9,
    ),
    (
        [{"filter": "proj", "value": [0, 3]}, {"filter": "e", "value": 7}],
        lambda n: layer_of(n) if "proj" in n else 7,
    ),
    ({"filter": "norm", "value": 2}, lambda n: 2 if "norm" in n else 9),
]


@pytest.mark.parametrize(("value", "wanted"), FILTERS, ids=lambda v: "" if callable(v) else str(v))
def test_the_first_filter_in_the_name_wins_and_no_match_falls_through(models, value, wanted):
    """Rule 2, with 9 in the scope outside."""
    for found in (
        weights(models, source=value, outer=9),
        weights(models, part=value, outer=9),
        lambdas(models, part=value, outer=9),
    ):
        assert found == pytest.approx({name: wanted(name) for name in names()})


def test_per_model_filters_see_the_input_name_and_the_methods_see_the_outputs(models):
    """Rule 3: layers 2 and 3 of the model become layers 0 and 1."""
    value = [{"filter": f"layers.{layer}.", "value": 10 + layer} for layer in range(LAYERS)]
    per_model = weights(models, source=value, outer=9, span=(2, 4))
    of_method = lambdas(models, part=value, outer=9, span=(2, 4))
    for name in names(2):
        layer = layer_of(name)
        assert per_model[name] == (9 if layer is None else 12 + layer)
        assert of_method[name] == (9 if layer is None else 10 + layer)


@pytest.mark.parametrize("points", [[5], [0, 3], [0, 3, 6], [1, 0, 0, 1, 5], [2, 8, -4]], ids=str)
def test_a_gradient_runs_over_the_layers_and_starts_outside_them(models, points):
    """Rule 4: t = i / (L - 1), linear between the points; t = 0 outside the layers."""
    found = weights(models, source=points)
    for name in names():
        t = 0 if layer_of(name) is None else layer_of(name) / (LAYERS - 1)
        low = min(int(t * (len(points) - 1)), max(len(points) - 2, 0))
        high = min(low + 1, len(points) - 1)
        share = t * (len(points) - 1) - low
        assert found[name] == pytest.approx(points[low] + share * (points[high] - points[low]))


def test_a_gradient_starts_anew_in_every_slice(models):
    slices = [
        {"sources": [{"model": "ones", "layer_range": span}], "parameters": {"weight": [2, 4]}}
        for span in ([0, 3], [0, 2], [1, 2], [3, 3])
    ]
    recipe = {"merge_method": "linear", "slices": slices, "parameters": {"normalize": False}}
    found = outcome(recipe, models)
    by_layer = {layer_of(name): value for name, value in found.items()}
    assert by_layer == {None: 2, 0: 2, 1: 3, 2: 4, 3: 2, 4: 4, 5: 4}


def test_a_gradient_of_booleans_takes_the_element_below(models):
    """normalize: [true, false, true] over 4 layers, of two models of ones with weight 1."""
    listed = [{"model": "ones"}, {"model": "./ones"}]
    recipe = {
        "merge_method": "linear",
        "models": listed,
        "parameters": {"weight": 1, "normalize": [True, False, True]},
    }
    found = outcome(recipe, models)
    by_layer = {layer_of(name): value for name, value in found.items()}
    assert by_layer == {None: 1, 0: 1, 1: 1, 2: 2, 3: 1}


def test_gradients_go_over_the_layers_of_the_models_form_too(models):
    recipe = {
        "merge_method": "linear",
        "models": [{"model": "ones", "parameters": {"weight": [0, 3]}}],
        "parameters": {"normalize": False},
    }
    found = outcome(recipe, models)
    assert found == {name: layer_of(name) or 0 for name in names()}
    assert [name for name in found if layer_of(name) is None] == [*BEFORE, *AFTER]


def test_the_resolved_values_are_in_the_manifest_by_model(models):
    sources = [
        {"model": "zeros", "layer_range": [0, 4]},
        {"model": "ones", "layer_range": [0, 4], "parameters": {"weight": [0, 3]}},
    ]
    recipe = {
        "merge_method": "task_arithmetic",
        "base_model": "zeros",
        "slices": [{"sources": sources}],
        "parameters": {"lambda": [{"filter": "mlp", "value": 0.5}]},
    }
    found = compile_mapping(recipe, models / "recipe.yml").build.parameters
    assert found["model.layers.2.mlp.up_proj.weight"] == {
        "weight of ones": 2,
        "lambda": 0.5,
        "normalize": False,
    }
