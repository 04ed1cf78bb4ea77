import pytest

from graphmerge.recipe import (
    REQUIRED,
    MethodSignature,
    ParameterCheck,
    ParameterSpec,
    check_parameters,
    parse_recipe,
    suggest,
)

TIES = MethodSignature(
    "ties",
    (
        ParameterSpec("weight", float, REQUIRED, per_model=True, doc="Its share."),
        ParameterSpec(
            "normalize", bool, default=True, per_model=False, doc="Divide by the weights."
        ),
        ParameterSpec("steps", int, 10, per_model=False, doc="How often."),
        ParameterSpec(
            "vote", str, "mass", per_model=False, doc="Who wins.", choices=("mass", "count")
        ),
    ),
)


ALL_NAMES = {parameter.name for parameter in TIES.parameters} | {"t", "density"}


def check(text):
    recipe = parse_recipe(f"merge_method: ties\n{text}")
    return check_parameters(recipe, TIES, all_names=lambda: ALL_NAMES)


def places(found):
    return [(problem.where, problem.hint) for problem in found]


def test_a_good_recipe_has_no_problems():
    text = """
models: [{model: a, parameters: {weight: [0, "1e-3", true]}}]
parameters: {weight: 1, normalize: no, steps: [1, "2", 3.0], vote: {filter: mlp, value: count}}
"""
    assert check(text) == ParameterCheck((), ())


SLICES = """
slices:
  - sources: [{model: a, layer_range: [0, 1], parameters: {weight: x, normalize: true}}]
    parameters: {wieght: 1}
"""
MODULES = """
modules:
  text: {models: [{model: a}, {model: b, parameters: {steps: 2}}], parameters: {Vote: mass}}
"""


def test_problems_of_slices_have_their_paths():
    assert places(check(SLICES).problems) == [
        ("$.slices[0].parameters.wieght", "did you mean 'weight'?"),
        ("$.slices[0].sources[0].parameters.weight", ""),
    ]


def test_problems_of_modules_have_their_paths():
    assert places(check(MODULES).problems) == [
        ("$.modules.text.parameters.Vote", "did you mean 'vote'?")
    ]


def test_a_parameter_of_the_merge_has_no_effect_in_one_model():
    hint = "move it to $.parameters"
    assert places(check(SLICES).warnings) == [("$.slices[0].sources[0].parameters.normalize", hint)]
    assert places(check(MODULES).warnings) == [("$.modules.text.models[1].parameters.steps", hint)]


def test_a_parameter_of_another_method_has_no_effect():
    found = check("models: [{model: a, parameters: {density: none at all}}]\nparameters: {t: 1}")
    assert found.problems == ()
    assert [str(warning) for warning in found.warnings] == [
        "parameter 't' has no effect on ties @ $.parameters.t",
        "parameter 'density' has no effect on ties @ $.models[0].parameters.density",
    ]


@pytest.mark.parametrize(
    ("entries", "later", "earlier"),
    [
        ("[{value: 0.3}, {filter: mlp, value: 1}]", "filter 'mlp'", "a value without filter"),
        ("[0.3, {filter: mlp, value: 1}]", "filter 'mlp'", "a value without filter"),
        ("[{filter: '*', value: 0}, {filter: mlp, value: 1}]", "filter 'mlp'", "a value without"),
        ("[{value: 0.3}, {value: 1}]", "a value without filter", "a value without filter"),
        ("[{filter: mlp, value: 1}, {filter: mlp.up, value: 0}]", "filter 'mlp.up'", "filter 'mlp"),
        ("[{filter: mlp, value: 1}, {filter: mlp, value: 0}]", "filter 'mlp'", "filter 'mlp'"),
    ],
)
def test_an_entry_behind_one_that_fits_its_tensors_has_no_effect(entries, later, earlier):
    found = check(f"models: [{{model: a, parameters: {{weight: {entries}}}}}]")
    (warning,) = found.warnings
    assert found.problems == ()
    assert warning.what.startswith(f"{later} of 'weight' has no effect: {earlier}")
    assert warning.where == "$.models[0].parameters.weight"


@pytest.mark.parametrize(
    "entries",
    [
        "[{filter: mlp.up, value: 1}, {filter: mlp, value: 0}, {value: 2}]",
        "[{filter: mlp, value: 1}, {value: 0}]",
        "[{value: 1}, {filter: mlp, value: 1}]",
    ],
)
def test_an_entry_for_other_tensors_or_of_the_same_value_is_not_told(entries):
    found = check(f"models: [{{model: a, parameters: {{weight: {entries}}}}}]")
    assert found == ParameterCheck((), ())


@pytest.mark.parametrize(
    ("count", "rest"), [(1, ""), (2, " and 1 more place"), (3, " and 2 more places")]
)
def test_one_warning_for_all_places(count, rest):
    models = ", ".join("{model: a, parameters: {density: 1}}" for _ in range(count))
    (warning,) = check(f"models: [{models}]").warnings
    assert warning.where == f"$.models[0].parameters.density{rest}"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("weight", '"true"'),
        ("weight", ".nan"),
        ("weight", "inf"),
        ("weight", "[1, x]"),
        ("normalize", "0.5"),
        ("normalize", "2"),
        ("normalize", "maybe"),
        ("steps", "1.5"),
        ("steps", "{filter: mlp, value: 1e-1}"),
        ("vote", "most"),
        ("vote", "1"),
    ],
)
def test_values_of_a_wrong_kind(name, value):
    (problem,) = check(f"models: [{{model: a}}]\nparameters: {{{name}: {value}}}").problems
    assert problem.where == f"$.parameters.{name}"
    assert problem.got
    assert problem.wanted


@pytest.mark.parametrize("value", ["1", "0", "1.0", "'false'", "yes", "Off", "[true, 0]"])
def test_values_that_stand_for_booleans(value):
    found = check(f"models: [{{model: a}}]\nparameters: {{normalize: {value}}}")
    assert found == ParameterCheck((), ())


def test_a_method_without_parameters():
    recipe = parse_recipe("merge_method: x\nmodels: [{model: a}]\nparameters: {t: 1}")
    found = check_parameters(recipe, MethodSignature("arcee_fusion", ()), all_names=tuple)
    (problem,) = found.problems
    assert str(problem) == "arcee_fusion has no parameter 't' @ $.parameters.t"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("weigth", "did you mean 'weight'?"),
        ("DARE-ties", "did you mean 'dare_ties'?"),
        ("A--B", "did you mean 'a__b'?"),
        ("zzz", ""),
        ("", ""),
    ],
)
def test_suggestions(name, expected):
    assert suggest(name, ("weight", "ties", "dare_ties", "dare_linear", "a__b")) == expected
