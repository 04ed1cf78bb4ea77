"""A function's signature says which parameters recipes have."""

import re
from typing import Literal

import pytest
from plugin_recipes import recipe

import graphmerge as gm
from graphmerge.errors import RecipeError
from graphmerge.methods.registry import METHODS
from graphmerge.plugins.signatures import signature_of
from graphmerge.recipe.signature import REQUIRED


def test_parameters_have_names_kinds_and_defaults():
    @gm.merge_method("mine")
    def mine(
        tensors,
        *,
        weight: list[float],
        order: list[int] = [2],  # noqa: B006 - a type checker wants a list
        t: float = 1,
        steps: int = 3,
        strict: bool = False,
        mode: Literal["mean", "sum"] = "sum",
        note: str = "",
        lambda_: float = 0.5,
    ):
        return tensors[0]

    found = METHODS["mine"].parameters
    assert [(spec.name, spec.kind, spec.default) for spec in found] == [
        ("weight", float, REQUIRED),
        ("order", int, 2),
        ("t", float, 1.0),
        ("steps", int, 3),
        ("strict", bool, False),
        ("mode", str, "sum"),
        ("note", str, ""),
        ("lambda", float, 0.5),
    ]
    assert isinstance(found[2].default, float)
    assert [spec.name for spec in found if spec.per_model] == ["weight", "order"]
    assert [spec.choices for spec in found if spec.choices] == [("mean", "sum")]


def test_values_arrive_in_the_types_of_the_annotations(folder):
    seen = []

    @gm.merge_method("mine")
    def mine(
        tensors,
        *,
        weight: list[float],
        votes: list[int],
        t: float,
        steps: int,
        strict: bool,
        mode: Literal["mean", "sum"],
        lambda_: float = 2.0,
    ):
        seen.append((weight, votes, t, steps, strict, mode, lambda_))
        return tensors[0]

    one = ("one", {"weight": 1, "votes": 3})
    two = ("two", {"weight": 0.5, "votes": 4})
    folder.compiled(recipe("mine", one, two, t=1, steps=2, strict=1, mode="mean"))
    assert seen[0] == ([1.0, 0.5], [3, 4], 1.0, 2, True, "mean", 2.0)
    weight, votes, *others = seen[0]
    assert [type(value) for value in (weight[0], votes[0], *others)] == [
        float, int, float, int, bool, str, float,
    ]  # fmt: skip


@pytest.mark.parametrize("first_line", ["", "from __future__ import annotations"])
def test_annotations_may_be_texts(folder, first_line):
    """What only type checkers import need not be there when the file runs."""
    imports = (
        "from typing import Literal\nfrom torch import Tensor\nfrom graphmerge import MergeInputs"
    )
    if first_line:
        indented = imports.replace("\n", "\n    ")
        imports = f"from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    {indented}"
    lines = (
        first_line,
        "import graphmerge as gm",
        imports,
        "@gm.merge_method('method')",
        "def method(tensors: list[Tensor], *, weight: list[float], n: int = 1,",
        "           mode: Literal['a', 'b'] = 'a') -> Tensor:",
        "    return tensors[0]",
        "@gm.merge_graph('graph')",
        "def graph(nodes, *, merge: MergeInputs, weight: list[float]):",
        "    return nodes[0]",
    )
    folder.write("mine.py", "\n".join(lines))
    folder.write("recipe.yml", recipe("method", "one", "two", weight=1))
    assert folder.invoke("validate", "recipe.yml", "--plugin", "mine.py").exit_code == 0
    found = [(p.name, p.kind, p.per_model, p.choices) for p in METHODS["method"].parameters]
    assert found == [
        ("weight", float, True, ()), ("n", int, False, ()), ("mode", str, False, ("a", "b")),
    ]  # fmt: skip
    assert [parameter.name for parameter in METHODS["graph"].parameters] == ["weight"]


def nothing():
    pass


def by_name_only(*, tensors):
    pass


def starred(*tensors):
    pass


def unannotated(tensors, *, t):
    pass


def unknown_annotation(tensors, *, t: dict[str, float]):
    pass


def optional(tensors, *, t: float | None = None):
    pass


def numbers_to_choose(tensors, *, mode: Literal[1, 2] = 1):
    pass


def missing_name(tensors, *, t: "Nowhere"):  # noqa: F821 - that is what is wrong with it
    pass


def any_keyword(tensors, **others: float):
    pass


def position_only(tensors, t: float, /):
    pass


def default_of_another_kind(tensors, *, steps: int = 0.5):
    pass


def default_not_a_choice(tensors, *, mode: Literal["a", "b"] = "c"):
    pass


def default_for_each_model(tensors, *, weight: list[float] = (1.0, 2.0)):
    pass


WRONG = {
    nothing: "the first parameter takes the list of tensors",
    by_name_only: "the first parameter takes the list of tensors",
    starred: "the first parameter takes the list of tensors",
    unannotated: "no annotation that recipes know",
    unknown_annotation: "no annotation that recipes know",
    optional: "no annotation that recipes know",
    numbers_to_choose: "no annotation that recipes know",
    missing_name: "no annotation that recipes know",
    any_keyword: "a parameter that cannot be given by name",
    position_only: "a parameter that cannot be given by name",
    default_of_another_kind: "wanted an integer",
    default_not_a_choice: "wanted one of a, b",
    default_for_each_model: "wanted a finite number, the same for every model",
}


@pytest.mark.parametrize("function", WRONG, ids=lambda function: function.__name__)
def test_a_signature_that_recipes_cannot_use_is_refused(function):
    with pytest.raises(RecipeError, match=re.escape(WRONG[function])) as error:
        signature_of(function)
    assert f"test_signatures.{function.__name__}" in str(error.value)
    with pytest.raises(RecipeError):
        gm.merge_method("mine")(function)
    assert "mine" not in METHODS


@pytest.mark.parametrize(
    ("decorate", "message"),
    [
        (lambda: gm.merge_method("mine", base="optionl"), "wrong base of method 'mine': got 'opt"),
        (lambda: gm.merge_method("mine", access="foo"), "wanted one of whole, rows, elementwise"),
        (lambda: gm.merge_graph("mine", base=True), "wanted one of required, none"),
        (lambda: gm.merge_method(nothing), "no name of a method: got <function nothing"),
        (lambda: gm.merge_graph(nothing), "no name of a method: got <function nothing"),
    ],
)
def test_a_wrong_argument_of_a_decorator_is_refused(decorate, message):
    with pytest.raises(RecipeError, match=message):
        decorate()


def test_every_wrong_parameter_is_told():
    def wrong(tensors, *, t, s: dict):
        pass

    with pytest.raises(RecipeError) as error:
        signature_of(wrong)
    assert [problem.where[-1] for problem in error.value.problems] == ["t", "s"]


def test_a_method_may_be_defined_again_as_in_a_notebook(folder):
    for default in (1, 2):

        @gm.merge_method("mine")
        def mine(tensors, number: int = default):
            return tensors[0]

    assert METHODS["mine"].parameters[0].default == 2


def test_a_parameter_without_default_must_be_given(folder):
    @gm.merge_method("mine")
    def mine(tensors, *, weight: list[float], t: float):
        return tensors[0]

    with pytest.raises(gm.InputError, match=r"mine needs parameter 't' @ tensor model.layers.0"):
        folder.compiled(recipe("mine", "one", "two", weight=0.5))
    with pytest.raises(gm.InputError, match=r"mine needs parameter 'weight' @ tensor model.layers"):
        folder.compiled(recipe("mine", ("one", {"weight": 0.5}), "two", t=0.5))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"t": "much"}, "wrong value of parameter 't' @ $.parameters.t: got 'much'"),
        ({"steps": 1.5}, "wanted an integer"),
        ({"mode": "c"}, "wanted one of a, b"),
        ({"step": 1}, "did you mean 'steps'?"),
    ],
)
def test_what_a_recipe_gives_is_checked(folder, given, message):
    @gm.merge_method("mine")
    def mine(tensors, *, t: float = 0, steps: int = 1, mode: Literal["a", "b"] = "a"):
        return tensors[0]

    with pytest.raises(gm.InputError, match=re.escape(message)):
        folder.compiled(recipe("mine", "one", "two", **given))
