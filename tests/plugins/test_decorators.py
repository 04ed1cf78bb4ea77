"""What decorators of plug-ins refuse, and what is said of functions that return something wrong."""

import re

import numpy as np
import pytest
import torch

import graphmerge as gm
from graphmerge import compose
from graphmerge.methods import sparsifiers

NO_TEXT = (None, True, 1, b"x", ["x"], {"x"}, float("nan"), object(), np.array(["x"]))
NO_WORD = (*NO_TEXT, "", "optional", np.array(["none", "none"]))
NO_SIZE = (True, -1, 1.5, "8", float("inf"), [8], 1j, np.float32(8), np.array([8, 8]))
NO_FUNCTION = (None, 1, "x", torch.stack, int, [len], object())


def tensors_of(tensors):
    return tensors[0]


async def awaited(tensors):
    return tensors[0]


def yielded(tensors):
    yield tensors[0]


DECORATORS = {
    "merge_method": (gm.merge_method, "mine", gm.RecipeError),
    "merge_graph": (gm.merge_graph, "mine", gm.RecipeError),
    "sparsifier": (gm.sparsifier, "mine", gm.RecipeError),
    "checkpoint_reader": (gm.checkpoint_reader, ".mine", gm.CheckpointError),
}
ARGUMENTS = {
    "merge_method": {
        "base": NO_WORD,
        "access": NO_WORD,
        "workspace_bytes_per_element": NO_SIZE,
        **dict.fromkeys(("summary", "use_when", "paper"), NO_TEXT),
    },
    "merge_graph": {
        "base": NO_WORD,
        **dict.fromkeys(("summary", "use_when", "paper"), NO_TEXT),
    },
}
"""What each argument that has a name does not take."""
CASES = [(name, key) for name, arguments in ARGUMENTS.items() for key in arguments]


@pytest.fixture(autouse=True)
def known_sparsifiers(monkeypatch):
    """What a test registers is unknown to the next one."""
    monkeypatch.setattr(sparsifiers, "SPARSIFIERS", dict(sparsifiers.SPARSIFIERS))


@pytest.mark.parametrize(("decorator", "argument"), CASES)
def test_every_wrong_argument_is_refused_by_its_name(decorator, argument):
    decorate, name, _ = DECORATORS[decorator]
    for value in ARGUMENTS[decorator][argument]:
        with pytest.raises(
            gm.RecipeError, match=f"wrong {argument} of method 'mine': got"
        ) as caught:
            decorate(name, **{argument: value})
        assert "; wanted" in str(caught.value)


@pytest.mark.parametrize("decorator", DECORATORS)
def test_a_decorator_needs_a_name_and_a_function(decorator):
    decorate, name, kind = DECORATORS[decorator]
    for value in (*NO_TEXT, "", tensors_of):
        with pytest.raises(kind, match=r"no (name|suffix) of a .*: got .*; wanted"):
            decorate(value)
    for value in NO_FUNCTION:
        with pytest.raises(gm.RecipeError, match=f"'{name}' is not written above a function: got"):
            decorate(name)(value)
    for function in (awaited, yielded):
        with pytest.raises(gm.RecipeError, match=f"'{name}' returns .* in .*test_decorators.py"):
            decorate(name)(function)


def test_sizes_of_numpy_are_sizes(folder):
    gm.merge_method("first", workspace_bytes_per_element=np.int64(4))(tensors_of)
    assert gm.merge("first", ["one", "two"]).plan(memory_budget="4GiB").fits


WRONG = {
    "nothing": lambda value: None,
    "a tuple": lambda value: (value, value),
    "a generator": lambda value: (value for _ in range(2)),
    "a number": lambda value: 1.0,
    "an array": lambda value: np.ones(24),
}
NAMES = {"nothing": "NoneType", "a tuple": "tuple", "a generator": "generator",
         "a number": "float", "an array": "ndarray"}  # fmt: skip


@pytest.mark.parametrize("wrong", WRONG)
def test_what_a_function_returns_is_checked_with_method_function_and_file(folder, wrong):
    got = f": got {NAMES[wrong]}; wanted "

    @gm.merge_method("of_tensors")
    def of_tensors(tensors):
        return WRONG[wrong](tensors[0])

    @gm.merge_graph("of_nodes")
    def of_nodes(nodes):
        return WRONG[wrong](nodes[0])

    @gm.sparsifier("of_deltas")
    def of_deltas(merge, model, delta, density):
        return WRONG[wrong](delta)

    one, base = gm.load("one"), gm.load("base")
    calls = {
        "method of_tensors": lambda: gm.merge("of_tensors", [one]),
        "method of_nodes": lambda: gm.merge("of_nodes", [one]),
        "sparsifier of_deltas": lambda: gm.sparsify(one - base, density=0.5, method="of_deltas"),
    }
    for what, call in calls.items():
        with pytest.raises(gm.RecipeError, match=f"{what} returns something else") as caught:
            call()
        place = rf"function \S*{what.split()[1]} in \S*test_decorators\.py, in (merge|sparsify)\("
        assert re.search(place, str(caught.value)), str(caught.value)
        assert got in str(caught.value)


def fails(merge, model, delta, density):
    raise OSError("no table of densities\nhere")


def keeps_too_much(merge, model, delta, density):
    return compose.keep_largest(delta, 1 + density)


SPARSE = {
    fails: r"sparsifier thin fails: OSError: no table of densities @ tensor .*, "
    r"function fails in .*test_decorators\.py, line \d+, in sparsify\(",
    keeps_too_much: r"density out of range @ tensor .*, sparsifier thin, function keeps_too_much "
    r"in .*test_decorators\.py, in sparsify\(.*: got 1\.5; wanted 0 to 1",
}


@pytest.mark.parametrize("function", SPARSE, ids=lambda function: function.__name__)
def test_a_sparsifier_that_fails_is_named_with_its_line(folder, function):
    gm.sparsifier("thin")(function)
    delta = gm.load("one") - gm.load("base")
    with pytest.raises(gm.RecipeError, match=SPARSE[function]):
        gm.sparsify(delta, density=0.5, method="thin")


def test_a_sparsifier_is_a_method_of_sparsify_in_python_and_in_recipes(folder):
    @gm.sparsifier("half_of_the_largest")
    def half_of_the_largest(merge, model, delta, density):
        return compose.scale(compose.keep_largest(delta, density), 0.5)

    one, base = gm.load("one"), gm.load("base")
    thin = gm.sparsify(one - base, density=0.25, method="half_of_the_largest")
    by_hand = 0.5 * gm.sparsify(one - base, density=0.25)
    name = one.tensor_names[0]
    found, expected = (base + thin).tensor(name), (base + by_hand).tensor(name)
    torch.testing.assert_close(found, expected)
    assert gm.from_recipe(gm.to_recipe(base + thin)).tensor(name).equal(found)


def test_a_sparsifier_may_be_defined_again_but_not_take_the_name_of_another():
    def defined(name):
        @gm.sparsifier(name)
        def thin(merge, model, delta, density):
            return delta

    defined("thin")
    defined("thin")
    with pytest.raises(gm.RecipeError, match="there is a sparsifier 'random' already"):
        defined("random")
    with pytest.raises(gm.RecipeError, match="there is a sparsifier 'thin' already"):
        gm.sparsifier("thin")(fails)


def test_a_method_that_returns_the_task_vector_alone_is_told_what_is_missing(folder):
    @gm.merge_graph("forgetful", base="required")
    def forgetful(nodes):
        return compose.task_vector(nodes[1], nodes[0])

    with pytest.raises(
        gm.RecipeError, match=r"method forgetful returns a task vector @ .*function"
    ):
        gm.merge("forgetful", ["one"], base="base")
