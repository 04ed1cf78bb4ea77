"""What `simplify` may leave out, each rule as an equation of nodes and of values."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from graphmerge.checkpoint.reading import read_checkpoint
from graphmerge.graph import Graph, Output, make_node, simplify
from graphmerge.ops.arithmetic import Cast, Scale, TaskVector, WeightedSum
from graphmerge.ops.sources import LoadTensor, StackLayer
from graphmerge.spec import DType
from graphmerge.testing.drawn_graphs import drawn_graphs, stored
from graphmerge.testing.evaluation import evaluate
from graphmerge.testing.stored_models import same_bytes, write_model

HALF, BRAIN, SINGLE, DOUBLE = DType.F16, DType.BF16, DType.F32, DType.F64


def cast(node, *dtypes):
    for dtype in dtypes:
        node = make_node(Cast(dtype), node)
    return node


def simplified(node):
    return simplify([node])[node]


@pytest.mark.parametrize("dtype", [HALF, BRAIN, SINGLE, DOUBLE])
def test_a_cast_to_the_dtype_at_hand_is_nothing(dtype):
    """cast(x, dtype of x) = x"""
    x = stored("x", (3,), dtype)
    assert simplified(cast(x, dtype)) is x


@pytest.mark.parametrize(
    ("dtype", "wider"),
    [(HALF, SINGLE), (HALF, DOUBLE), (BRAIN, SINGLE), (BRAIN, DOUBLE), (SINGLE, DOUBLE)],
)
def test_there_and_back_through_a_wider_dtype_is_nothing(dtype, wider):
    """cast(cast(x, wider), dtype of x) = x"""
    x = stored("x", (3,), dtype)
    assert simplified(cast(x, wider, dtype)) is x
    assert simplified(cast(x, wider, dtype, wider, dtype)) is x


@pytest.mark.parametrize(
    ("dtype", "through"),
    [
        (SINGLE, HALF),
        (SINGLE, BRAIN),
        (DOUBLE, SINGLE),
        (HALF, BRAIN),
        (BRAIN, HALF),
        (SINGLE, DType.I64),
        (DType.I64, DOUBLE),
        (DType.I64, SINGLE),
    ],
)
def test_casts_that_may_lose_something_stay(dtype, through):
    """cast(cast(x, narrower), dtype of x) rounds"""
    x = stored("x", (3,), dtype)
    node = cast(x, through, dtype)
    assert simplified(node) is node


def test_a_weight_that_is_divided_away_is_nothing():
    """(w * x) / w = x"""
    x = stored("x", (3,))
    assert simplified(make_node(WeightedSum((0.7,), 0.7), x)) is x
    for op in (WeightedSum((0.7,), 1.0), WeightedSum((0.5, 0.5), 1.0)):
        node = make_node(op, *[x] * len(op.weights))
        assert simplified(node) is node


def test_rules_reach_through_what_they_uncover():
    """cast(wsum(cast(x)) / w) of bf16 = x, and users are made anew on what is left"""
    x = stored("x", (3,), BRAIN)
    inner = make_node(WeightedSum((2.0,), 2.0), cast(x, SINGLE))
    assert simplified(cast(inner, BRAIN)) is x
    user = make_node(StackLayer(0, 1), cast(inner, BRAIN))
    assert simplified(user) is make_node(StackLayer(0, 1), x)


def test_what_cannot_be_simplified_is_the_same_node():
    x, y = stored("x", (3,)), stored("y", (3,))
    node = make_node(Scale(2.0), make_node(TaskVector(), x, y))
    assert simplified(node) is node


@pytest.fixture(scope="module")
def loads(tmp_path_factory):
    generator = torch.Generator().manual_seed(0)
    tensors = {
        str(dtype): torch.randn(50, generator=generator).to(dtype)
        for dtype in (torch.float32, torch.bfloat16, torch.float16)
    }
    folder = write_model(tmp_path_factory.mktemp("model") / "m", tensors)
    return [make_node(LoadTensor("m", entry)) for entry in read_checkpoint(folder).tensors.values()]


@settings(deadline=None)
@given(st.data())
def test_simplifying_changes_no_value(loads, data):
    graph = data.draw(drawn_graphs(loads))
    wrapped = tuple(
        Output(
            output.name,
            cast(make_node(WeightedSum((3.0,), 3.0), cast(output.node, DOUBLE)), DOUBLE),
        )
        for output in graph.outputs
    )
    nodes = simplify(output.node for output in wrapped)
    slim = Graph(tuple(Output(output.name, nodes[output.node]) for output in wrapped))
    assert len(slim.nodes()) < len(Graph(wrapped).nodes())
    plain, found = evaluate(Graph(wrapped)), evaluate(slim)
    assert all(same_bytes(plain[name], found[name]) for name in plain)
