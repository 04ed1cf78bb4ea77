import pytest

from graphmerge.errors import RecipeError
from graphmerge.recipe.yaml_loading import load_yaml


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{on: yes, off: no, y: n}", {"on": "yes", "off": "no", "y": "n"}),
        ("[true, False, null, ~, ]", [True, False, None, None]),
        ("[010, 0x10, 1_000, 1:30, 2001-01-01]", [10, "0x10", "1_000", "1:30", "2001-01-01"]),
        ("[1e-5, 1.0e-5, .5, 3., -2, +.5e+2]", ["1e-5", 1e-5, 0.5, 3.0, -2, 50.0]),
        ("['1', \"true\", .inf, .nan, 12e4567]", ["1", "true", ".inf", ".nan", "12e4567"]),
        ("{a: &a {x: 1, y: 2}, b: {<<: *a, y: 3}}", {"a": {"x": 1, "y": 2}, "b": {"x": 1, "y": 3}}),
    ],
)
def test_what_plain_text_stands_for(text, expected):
    assert load_yaml(text, origin="x") == expected


def test_a_key_that_comes_twice_is_refused():
    text = "models:\n  - weight: 1\n    density: 2\n    weight: 3\n"
    message = r"key 'weight' is given twice \(first in line 2\) @ r\.yaml, line 4, column 5"
    with pytest.raises(RecipeError, match=message):
        load_yaml(text, origin="r.yaml")


def test_a_key_that_was_merged_in_does_not_come_twice():
    text = "{a: {n: &A {<<: &B {x: 1}, x: 2}}, b: {<<: *A}}"
    assert load_yaml(text, origin="x") == {"a": {"n": {"x": 2}}, "b": {"x": 2}}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [1,\nb: 2", r"not valid YAML: .* @ r\.yaml, line 2, column 5"),
        ("a: 1\n--- \nb: 2", "several documents, where one is wanted"),
        ("a: !!python/object:os.x {}", r"could not determine a constructor .*, line 1, column 4"),
        ("!!bool maybe", "'maybe' is no boolean"),
        ("? [a]\n: 1", "unhashable key"),
        ("[" * 5000, "nested too deeply"),
        ("9" * 5000, "not valid YAML"),
        ('"\\UFFFFFFFF"', "not valid YAML"),
        ("a\0b", "not valid YAML: .*special characters"),
    ],
)
def test_what_is_not_yaml(text, message):
    with pytest.raises(RecipeError, match=message):
        load_yaml(text, origin="r.yaml")
