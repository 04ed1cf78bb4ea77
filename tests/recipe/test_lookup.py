import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphmerge.errors import RecipeError
from graphmerge.recipe import REQUIRED, Conditional, ParameterSpec, evaluate, layer_fraction

MLP = "model.layers.3.mlp.up_proj.weight"


def spec(kind=float, default=REQUIRED):
    return ParameterSpec("weight", kind, default, per_model=True, doc="")


def look_up(*values, parameter=None, t=0.0, tensor_name=MLP):
    """The value when the given candidates are in one scope each, the innermost first."""
    scopes = [{"weight": value} if value else {} for value in values]
    return evaluate(parameter or spec(), scopes=scopes, tensor_name=tensor_name, t=t, method="ties")


def gradient(*points):
    return (Conditional(points),)


def test_the_innermost_scope_wins():
    assert look_up((Conditional(1.0),), (Conditional(2.0),)) == 1.0
    assert look_up((), (Conditional(2.0),), (Conditional(3.0),)) == 2.0


def test_the_first_match_wins():
    assert look_up((Conditional(1.0, "attn"), Conditional(2.0, "mlp"), Conditional(3.0))) == 2.0


def test_a_filter_is_a_substring_and_no_pattern():
    assert look_up((Conditional(1.0, "layers.*"), Conditional(2.0, "s.3.m"))) == 2.0


def test_a_list_without_a_match_falls_through():
    assert look_up((Conditional(1.0, "attn"),), (Conditional(2.0),)) == 2.0
    assert look_up((Conditional(1.0, "attn"),), parameter=spec(default=0.25)) == 0.25


def test_an_empty_value_counts_as_not_given():
    scopes = [{"weight": ()}, {"weight": (Conditional(2.0),)}]
    assert evaluate(spec(), scopes=scopes, tensor_name=MLP, t=0.0) == 2.0


def test_a_required_parameter_that_is_missing():
    message = rf"ties needs parameter 'weight' @ tensor {MLP} "
    with pytest.raises(RecipeError, match=message + r"\(no filter fits the tensor"):
        look_up((Conditional(1.0, "attn"),))
    with pytest.raises(RecipeError, match=message + r"\(give it in 'parameters:' of the model or"):
        look_up(())


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        (float, 1, 1.0),
        (float, True, 1.0),
        (float, "1e-3", 0.001),
        (int, 7, 7),
        (int, "7", 7),
        (int, 7.0, 7),
        (int, True, 1),
        (bool, 0, False),
        (bool, "false", False),
        (bool, "yes", True),
        (str, "mass", "mass"),
    ],
)
def test_values_become_the_kind_of_the_parameter(kind, value, expected):
    result = look_up((Conditional(value),), parameter=spec(kind))
    assert result == expected
    assert type(result) is kind


@pytest.mark.parametrize("value", ["x", "nan", 1e39, -1e300, 10**400])
def test_a_value_of_a_wrong_kind(value):
    """Numbers that float32 does not have would be infinite in arithmetic."""
    with pytest.raises(RecipeError, match=r"wrong value .*'weight': .*; wanted a finite number"):
        look_up((Conditional(value),))


@pytest.mark.parametrize(
    ("t", "expected"), [(0.0, 0.0), (0.25, 0.5), (0.5, 1.0), (0.75, 0.6), (1.0, 0.2)]
)
def test_a_gradient_is_linear_between_its_points(t, expected):
    assert look_up(gradient(0, "1", 0.2), t=t) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("t", "expected"), [(0.0, True), (0.49, True), (0.5, False), (0.99, False), (1.0, True)]
)
def test_a_gradient_of_booleans_has_steps(t, expected):
    assert look_up(gradient("yes", 0, "true"), parameter=spec(bool), t=t) is expected


def test_a_gradient_of_integers_is_rounded():
    assert look_up(gradient(1, 10), parameter=spec(int), t=0.3) == 4


def test_a_gradient_of_text_has_steps():
    assert look_up(gradient("a", "b"), parameter=spec(str), t=0.9) == "a"


points = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=9)
fractions = st.floats(0, 1)


@given(points)
def test_a_gradient_takes_its_end_points_exactly(values):
    assert look_up(gradient(*values), t=0.0) == values[0]
    assert look_up(gradient(*values), t=1.0) == values[-1]


@given(points, fractions)
def test_a_gradient_stays_between_its_points(values, t):
    slack = 1e-9 * max(map(abs, values))
    assert min(values) - slack <= look_up(gradient(*values), t=t) <= max(values) + slack


@given(st.floats(-1e6, 1e6), fractions)
def test_a_gradient_of_equal_points_is_constant(value, t):
    assert look_up(gradient(value, value, value), t=t) == value


@given(points, fractions, fractions)
def test_a_rising_gradient_rises(values, first, second):
    rising = gradient(*sorted(values))
    early, late = (look_up(rising, t=t) for t in sorted((first, second)))
    assert early <= late + 1e-9 * max(map(abs, values))


@pytest.mark.parametrize(
    ("index", "length", "expected"),
    [(None, 8, 0.0), (0, 5, 0.0), (1, 5, 0.25), (4, 5, 1.0), (0, 1, 1.0)],
)
def test_layer_fractions(index, length, expected):
    assert layer_fraction(index, length) == expected
