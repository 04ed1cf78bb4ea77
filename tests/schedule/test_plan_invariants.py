"""Plans of small graphs, each run symbolically by `check_plan`."""

from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graphmerge.errors import InputError
from graphmerge.graph import Graph, Output, make_node
from graphmerge.ops.arithmetic import AddDelta, Cast, Scale, TaskVector, WeightedSum
from graphmerge.ops.blocks import BLOCK_ELEMENTS
from graphmerge.ops.consensus import SignConsensus
from graphmerge.ops.sources import StackLayer
from graphmerge.ops.spherical import Combine, Gram, SphericalCoefficients
from graphmerge.schedule.choose import schedule
from graphmerge.schedule.plan import Request
from graphmerge.spec import DType
from graphmerge.testing.drawn_graphs import drawn_graphs, keep_largest, rescaled, slerp, stored
from graphmerge.testing.merging import nothing_reserved
from graphmerge.testing.plans import check_plan
from graphmerge.units import GIB

N = 3 * BLOCK_ELEMENTS + 5


def graph_of(*nodes):
    return Graph(tuple(Output(f"out{number}", node) for number, node in enumerate(nodes)))


def plans(graph):
    """Plans of a graph for many requests, each checked."""
    for workers, tile, budget in product((1, 2, 5), (None, BLOCK_ELEMENTS), (0, 2**24, GIB)):
        plan = schedule(graph, Request(budget, workers, tile_elements=tile), nothing_reserved)
        check_plan(plan)
        yield plan


def checked(graph):
    """The plan with plenty of memory, after all were checked."""
    return list(plans(graph))[-1]


def passes(plan):
    return [len(unit.unit.passes) for unit in plan.units]


def test_a_copy_is_one_pass_without_instructions():
    """x -> out0"""
    plan = checked(graph_of(stored("x", (N,))))
    (unit,) = plan.units
    (only,) = unit.unit.passes
    assert not only.program.instructions
    assert not only.program.registers
    assert plan.read_bytes == plan.written_bytes == 4 * N


def test_a_linear_merge_is_one_pass():
    """x, y -> cast -> weighted-sum -> cast -> out0"""
    x, y = (make_node(Cast(DType.F32), stored(name, (N,), DType.BF16)) for name in "xy")
    merged = make_node(Cast(DType.BF16), make_node(WeightedSum((0.5, 0.5)), x, y))
    plan = checked(graph_of(merged))
    assert passes(plan) == [1]
    assert not plan.units[0].kept
    assert plan.read_bytes == 2 * 2 * N


@pytest.mark.usefixtures("free_memory")
def test_ties_reads_its_inputs_for_each_digit_the_cutoff_and_the_result():
    """base, t -> tau -> digit 0 -> digit 1 -> cutoff -> sparsify -> elect -> add-delta"""
    base, t = stored("base", (N,)), stored("t", (N,))
    delta = make_node(TaskVector(), t, base)
    elected = make_node(SignConsensus((1.0,), normalize=True), keep_largest(delta, 10))
    graph = graph_of(make_node(AddDelta(), base, elected))
    plan = checked(graph)
    assert passes(plan) == [4]
    assert set(plan.units[0].kept) == {base, t}
    assert plan.read_bytes == 2 * 4 * N
    lean = schedule(graph, Request(0, 1), nothing_reserved)
    assert lean.read_bytes == 4 * 2 * 4 * N


def test_slerp_reads_twice():
    """x, y -> gram -> coefficients; x, y, coefficients -> interpolate"""
    x, y = stored("x", (N,)), stored("y", (N,))
    assert passes(checked(graph_of(slerp(x, y, 0.3)))) == [2]


def test_a_statistic_that_two_outputs_need_is_made_once():
    """x, y -> gram -> coefficients(0.25) -> out0; gram -> coefficients(0.75) -> out1"""
    x, y = stored("x", (N,)), stored("y", (N,))
    plan = checked(graph_of(slerp(x, y, 0.25), slerp(x, y, 0.75)))
    grams = [
        node
        for unit in plan.units
        for part in unit.unit.passes
        for node in part.reductions
        if isinstance(node.op, Gram)
    ]
    assert len(grams) == 1
    assert [bool(unit.unit.makes) for unit in plan.units] == [True, False, False]


def test_shared_coefficients_are_made_once_too():
    """gram -> coefficients -> interpolate -> out0; coefficients -> interpolate (swapped) -> out1"""
    x, y = stored("x", (N,)), stored("y", (N,))
    gram = make_node(Gram(), x, y)
    coefficients = make_node(SphericalCoefficients(0.3), gram)
    swapped = make_node(Combine(), y, x, coefficients)
    plan = checked(graph_of(make_node(Combine(), x, y, coefficients), swapped))
    assert coefficients in {node for unit in plan.units for node in unit.unit.makes}


def test_statistics_shared_at_two_depths():
    """delta -> digits -> cutoff(5) -> out0; the same digit 0 -> other things -> out1, out2"""
    base, t = stored("base", (N,)), stored("t", (N,))
    delta = make_node(TaskVector(), t, base)
    kept = keep_largest(delta, 5)
    graph = graph_of(
        make_node(AddDelta(), base, kept),
        make_node(AddDelta(0.5), base, rescaled(delta, kept)),
        make_node(AddDelta(0.25), base, rescaled(kept, delta)),
    )
    checked(graph)


def test_outputs_of_one_value_share_a_unit():
    """x -> half -> layer 1 -> out0; half -> layer 2 -> out1; half -> out2"""
    half = make_node(Scale(0.5), stored("x", (N,)))
    stacked = [make_node(StackLayer(0, layer), half) for layer in (1, 2)]
    plan = checked(graph_of(*stacked, half))
    (unit,) = plan.units
    assert [output.name for output in unit.unit.outputs] == ["out0", "out1", "out2"]
    assert plan.read_bytes == 4 * N
    assert plan.written_bytes == 3 * 4 * N


def test_reductions_over_other_lengths_get_passes_of_their_own():
    """a, b of length n -> gram -> coefficients -> interpolate of c, d of length m"""
    a, b, c, d = (stored(name, (N,) if name in "ab" else (7,)) for name in "abcd")
    coefficients = make_node(SphericalCoefficients(0.3), make_node(Gram(), a, b))
    plan = checked(graph_of(make_node(Combine(), c, d, coefficients)))
    assert [part.numel for part in plan.units[0].unit.passes] == [N, 7]


@pytest.mark.parametrize("shape", [(), (0,), (3, 0), (1,)])
def test_tiny_and_empty_tensors(shape):
    x, y = stored("x", shape), stored("y", shape)
    delta = make_node(TaskVector(), x, y)
    nodes = [slerp(x, y, 0.5), make_node(AddDelta(), y, rescaled(delta, delta))]
    if x.spec.numel:
        nodes.append(make_node(AddDelta(), y, keep_largest(delta, 1)))
    checked(graph_of(*nodes))


def test_a_chain_of_ops_runs_in_one_register():
    """x -> *2 -> *3 -> ... -> *9: each in place of the one before"""
    node = stored("x", (N,))
    for factor in range(2, 10):
        node = make_node(Scale(float(factor)), node)
    (unit,) = checked(graph_of(node)).units
    assert unit.unit.passes[0].program.registers == (DType.F32,)


def test_a_value_that_is_needed_again_is_not_overwritten():
    """x -> *2 -> a -> *3 -> b; a + b, a twice"""
    a = make_node(Scale(2.0), stored("x", (N,)))
    b = make_node(Scale(3.0), a)
    checked(graph_of(make_node(WeightedSum((1.0, 1.0, 1.0)), a, b, a)))
    checked(graph_of(make_node(WeightedSum((1.0, 1.0)), a, a)))


def test_the_plan_is_the_same_whatever_the_names():
    """dask's rule: run each with reversed names"""
    spread = [slerp(stored(a, (n,)), stored(b, (n,)), 0.3) for a, b, n in
              (("a", "z", N), ("b", "y", 9), ("c", "x", 2 * N))]  # fmt: skip
    turned = [slerp(stored(a, (n,)), stored(b, (n,)), 0.3) for a, b, n in
              (("z", "a", N), ("y", "b", 9), ("x", "c", 2 * N))]  # fmt: skip
    first, second = checked(graph_of(*spread)), checked(graph_of(*turned))
    assert first.memory == second.memory
    assert first.seconds == second.seconds


@pytest.mark.parametrize("tile", [0, -BLOCK_ELEMENTS, 1000, BLOCK_ELEMENTS + 1])
def test_a_tile_is_a_whole_number_of_blocks(tile):
    request = Request(GIB, 1, tile_elements=tile)
    with pytest.raises(InputError, match=f"wrong tile size: got {tile}; wanted a multiple of"):
        schedule(graph_of(stored("x", (N,))), request, nothing_reserved)


LOADS = [
    stored(f"{name}{shape}", shape, dtype)
    for shape in ((N,), (2 * N,), (7,), (0,))
    for name, dtype in (("a", DType.F32), ("b", DType.F32), ("c", DType.BF16), ("d", DType.F16))
]


@settings(deadline=None, max_examples=150)
@given(drawn_graphs(LOADS, most_steps=20), st.integers(1, 4), st.integers(0, 2**25))
def test_any_graph_has_a_plan_without_fault(graph, workers, budget):
    check_plan(schedule(graph, Request(budget, workers), nothing_reserved))
