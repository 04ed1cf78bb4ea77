"""Every built-in method, written by hand as an expression, gives the bytes of the built-in one."""

import json
from collections.abc import Callable
from typing import Any

import pytest
import torch
from attrs import evolve, field, frozen
from expression_models import write_models

import graphmerge as gm
from graphmerge.testing.merging import merge
from graphmerge.testing.stored_models import weights_digest

SEED = 7
DTYPES = {
    "bf16": (torch.bfloat16,) * 3,
    "fp16": (torch.float16,) * 3,
    "fp32": (torch.float32,) * 3,
    "mixed": (torch.bfloat16, torch.float32, torch.float16),
}
"""Dtypes of the base and of the two fine-tunes."""


@pytest.fixture(scope="module", params=DTYPES)
def models(request, tmp_path_factory):
    """A working directory with a base m0 and fine-tunes m1 and m2."""
    folder = tmp_path_factory.mktemp(request.param)
    write_models(folder, ["m0", "m1", "m2"], DTYPES[request.param])
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield folder


@frozen(eq=False)
class Row:
    """A method with settings, and the same by hand."""

    method: str
    settings: str
    by_hand: Callable[[], gm.Expression]
    own: dict[str, Any] = field(factory=dict)
    weights: tuple[float, ...] | None = None
    density: tuple[float, ...] | None = None
    has_base: bool = True
    dtypes: dict[str, str] = field(factory=dict)

    def __str__(self):
        return f"{self.method}-{self.settings}"

    @property
    def listed(self):
        names = ["m1", "m2"] if self.has_base else ["m0", "m1", "m2"]
        return names[: {"slerp": 1, "passthrough": 1}.get(self.method)]

    def parameters_of(self, position):
        lists = {"weight": self.weights, "density": self.density}
        return {name: values[position] for name, values in lists.items() if values}

    def recipe(self):
        models = [
            {"model": name, "parameters": self.parameters_of(position)}
            for position, name in enumerate(self.listed)
        ]
        base = {"base_model": "m0"} if self.has_base else {}
        content = {"merge_method": self.method, **base, "models": models}
        return content | {"parameters": self.own} | self.dtypes

    def by_name(self):
        pairs = [(name, self.parameters_of(place)) for place, name in enumerate(self.listed)]
        own = {{"lambda": "lambda_"}.get(name, name): value for name, value in self.own.items()}
        merged = gm.merge(
            self.method,
            pairs,
            base="m0" if self.has_base else None,
            dtype=self.dtypes.get("dtype"),
            **own,
        )
        out_dtype = self.dtypes.get("out_dtype")
        return merged.cast(out_dtype) if out_dtype else merged


def loaded():
    return [gm.load(f"m{number}") for number in range(3)]


def linear(*, normalize):
    return gm.weighted_sum(loaded(), weights=[0.5, 0.25, 1.0], normalize=normalize)


def slerp(t):
    base, first, _ = loaded()
    return gm.interpolate(base, first, t)


def task_arithmetic():
    base, first, second = loaded()
    return base + 0.75 * (0.5 * (first - base) + -0.25 * (second - base))


def task_arithmetic_normalized():
    base, first, second = loaded()
    return base + gm.weighted_sum([first - base, second - base], weights=[2, 1.2], normalize=True)


def sparse_deltas(method, densities, rescale):
    base, *tuned = loaded()
    deltas = [
        gm.sparsify(model - base, method=method, density=density, rescale=rescale)
        for model, density in zip(tuned, densities, strict=True)
    ]
    return base, deltas


def ties(*, normalize=True, rescale="none"):
    base, deltas = sparse_deltas("magnitude", (0.3, 0.6), rescale)
    return base + 1.25 * gm.sign_consensus(deltas, weights=[0.5, 0.75], normalize=normalize)


def dare_linear(rescale):
    base, deltas = sparse_deltas("random", (0.3, 0.6), rescale)
    return base + gm.weighted_sum(deltas, weights=[0.5, 0.75])


def dare_ties(*, normalize=False, rescale="l1"):
    base, deltas = sparse_deltas("random", (0.3, 0.6), rescale)
    return base + gm.sign_consensus(deltas, weights=[0.5, 0.75], normalize=normalize)


def row(method, settings, by_hand, **own):
    return Row(method, settings, by_hand, own, (0.5, 0.75), (0.3, 0.6))


LINEAR = (0.5, 0.25, 1.0)
ROWS = (
    Row("linear", "normalized", lambda: linear(normalize=True), {}, LINEAR, has_base=False),
    Row("linear", "plain", lambda: linear(normalize=False), {"normalize": False}, LINEAR,
        has_base=False),
    Row("linear", "written-in-fp16", lambda: linear(normalize=True).cast("float16"), {}, LINEAR,
        has_base=False, dtypes={"out_dtype": "float16"}),
    Row("slerp", "t=0.3", lambda: slerp(0.3), {"t": 0.3}),
    Row("slerp", "gradient", lambda: slerp([0, 0.5, 1]), {"t": [0, 0.5, 1]}),
    Row("task_arithmetic", "plain", task_arithmetic, {"lambda": 0.75}, (0.5, -0.25)),
    Row("task_arithmetic", "normalized", task_arithmetic_normalized, {"normalize": True}, (2, 1.2)),
    row("ties", "normalized", ties, **{"lambda": 1.25}),
    row("ties", "not-normalized", lambda: ties(normalize=False), normalize=False,
        **{"lambda": 1.25}),
    row("ties", "rescaled", lambda: ties(rescale="l1"), rescale=True, **{"lambda": 1.25}),
    row("dare_linear", "rescaled", lambda: dare_linear("l1")),
    row("dare_linear", "not-rescaled", lambda: dare_linear("none"), rescale=False),
    row("dare_ties", "rescaled", dare_ties),
    row("dare_ties", "normalized", lambda: dare_ties(normalize=True), normalize=True),
    row("dare_ties", "not-rescaled", lambda: dare_ties(rescale="none"), rescale=False),
    Row("passthrough", "copy", lambda: 1 * gm.load("m0"), has_base=False),
    Row("passthrough", "scaled", lambda: -0.75 * gm.load("m0"), {"scale": -0.75}, has_base=False),
)  # fmt: skip


def saved(expression, out):
    expression.save(out, plan=expression.plan(seed=SEED))
    return weights_digest(out)


def recipe_digest(recipe, out):
    return weights_digest(merge(recipe, out, seed=SEED).out)


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_by_hand_and_by_name_and_by_recipe_the_bytes_are_the_same(row, models, tmp_path):
    expected = recipe_digest(row.recipe(), models / f"{row}")
    assert saved(row.by_hand(), tmp_path / "by-hand") == expected
    assert saved(row.by_name(), tmp_path / "by-name") == expected


@pytest.mark.parametrize("method", ["linear", "ties", "dare_linear"])
def test_a_dtype_casts_the_inputs_as_that_of_a_recipe_does(method, models, tmp_path):
    chosen = next(row for row in ROWS if row.method == method)
    cast = evolve(chosen, dtypes={"dtype": "bfloat16"})
    expected = recipe_digest(cast.recipe(), models / f"{method}-cast")
    with pytest.warns(UserWarning, match=r"1 integer tensor is cast to bfloat16.*position_ids"):
        assert saved(cast.by_name(), tmp_path / "by-name") == expected


STACK = [("m1", 0, 3), ("m2", 1, 1), ("m2", 1, 4), ("m1", 2, 3)]


def test_stacked_layers_are_a_frankenmerge(models, tmp_path):
    slices = [
        {"sources": [{"model": name, "layer_range": [first, end]}]} for name, first, end in STACK
    ]
    recipe = {"merge_method": "passthrough", "slices": slices}
    expected = recipe_digest(recipe, models / "stacked-by-recipe")
    named = {name: gm.load(name) for name in ("m1", "m2")}
    stacked = gm.stack_layers([(named[name], first, end) for name, first, end in STACK])
    assert saved(stacked, tmp_path / "stacked") == expected
    config = json.loads((tmp_path / "stacked" / "config.json").read_text())
    assert config["num_hidden_layers"] == 7


def test_layers_that_are_scaled_before_they_are_stacked(models, tmp_path):
    scale = [{"filter": "q_proj", "value": 0.5}, {"value": 1.0}]
    repeated = {"model": "m1", "layer_range": [1, 4], "parameters": {"scale": scale}}
    slices = [{"sources": [{"model": "m1", "layer_range": [0, 3]}]}, {"sources": [repeated]}]
    recipe = {"merge_method": "passthrough", "slices": slices}
    expected = recipe_digest(recipe, models / "softened-by-recipe")
    model = gm.load("m1")
    halved = model.where("q_proj", 0.5 * model)
    assert saved(gm.stack_layers([(model, 0, 3), (halved, 1, 4)]), tmp_path / "a") == expected
    softened = gm.merge("passthrough", [(model, {"scale": scale})])
    assert saved(gm.stack_layers([(model, 0, 3), (softened, 1, 4)]), tmp_path / "b") == expected


def test_slices_of_a_slerp_are_stacked_from_interpolations(models, tmp_path):
    """A gradient counts layers within its slice, so each slice is an interpolation of its own."""
    sources = [
        [{"model": name, "layer_range": layers} for name in ("m0", "m1")]
        for layers in ([0, 2], [2, 4])
    ]
    recipe = {
        "merge_method": "slerp",
        "base_model": "m0",
        "slices": [
            {"sources": sources[0], "parameters": {"t": 0.25}},
            {"sources": sources[1], "parameters": {"t": 0.75}},
        ],
    }
    expected = recipe_digest(recipe, models / "slices-by-recipe")
    base, tuned, _ = loaded()
    first, second = gm.interpolate(base, tuned, 0.25), gm.interpolate(base, tuned, 0.75)
    assert saved(gm.stack_layers([(first, 0, 2), (second, 2, 4)]), tmp_path / "a") == expected


def test_other_weights_give_other_bytes(models, tmp_path):
    """The test of the tests above."""
    changed = evolve(ROWS[0], weights=(0.5, 0.25, 1.01))
    expected = recipe_digest(changed.recipe(), models / "changed")
    assert saved(changed.by_hand(), tmp_path / "by-hand") != expected
    assert saved(changed.by_name(), tmp_path / "by-name") == expected


def test_a_function_that_fails_is_named_with_the_expression(models):
    def half(tensor):
        return 0.5

    with pytest.raises(gm.RecipeError, match=r"function .*half fails: TypeError: .*linear"):
        gm.merge("linear", ["m1", "m2"], weight=[half, 0.4])
