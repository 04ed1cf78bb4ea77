"""What every public function makes of arguments that make no sense, and of numbers from numpy."""

import inspect
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from expression_models import write_models

import graphmerge as gm


class Odd:
    """Of no use to any function."""


NOTHING = {
    "nothing": None,
    "a boolean": True,
    "not a number": float("nan"),
    "infinity": float("-inf"),
    "a complex number": (-1.0) ** 0.5,
    "an integer beyond any float": 10**400,
    "an empty text": "",
    "bytes": b"base",
    "an object": Odd(),
    "a class": float,
    "a set": {0.5, 0.25},
    "an empty list": [],
    "a list of lists": [[0.5]],
    "a list with nothing": [0.5, None],
    "a list of booleans": [True, False],
    "a list of anything": [{"value": 1}, Odd()],
    "a mapping": {"a": 1},
    "a mapping with a number for a key": {1: 2},
    "a filter without a value": {"filter": "mlp"},
    "a filter by a number": {"filter": 1, "value": 2},
    "a filter in a filter": {"filter": "mlp", "value": [{"value": 1}, {"value": 2}]},
    "a filter with infinity": [{"filter": "mlp", "value": float("inf")}, {"value": 1}],
    "a function of nothing": lambda: 0.5,
    "a function that fails": lambda tensor, layer, layers: 1 / 0,
    "a function that gives nothing": lambda tensor, layer, layers: None,
    "a boolean of numpy": np.bool_(1),
    "not a number, of numpy": np.float32("nan"),
    "a complex number of numpy": np.complex64(1j),
    "a matrix of numpy": np.ones((2, 2)),
    "rows of nothing of numpy": np.array([None, None]),
    "a tensor": torch.ones(2, 2),
}
"""Values that no argument takes, but for those that `SENSIBLE` names."""

FLAG, NONE, LIST = "a boolean", "nothing", "an empty list"
GRADIENTS = {"a matrix of numpy", "a tensor"}
FLAGS = {FLAG, "a boolean of numpy", "a list of booleans"}
SENSIBLE = {
    "merge, base": {NONE},
    "merge, dtype": {NONE},
    "merge, tokenizer": {NONE},
    "merge, embeddings": {NONE},
    "merge, chat_template": {NONE},
    "merge, statistics": {LIST},
    "merge, normalize": FLAGS,
    "sign_consensus, weights": {NONE} | GRADIENTS,
    "sign_consensus, normalize": FLAGS,
    "weighted_sum, weights": {NONE} | GRADIENTS,
    "weighted_sum, normalize": FLAGS,
    "plan, workers": {NONE},
    "plan, seed": {"an integer beyond any float"},
    "tensor, seed": {"an integer beyond any float"},
    "save, plan": {NONE},
    "save, chat_template": {NONE},
    "save, overwrite": {FLAG, "a boolean of numpy"},
    "save, strict": {FLAG, "a boolean of numpy"},
    "MergePlan.run, chat_template": {NONE},
    "MergePlan.run, overwrite": {FLAG, "a boolean of numpy"},
    "MergePlan.run, strict": {FLAG, "a boolean of numpy"},
}
"""Arguments, and those of the values that they do take."""

NORM = "model.norm.weight"


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A working directory with the models base, math and code; the three, loaded."""
    folder = tmp_path_factory.mktemp("arguments")
    write_models(folder, ["base", "math", "code"])
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield tuple(gm.load(name) for name in ("base", "math", "code"))


def halved(base):
    return (base / 2).plan(workers=1)


CALLS = {
    "load, model": lambda v, b, m, c: gm.load(v),
    "sparsify, delta": lambda v, b, m, c: gm.sparsify(v, density=0.5),
    "sparsify, density": lambda v, b, m, c: gm.sparsify(m - b, density=v),
    "sparsify, method": lambda v, b, m, c: gm.sparsify(m - b, density=0.5, method=v),
    "sparsify, rescale": lambda v, b, m, c: gm.sparsify(m - b, density=0.5, rescale=v),
    "sign_consensus, deltas": lambda v, b, m, c: gm.sign_consensus(v),
    "sign_consensus, a delta": lambda v, b, m, c: gm.sign_consensus([m - b, v]),
    "sign_consensus, weights": lambda v, b, m, c: gm.sign_consensus([m - b, c - b], weights=v),
    "sign_consensus, a weight": lambda v, b, m, c: gm.sign_consensus([m - b], weights=[v]),
    "sign_consensus, normalize": lambda v, b, m, c: gm.sign_consensus([m - b], normalize=v),
    "weighted_sum, values": lambda v, b, m, c: gm.weighted_sum(v),
    "weighted_sum, a value": lambda v, b, m, c: gm.weighted_sum([b, v]),
    "weighted_sum, weights": lambda v, b, m, c: gm.weighted_sum([m, c], weights=v),
    "weighted_sum, a weight": lambda v, b, m, c: gm.weighted_sum([m, c], weights=[1, v]),
    "weighted_sum, normalize": lambda v, b, m, c: gm.weighted_sum([m, c], normalize=v),
    "interpolate, first": lambda v, b, m, c: gm.interpolate(v, b, 0.5),
    "interpolate, second": lambda v, b, m, c: gm.interpolate(b, v, 0.5),
    "interpolate, t": lambda v, b, m, c: gm.interpolate(b, m, v),
    "stack_layers, parts": lambda v, b, m, c: gm.stack_layers(v),
    "stack_layers, a part": lambda v, b, m, c: gm.stack_layers([(b, 0, 1), v]),
    "stack_layers, a model": lambda v, b, m, c: gm.stack_layers([(v, 0, 1)]),
    "stack_layers, a first layer": lambda v, b, m, c: gm.stack_layers([(b, v, 2)]),
    "stack_layers, a last layer": lambda v, b, m, c: gm.stack_layers([(b, 0, v)]),
    "merge, method": lambda v, b, m, c: gm.merge(v, [m, c], weight=1),
    "merge, models": lambda v, b, m, c: gm.merge("linear", v, weight=1),
    "merge, a model": lambda v, b, m, c: gm.merge("linear", [m, v], weight=1),
    "merge, parameters of a model": lambda v, b, m, c: gm.merge("linear", [(m, v)]),
    "merge, a parameter of a model": lambda v, b, m, c: gm.merge("linear", [(m, {"weight": v})]),
    "merge, base": lambda v, b, m, c: gm.merge("linear", [m, c], base=v, weight=1),
    "merge, statistics": lambda v, b, m, c: gm.merge("linear", [m, c], statistics=v, weight=1),
    "merge, one of the statistics": lambda v, b, m, c: gm.merge(
        "fisher", [m, c], statistics=[m, v], weight=1
    ),
    "merge, dtype": lambda v, b, m, c: gm.merge("linear", [m, c], dtype=v, weight=1),
    "merge, tokenizer": lambda v, b, m, c: gm.merge("linear", [m, c], tokenizer=v, weight=1),
    "merge, embeddings": lambda v, b, m, c: gm.merge("linear", [m, c], embeddings=v, weight=1),
    "merge, chat_template": lambda v, b, m, c: gm.merge("linear", [m], chat_template=v, weight=1),
    "merge, weight": lambda v, b, m, c: gm.merge("linear", [m, c], weight=v),
    "merge, one of the weights": lambda v, b, m, c: gm.merge("linear", [m, c], weight=[1, v]),
    "merge, normalize": lambda v, b, m, c: gm.merge("linear", [m, c], weight=1, normalize=v),
    "merge, lambda": lambda v, b, m, c: gm.merge("ties", [m], base=b, weight=1, lambda_=v),
    "to_recipe, value": lambda v, b, m, c: gm.to_recipe(v),
    "from_recipe, recipe": lambda v, b, m, c: gm.from_recipe(v),
    "x - other": lambda v, b, m, c: b - v,
    "other - x": lambda v, b, m, c: v - b,
    "x + other": lambda v, b, m, c: b + v,
    "other + x": lambda v, b, m, c: v + b,
    "x * factor": lambda v, b, m, c: b * v,
    "factor * x": lambda v, b, m, c: v * b,
    "x / divisor": lambda v, b, m, c: b / v,
    "spec, tensor": lambda v, b, m, c: b.spec(v),
    "where, tensors": lambda v, b, m, c: b.where(v, m),
    "where, one of the tensors": lambda v, b, m, c: b.where(["norm", v], m),
    "where, other": lambda v, b, m, c: b.where("norm", v),
    "cast, dtype": lambda v, b, m, c: b.cast(v),
    "tensor, name": lambda v, b, m, c: b.tensor(v),
    "tensor, seed": lambda v, b, m, c: b.tensor(NORM, seed=v),
    "plan, memory_budget": lambda v, b, m, c: (b / 2).plan(memory_budget=v),
    "plan, workers": lambda v, b, m, c: (b / 2).plan(workers=v),
    "plan, device": lambda v, b, m, c: (b / 2).plan(device=v),
    "plan, seed": lambda v, b, m, c: (b / 2).plan(seed=v),
    "save, out": lambda v, b, m, c: (b / 2).save(v, plan=halved(b)),
    "save, plan": lambda v, b, m, c: (b / 2).save("out", plan=v, overwrite=True),
    "save, chat_template": lambda v, b, m, c: (b / 2).save("out", chat_template=v, overwrite=True),
    "save, overwrite": lambda v, b, m, c: (b / 2).save("out", overwrite=v),
    "save, strict": lambda v, b, m, c: (b / 2).save("out", strict=v, overwrite=True),
    "MergePlan.is_of, value": lambda v, b, m, c: halved(b).is_of(v),
    "MergePlan.run, out": lambda v, b, m, c: halved(b).run(v),
    "MergePlan.run, chat_template": lambda v, b, m, c: halved(b).run(
        "out", chat_template=v, overwrite=True
    ),
    "MergePlan.run, overwrite": lambda v, b, m, c: halved(b).run("out", overwrite=v),
    "MergePlan.run, strict": lambda v, b, m, c: halved(b).run("out", strict=v, overwrite=True),
}
"""Every argument of every public function and method: the call with a value for it."""


@pytest.mark.parametrize("argument", CALLS)
def test_what_makes_no_sense_is_refused_in_our_own_words(models, argument):
    """Never by a message of Python's about what is inside of a function; never silently."""
    for name, value in NOTHING.items():
        if name in SENSIBLE.get(argument, ()):
            CALLS[argument](value, *models)
            continue
        with pytest.raises(gm.InputError) as caught:
            CALLS[argument](value, *models)
        for problem in caught.value.problems:
            assert problem.where, (name, str(problem))
            assert "\n" not in str(problem), (name, str(problem))


def test_the_table_has_every_public_function_and_method():
    of_plugins = {"checkpoint_reader", "merge_graph", "merge_method", "sparsifier"}
    functions = {name for name in gm.__all__ if inspect.isfunction(getattr(gm, name))} - of_plugins
    called = {argument.split(",")[0] for argument in CALLS}
    methods = {
        name
        for owner in (gm.Expression, gm.MergePlan)
        for name, function in vars(owner).items()
        if not name.startswith("_") and inspect.isfunction(function)
        if len(inspect.signature(function).parameters) > 1
    }
    assert called >= functions
    assert {name.removeprefix("MergePlan.") for name in called} >= methods


NUMBERS = [np.float32(0.25), np.float64(0.25), np.array(0.25), torch.tensor(0.25)]


@pytest.mark.parametrize("number", NUMBERS, ids=lambda number: type(number).__name__)
def test_a_number_of_numpy_or_torch_is_a_number(models, number):
    b, m, c = models
    delta = m - b

    def recipes(value):
        made = (
            b + value * delta,
            b + delta * value,
            b + delta / value,
            b + gm.sparsify(delta, density=value),
            gm.interpolate(b, m, value),
            gm.weighted_sum([m, c], weights=[value, value]),
            gm.merge("linear", [(m, {"weight": value}), (c, {"weight": [value, 0.5]})]),
            gm.merge("ties", [m, c], base=b, density={"filter": "mlp", "value": value}, weight=1),
        )
        return [gm.to_recipe(expression) for expression in made]

    assert recipes(number) == recipes(0.25)
    by_function = gm.interpolate(b, m, lambda tensor, layer, layers: number)
    assert by_function.tensor(NORM).equal(gm.interpolate(b, m, 0.25).tensor(NORM))


def test_rows_and_integers_of_numpy_are_lists_and_integers(models):
    b, m, c = models
    pairs = {
        gm.interpolate(b, m, np.linspace(0, 1, 5)): gm.interpolate(b, m, [0, 0.25, 0.5, 0.75, 1.0]),
        gm.weighted_sum([m, c], weights=np.array([1, 2])): gm.weighted_sum([m, c], weights=[1, 2]),
        gm.merge("linear", [m, c], weight=np.float32([1, 2])): gm.merge(
            "linear", [m, c], weight=[1, 2]
        ),
        gm.stack_layers([(m, np.int64(0), np.uint8(2))]): gm.stack_layers([(m, 0, 2)]),
    }
    for found, expected in pairs.items():
        assert yaml.safe_load(gm.to_recipe(found)) == yaml.safe_load(gm.to_recipe(expected))
    plan = (b / 2).plan(memory_budget=np.int64(2**31), workers=np.int32(1), seed=np.uint64(3))
    assert plan.fits
    assert plan.budget_bytes == 2**31


@pytest.mark.parametrize("place", ["math", Path("math")], ids=["text", "path"])
def test_every_function_takes_a_place_for_a_model(models, place):
    b, m, _ = models
    pairs = {
        gm.interpolate(place, b, 0.5): gm.interpolate(m, b, 0.5),
        gm.interpolate(b, place, 0.5): gm.interpolate(b, m, 0.5),
        gm.weighted_sum([b, place]): gm.weighted_sum([b, m]),
        gm.stack_layers([(place, 0, 2), (b, 2, 4)]): gm.stack_layers([(m, 0, 2), (b, 2, 4)]),
        b.where("norm", place): b.where("norm", m),
        gm.merge("ties", [place], base=b, weight=1): gm.merge("ties", [m], base=b, weight=1),
        gm.merge("linear", [b], base=place, weight=1): gm.merge("linear", [b], base=m, weight=1),
    }
    for found, expected in pairs.items():
        assert gm.to_recipe(found) == gm.to_recipe(expected)
        assert repr(found) == repr(expected)
    assert gm.to_recipe(place) == gm.to_recipe(m)
    for function in (gm.sparsify, lambda value, **_: gm.sign_consensus([value])):
        with pytest.raises(gm.GraphError, match="task vectors"):
            function(place, density=0.5)


def test_lists_may_be_anything_that_has_an_order(models):
    b, m, c = models
    deltas = [m - b, c - b]
    listed = gm.sign_consensus(deltas, weights=[0.6, 0.4])
    assert gm.to_recipe(b + gm.sign_consensus(iter(deltas), weights=(0.6, 0.4))) == gm.to_recipe(
        b + listed
    )
    parts = ("norm", "mlp")
    assert gm.to_recipe(b.where(iter(parts), m)) == gm.to_recipe(b.where(list(parts), m))
    assert gm.to_recipe(b + sum(0.5 * delta for delta in deltas)) == gm.to_recipe(
        b + (0.5 * deltas[0] + 0.5 * deltas[1])
    )


CONDITIONAL = [[{"filter": "mlp", "value": 0.5}, {"value": [0.25, 0.75]}], 1]


def test_weights_in_lists_may_have_filters_as_in_recipes(models):
    _, m, c = models
    merged = gm.weighted_sum([m, c], weights=CONDITIONAL)
    mlp, norm = "model.layers.1.mlp.up_proj.weight", NORM
    for name, weight in ((mlp, 0.5), (norm, 0.25)):
        expected = weight * m.tensor(name) + c.tensor(name)
        torch.testing.assert_close(merged.tensor(name), expected)
    again = gm.from_recipe(gm.to_recipe(merged))
    assert gm.to_recipe(again) == gm.to_recipe(merged)
    with_own = gm.merge("linear", [m, c], weight=CONDITIONAL, normalize=False)
    assert with_own.tensor(mlp).equal(merged.tensor(mlp))


def test_words_for_flags_are_refused_before_anything_is_overwritten(models):
    (models[0] / 2).save("kept")
    before = Path("kept/graphmerge.json").read_bytes()
    with pytest.raises(gm.InputError, match=r"wrong argument @ overwrite of save: got 'no'"):
        (models[0] / 4).save("kept", overwrite="no")
    assert Path("kept/graphmerge.json").read_bytes() == before
