"""Nodes are hash-consed and checked as they are made."""

import gc
import re
from itertools import product

import pytest
from attrs import frozen

from graphmerge.errors import GraphError
from graphmerge.graph import Graph, Output, make_node, postorder
from graphmerge.graph import node as node_module
from graphmerge.graph.verify import verify_graph
from graphmerge.ops.arithmetic import AddDelta, Cast, Scale, TaskVector, WeightedSum
from graphmerge.ops.consensus import SignConsensus
from graphmerge.ops.rescale import AbsoluteSum, Ratio, Rescale
from graphmerge.ops.sources import RequireIdentical
from graphmerge.ops.sparsify import KeepLargest, MagnitudeDigits, MaskKey, RandomDrop, TieCutoff
from graphmerge.ops.spherical import Combine, Gram, SphericalCoefficients
from graphmerge.spec import DType
from graphmerge.testing.drawn_graphs import keep_largest, slerp, stored


@frozen
class Values:
    """One value of every space, of one shape."""

    weight = stored("w", (4, 5))
    other = stored("v", (4, 5))
    delta = make_node(TaskVector(), weight, other)
    statistic = make_node(AbsoluteSum(), delta)


def test_the_same_work_is_one_node():
    def ties():
        base, t = stored("b", (9,)), stored("t", (9,))
        delta = keep_largest(make_node(TaskVector(), t, base), 3)
        return make_node(AddDelta(0.5), base, delta)

    assert ties() is ties()
    assert slerp(stored("b", (9,)), stored("t", (9,)), 0.5) is slerp(
        stored("b", (9,)), stored("t", (9,)), 0.5
    )


def test_other_settings_inputs_or_order_are_other_nodes():
    x, y = Values.weight, Values.other
    nodes = {
        make_node(WeightedSum((1.0, 2.0)), x, y),
        make_node(WeightedSum((2.0, 1.0)), x, y),
        make_node(WeightedSum((1.0, 2.0)), y, x),
        make_node(WeightedSum((1.0, 2.0), 3.0), x, y),
        make_node(TaskVector(), x, y),
        make_node(TaskVector(), y, x),
    }
    assert len(nodes) == 6


def test_nodes_that_nobody_holds_are_forgotten():
    gc.collect()
    before = len(node_module._nodes)
    node = make_node(Scale(123.0), stored("forgotten", (3,)))
    assert len(node_module._nodes) == before + 2
    del node
    gc.collect()
    assert len(node_module._nodes) == before


def test_a_node_cannot_be_changed():
    with pytest.raises(AttributeError, match="immutable"):
        Values.weight.spec = None


def test_postorder_gives_inputs_before_users_each_once():
    """x -> a -> b, a + b -> c: the diamond, and a chain too deep for recursion"""
    a = make_node(Scale(2.0), Values.weight)
    b = make_node(Scale(3.0), a)
    c = make_node(WeightedSum((1.0, 1.0)), b, a)
    assert list(postorder([c, b])) == [Values.weight, a, b, c]
    deep = Values.weight
    for _ in range(5000):
        deep = make_node(Scale(2.0), deep)
    assert len(list(postorder([deep]))) == 5001


TWO = {
    TaskVector(): {("weight", "weight"): "delta"},
    AddDelta(): {("weight", "delta"): "weight"},
    WeightedSum((1.0, 1.0)): {("weight", "weight"): "weight", ("delta", "delta"): "delta"},
    SignConsensus((1.0, 1.0), normalize=False): {("delta", "delta"): "delta"},
    Gram(): {("weight", "weight"): "statistic", ("delta", "delta"): "statistic"},
    Rescale(): {("weight", "statistic"): "weight", ("delta", "statistic"): "delta"},
    Ratio(): {("statistic", "statistic"): "statistic"},
    KeepLargest(0.5): {("delta", "statistic"): "delta"},
    RequireIdentical("x"): {("weight", "weight"): "weight", ("delta", "delta"): "delta"},
}
"""For ops of two inputs: the spaces that go together, and what comes out."""
ONE = {
    Scale(2.0): {"weight": "weight", "delta": "delta"},
    Cast(DType.BF16): {"weight": "weight", "delta": "delta"},
    AbsoluteSum(): {"weight": "statistic", "delta": "statistic"},
    RandomDrop(0.5, MaskKey(0, "m", "x")): {"delta": "delta"},
    MagnitudeDigits((3,), 0): {"delta": "statistic"},
}
SPACES = ("weight", "delta", "statistic")


@pytest.mark.parametrize("spaces", list(product(SPACES, SPACES)), ids=str)
@pytest.mark.parametrize("op", TWO, ids=lambda op: op.kind)
def test_which_spaces_go_together(op, spaces):
    inputs = [getattr(Values, space) for space in spaces]
    if spaces in TWO[op]:
        assert make_node(op, *inputs).space.value == TWO[op][spaces]
    else:
        with pytest.raises(GraphError):
            make_node(op, *inputs)


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("op", ONE, ids=lambda op: op.kind)
def test_which_spaces_an_op_takes(op, space):
    if space in ONE[op]:
        assert make_node(op, getattr(Values, space)).space.value == ONE[op][space]
    else:
        with pytest.raises(GraphError):
            make_node(op, getattr(Values, space))


@pytest.mark.parametrize(
    ("op", "inputs", "message"),
    [
        (
            SignConsensus((1.0, 1.0), normalize=False),
            (Values.weight, Values.other),
            r"signs are elected among task vectors: got weight, weight; wanted only deltas",
        ),
        (
            AddDelta(),
            (Values.weight, Values.other),
            "a delta is added to a weight: got weight, weight; wanted weight, delta",
        ),
        (
            TaskVector(),
            (Values.delta, Values.weight),
            "a task vector is the difference of two weights: got delta, weight",
        ),
        (
            WeightedSum((1.0, 1.0)),
            (Values.weight, Values.delta),
            "inputs of different spaces: got weight, delta.*take task vectors against a base",
        ),
        (
            TaskVector(),
            (Values.weight, stored("short", (4,))),
            r"shapes differ: got \[4\]; wanted \[4, 5\]",
        ),
        (
            TaskVector(),
            (Values.weight, stored("wide", (4, 5), DType.F64)),
            r"dtypes differ: got F64; wanted F32 \(cast first\)",
        ),
        (
            Scale(2.0),
            (stored("narrow", (4,), DType.BF16),),
            r"no arithmetic in this dtype: got BF16; wanted F32 or F64",
        ),
        (
            Cast(DType.F32),
            (stored("packed", (4,), DType.F8_E4M3),),
            "this dtype cannot be cast: got F8_E4M3.*dequantise",
        ),
        (MagnitudeDigits((3, 21), 0), (Values.delta,), "this many: got 21; wanted 1 to 20"),
        (MagnitudeDigits((0,), 0), (Values.delta,), "cannot keep this many: got 0"),
        (
            RequireIdentical("ids"),
            (stored("i", (4,), DType.I64), stored("j", (5,), DType.I64)),
            r"specs differ: got I64\[5\]; wanted I64\[4\]",
        ),
        (
            Combine(),
            (Values.weight, Values.other, Values.delta),
            "coefficients are a statistic",
        ),
        (SphericalCoefficients(0.5), (Values.weight,), "coefficients come from a Gram matrix"),
    ],
    ids=lambda value: value.kind if hasattr(value, "kind") else "",
)
def test_what_cannot_be_combined_is_said_with_op_and_inputs(op, inputs, message):
    message = message.replace(": got", rf" @ {re.escape(op.kind)}\(.*: got")
    with pytest.raises(GraphError, match=message):
        make_node(op, *inputs)


def test_a_divisor_of_zero_is_refused():
    with pytest.raises(GraphError, match=r"weights sum to zero.*got \[1\.0, -1\.0\]"):
        WeightedSum((1.0, -1.0), 0.0)


def test_specs_of_statistics_do_not_depend_on_the_length():
    for length in (1, 1000):
        x, y = stored(f"x{length}", (length,)), stored(f"y{length}", (length,))
        delta = make_node(TaskVector(), x, y)
        digits = make_node(MagnitudeDigits((1, 1), 0), delta)
        assert digits.spec.shape == (2, 4)
        assert make_node(Gram(), x, y).spec.shape == (2, 2)
        assert make_node(TieCutoff(), delta, digits).spec.shape == (3,)
        assert make_node(AbsoluteSum(), delta).spec.shape == ()


def test_an_output_is_a_weight():
    graph = Graph((Output("x", Values.weight), Output("tau", Values.delta)))
    message = r"an output must be a weight @ tensor tau: got task-vector: F32\[4, 5\], a delta"
    with pytest.raises(GraphError, match=message):
        verify_graph(graph)


def test_two_outputs_need_two_names():
    graph = Graph((Output("x", Values.weight), Output("x", Values.other)))
    with pytest.raises(GraphError, match="two output tensors have the same name @ tensor x"):
        verify_graph(graph)
