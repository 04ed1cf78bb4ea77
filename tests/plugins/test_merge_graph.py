"""Methods composed of nodes are planned, compiled and computed like the built-in ones."""

import re

import pytest
import torch
from plugin_recipes import recipe

import graphmerge as gm
from graphmerge import compose
from graphmerge.graph import make_node
from graphmerge.ops.arithmetic import Cast
from graphmerge.ops.blocks import BLOCK_ELEMENTS
from graphmerge.schedule.executors import Executor, Kernels
from graphmerge.spec import DType
from graphmerge.testing.merging import compile_mapping, merge, plan_for
from graphmerge.testing.stored_models import weights_digest, write_model

LONG = 2 * BLOCK_ELEMENTS + 100


@pytest.fixture
def models(tmp_path):
    """Folders base, one and two with a long tensor and a short one, in two dtypes."""
    for number, name in enumerate(("base", "one", "two")):
        drawn = torch.randn(LONG, generator=torch.Generator().manual_seed(number))
        write_model(
            tmp_path / name, {"long": drawn.bfloat16(), "short": drawn[:700].reshape(7, 100)}
        )
    return tmp_path


def my_linear(nodes, *, weight: list[float], normalize: bool = True):
    return compose.weighted_sum(nodes, weight, normalize=normalize)


def my_task_arithmetic(nodes, *, weight: list[float], lambda_: float = 1.0):
    base, *tuned = nodes
    deltas = [compose.task_vector(node, base) for node in tuned]
    return compose.add_delta(base, compose.weighted_sum(deltas, weight), lambda_)


def my_ties(nodes, *, weight: list[float], density: list[float], lambda_: float = 1.0):
    base, *tuned = nodes
    deltas = [compose.task_vector(node, base) for node in tuned]
    sparse = [compose.keep_largest(d, k) for d, k in zip(deltas, density, strict=True)]
    return compose.add_delta(base, compose.sign_consensus(sparse, weight), lambda_)


def my_dare_ties(
    nodes, *, merge: gm.MergeInputs, weight: list[float], density: list[float], lambda_: float = 1.0
):
    base, *tuned = nodes
    deltas = [compose.task_vector(node, base) for node in tuned]
    dropped = [
        compose.restore_norm(d, compose.drop_random(merge, model, d, k))
        for model, d, k in zip(merge.fine_tunes, deltas, density, strict=True)
    ]
    elected = compose.sign_consensus(dropped, weight, normalize=False)
    return compose.add_delta(base, elected, lambda_)


def my_slerp(nodes, *, t: float):
    base, other = nodes
    return compose.interpolate(base, other, t)


TUNED = ("one", {"weight": 0.7, "density": 0.3}), ("two", {"weight": 0.4, "density": 0.6})
WEIGHED = ("one", {"weight": 0.7}), ("two", {"weight": 0.4})
REBUILT = {
    "linear": (my_linear, "none", (WEIGHED, {})),
    "task_arithmetic": (my_task_arithmetic, "required", (WEIGHED, {"lambda": 0.8})),
    "ties": (my_ties, "required", (TUNED, {"lambda": 0.8})),
    "dare_ties": (my_dare_ties, "required", (TUNED, {"lambda": 0.8})),
    "slerp": (my_slerp, "required", (("one",), {"t": 0.35})),
}
"""Built-in methods: the same out of nodes, whether it needs a base, models and parameters."""


@pytest.mark.parametrize("name", REBUILT)
@pytest.mark.parametrize("kernels", [Kernels.AUTO, Kernels.TORCH])
def test_a_composed_method_gives_the_bytes_of_the_built_in_one(models, name, kernels):
    function, base, (tuned, parameters) = REBUILT[name]
    gm.merge_graph(f"my_{name}", base=base)(function)
    based = {"base": "base"} if base == "required" else {}
    done = [
        merge(
            recipe(method, *tuned, **based, **parameters), models / method, seed=3, kernels=kernels
        )
        for method in (name, f"my_{name}")
    ]
    assert weights_digest(models / name) == weights_digest(models / f"my_{name}")
    ours, own = (each.plan for each in done)
    assert ours.memory == own.memory
    assert ours.read_bytes == own.read_bytes


def test_a_composed_method_is_run_by_native_code(models):
    gm.merge_graph("my_ties", base="required")(my_ties)
    given = recipe("my_ties", *TUNED, base="base")
    plan = plan_for(compile_mapping(given, models / "recipe.yml"))
    executors = {part.executor for unit in plan.units for part in unit.unit.passes}
    assert executors == {Executor.NATIVE}


def test_the_context_knows_tensor_models_seed_and_parameters(models):
    seen = []

    @gm.merge_graph("seeing", base="required")
    def seeing(nodes, merge: gm.MergeInputs, *, t: float):
        labels = [model.label for model in merge.fine_tunes]
        seen.append((merge.tensor, merge.base.label, labels, merge.seed, t))
        return nodes[0]

    given = recipe("seeing", "one", "two", base="base", t=0.5)
    compile_mapping(given, models / "recipe.yml", seed=9)
    assert seen == [(name, "base", ["one", "two"], 9, 0.5) for name in ("long", "short")]


def test_random_masks_depend_on_seed_model_and_tensor(models):
    """The entries that are dropped are zero: 0 * base + dropped delta."""

    @gm.merge_graph("dropping", base="required")
    def dropping(nodes, merge: gm.MergeInputs, *, which: int):
        base, *tuned = nodes
        delta = compose.task_vector(tuned[which], base)
        dropped = compose.drop_random(merge, merge.fine_tunes[which], delta, 0.5)
        nothing = compose.scale(base, 0.0)
        return compose.add_delta(nothing, dropped)

    def kept(which, seed, tensor="long"):
        out = models / f"out-{which}-{seed}-{tensor}"
        given = recipe("dropping", "one", "two", base="base", which=which)
        return merge(given, out, seed=seed).tensors()[tensor].flatten() != 0

    first = kept(0, 1)
    assert 0.49 < first.float().mean() < 0.51
    for other in (kept(1, 1), kept(0, 2)):
        assert 0.49 < (first == other).float().mean() < 0.51
    short = kept(0, 1, "short")
    assert 0.4 < (first[: len(short)] == short).float().mean() < 0.6


def fails(nodes):
    base, one, two, three = nodes
    return compose.weighted_sum([base, one, two, three], [0.25] * 4)


def exits(nodes):
    raise SystemExit(0)


def adds_two_models(nodes):
    return compose.add_delta(nodes[0], nodes[1])


def returns_nothing(nodes):
    compose.scale(nodes[0], 2.0)


def returns_a_delta(nodes):
    return compose.task_vector(nodes[1], nodes[0])


def returns_another_dtype(nodes):
    return make_node(Cast(DType.BF16), nodes[0])


def keeps_too_much(nodes):
    return compose.keep_largest(nodes[0], 1.5)


def drops_too_much(nodes, merge: gm.MergeInputs):
    delta = compose.task_vector(nodes[1], nodes[0])
    return compose.add_delta(
        nodes[0], compose.drop_random(merge, merge.fine_tunes[0], delta, density=-0.1)
    )


def cancels(nodes):
    return compose.weighted_sum(nodes, [1.0, -0.5, -0.5], normalize=True)


WRONG = {
    fails: "method mine fails: ValueError: not enough values to unpack (expected 4, got 3) @ "
    f"tensor long, function fails in {__file__}, line ",
    exits: f"method mine fails: SystemExit: 0 @ tensor long, function exits in {__file__}, line ",
    adds_two_models: "a delta is added to a weight @ tensor long, method mine, add-delta(",
    returns_nothing: "method mine returns something else than a node of its inputs' shape @ tensor "
    f"long, function returns_nothing in {__file__}: got NoneType; wanted F32[131172]",
    returns_a_delta: "method mine returns a task vector @ tensor long, function returns_a_delta in",
    returns_another_dtype: "got BF16[131172]; wanted F32[131172]",
    keeps_too_much: "density out of range @ tensor long, method mine, function keeps_too_much in "
    f"{__file__}: got 1.5; wanted 0 to 1",
    drops_too_much: "density out of range @ tensor long, method mine, function drops_too_much in "
    f"{__file__}: got -0.1; wanted 0 to 1",
    cancels: "weights sum to zero, so they cannot be normalised @ tensor long, method mine, "
    f"function cancels in {__file__}: got",
}


@pytest.mark.parametrize("function", WRONG, ids=lambda function: function.__name__)
def test_a_composition_that_makes_no_sense_is_refused_by_name(models, function):
    gm.merge_graph("mine", base="required")(function)
    with pytest.raises(gm.InputError, match=re.escape(WRONG[function])):
        compile_mapping(recipe("mine", "one", "two", base="base"), models / "recipe.yml")


EXITING_OP = """
from attrs import frozen

import graphmerge as gm
from graphmerge.graph import Access, Op, make_node
from graphmerge.kernels.registry import register_kernel
from graphmerge.ops.checks import same_compute_spec, shared_space


@frozen(cache_hash=True)
class Exiting(Op):
    kind = "exiting"
    access = Access.ELEMENTWISE

    def infer(self, inputs):
        return same_compute_spec(inputs)

    def space(self, inputs):
        return shared_space(inputs)


@register_kernel(Exiting)
def exiting(op, tile):
    raise SystemExit(0)


@gm.merge_graph("mine")
def mine(nodes):
    return make_node(Exiting(), nodes[0])
"""


def test_an_op_that_ends_the_process_is_told(folder):
    """Nothing knows whose op it is, but the command must not look as if it were done."""
    folder.write("mine.py", EXITING_OP)
    folder.write("recipe.yml", recipe("mine", "one", "two"))
    result = folder.invoke("run", "recipe.yml", "out", "--plugin", "mine.py", "--quiet")
    assert result.exit_code == 2
    assert result.stderr == "error: code of a plug-in ends the process: sys.exit(0)\n"
    assert not (folder.path / "out").exists()
