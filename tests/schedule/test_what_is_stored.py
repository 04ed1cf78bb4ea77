"""Results that several passes need: computed again, or computed once and stored in memory."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graphmerge.graph import Graph, Output, make_node
from graphmerge.ops.arithmetic import AddDelta, Cast, Scale, TaskVector
from graphmerge.ops.blocks import BLOCK_ELEMENTS
from graphmerge.ops.consensus import SignConsensus
from graphmerge.schedule import cost
from graphmerge.schedule.choose import schedule
from graphmerge.schedule.executors import Kernels
from graphmerge.schedule.plan import Request
from graphmerge.schedule.report import report
from graphmerge.schedule.simulate import simulate
from graphmerge.schedule.steps import Free
from graphmerge.spec import DType
from graphmerge.testing.drawn_graphs import drawn_graphs, keep_largest, slerp, stored
from graphmerge.testing.merging import nothing_reserved
from graphmerge.testing.plans import check_plan
from graphmerge.units import GIB

N = 64 * BLOCK_ELEMENTS + 5


def graph_of(*nodes):
    return Graph(tuple(Output(f"out{number}", node) for number, node in enumerate(nodes)))


def ties(*names, base="base", numel=N):
    """base + elect(trim(t_i - base))"""
    base, *tuned = (
        make_node(Cast(DType.F32), stored(name, (numel,), DType.BF16)) for name in (base, *names)
    )
    deltas = [keep_largest(make_node(TaskVector(), t, base), numel // 2) for t in tuned]
    elected = make_node(SignConsensus((1.0,) * len(deltas), normalize=True), *deltas)
    return make_node(AddDelta(), base, elected)


def plan_of(graph, budget=GIB, workers=1, kernels=Kernels.AUTO):
    plan = schedule(graph, Request(budget, workers, kernels=kernels), nothing_reserved)
    check_plan(plan)
    worst = max(moment.total_bytes for moment in simulate(plan))
    assert worst <= plan.memory.predicted_peak_bytes
    return plan


@pytest.fixture
def slow_computing(monkeypatch):
    """Computing takes so long that all but the shortest results are better stored."""
    monkeypatch.setattr(cost, "STORED_BYTES_PER_SECOND", 4e9)
    monkeypatch.setattr(cost, "NATIVE_SECONDS_PER_ELEMENT", 4e-10)


def stored_by(plan):
    return [unit.unit.stored for unit in plan.units if unit.unit.stored]


def interpolated_ties():
    """base, a, b -> ties; base, c, d -> ties; both -> gram -> coefficients -> interpolate"""
    first, second = ties("a", "b"), ties("c", "d")
    return first, second, graph_of(slerp(first, second, 0.3))


def test_what_is_sooner_computed_again_than_stored_is_computed_again():
    _, _, graph = interpolated_ties()
    plan = plan_of(graph)
    assert not stored_by(plan)
    said = report(plan, shards=1)
    assert not said.stored
    assert [(one.kind, one.passes) for one in said.computed_again] == [("add-delta", 2)] * 2


def test_two_results_that_are_interpolated_are_stored_where_that_is_sooner(slow_computing):
    first, second, graph = interpolated_ties()
    plan = plan_of(graph)
    assert {first, second} <= set(stored_by(plan))
    said = report(plan, shards=1)
    assert ("add-delta", 2, 4 * N) in {(s.kind, s.passes, s.result_bytes) for s in said.stored}
    assert not said.computed_again
    assert {one.tensor for one in said.stored} == {"out0"}


def test_an_input_of_two_stored_results_is_read_once(slow_computing):
    """base is in both"""
    _, _, graph = interpolated_ties()
    assert plan_of(graph).read_bytes == 5 * 2 * N


def test_a_stored_result_is_let_go_of_after_its_last_use(slow_computing):
    first, second, graph = interpolated_ties()
    last = plan_of(graph).units[-1]
    assert {first, second} <= set(last.unit.needs)
    freed = {node for step in last.steps if isinstance(step, Free) for node in step.values}
    assert {first, second} <= freed
    assert isinstance(last.steps[-1], Free)


def test_nothing_is_stored_where_it_does_not_fit(slow_computing):
    _, _, graph = interpolated_ties()
    least = plan_of(graph, 0).least_budget_bytes
    lean = plan_of(graph, least)
    lean.validate()
    assert not stored_by(lean)
    assert stored_by(plan_of(graph))


def test_more_budget_is_never_slower(slow_computing):
    _, _, graph = interpolated_ties()
    least = plan_of(graph, 0).least_budget_bytes
    plans = [plan_of(graph, least + step * N) for step in range(0, 40, 2)]
    seconds = [plan.seconds for plan in plans]
    assert seconds == sorted(seconds, reverse=True)
    assert len(set(seconds)) > 2
    for plan in plans:
        plan.validate()


def test_a_result_of_two_outputs_is_computed_once(slow_computing):
    """base, a, b -> ties -> half -> out0; ties -> double -> out2; something else between"""
    shared = ties("a", "b")
    first, last = (make_node(Scale(factor), shared) for factor in (0.5, 2.0))
    plan = plan_of(graph_of(first, ties("c", "d", base="other"), last))
    assert stored_by(plan) == [shared]
    users = [index for index, unit in enumerate(plan.units) if shared in unit.unit.needs]
    assert users == [1, 2], "the users follow at once, and the memory is free again"


def test_a_result_that_is_an_output_as_well_is_computed_once(slow_computing):
    """base, a, b -> ties -> out0; ties -> half -> out1"""
    shared = ties("a", "b")
    plan = plan_of(graph_of(shared, make_node(Scale(0.5), shared)))
    assert stored_by(plan) == [shared]
    assert [len(unit.unit.outputs) for unit in plan.units] == [1, 1]


def test_a_plain_ties_stores_nothing(slow_computing):
    """Task vectors are in several passes: storing them is for torch, where each op is slow."""
    assert not stored_by(plan_of(graph_of(ties("a", "b", "c"))))


LOADS = [
    stored(f"{name}{shape}", shape, dtype)
    for shape in ((N,), (7,), (0,))
    for name, dtype in (("a", DType.F32), ("b", DType.F32), ("c", DType.BF16))
]


@settings(deadline=None, max_examples=100)
@given(drawn_graphs(LOADS, most_steps=20), st.integers(1, 4), st.integers(0, 2**28))
def test_any_graph_has_a_plan_without_fault(graph, workers, budget):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cost, "STORED_BYTES_PER_SECOND", 1e15)
        patch.setattr(cost, "NATIVE_SECONDS_PER_ELEMENT", 1e-8)
        plan_of(graph, budget, workers)


def test_alike_outputs_that_share_nothing_store_what_each_would_store_alone(slow_computing):
    """base_i, a_i, b_i, c_i, d_i -> ties, ties -> slerp, for each i; the last one is shorter"""

    def one(number, numel):
        first, second = (
            ties(*(f"{name}{number}" for name in names), base=f"base{number}", numel=numel)
            for names in ("ab", "cd")
        )
        return slerp(first, second, 0.3)

    nodes = [one(number, numel) for number, numel in enumerate((N, N, N // 2))]
    together = [made_of(plan) for plan in plan_of(graph_of(*nodes), budget=4 * GIB).units]
    apart = [plan_of(graph_of(node), budget=4 * GIB).units for node in nodes]
    assert len(apart[0]) > 2
    assert together == [made_of(plan) for units in apart for plan in units]


def made_of(plan):
    """What a unit makes and needs, and everything that its passes speak of."""
    parts = [
        (
            part.program.loads,
            part.reductions,
            part.result,
            [i.node for i in part.program.instructions],
        )
        for part in plan.unit.passes
    ]
    return plan.unit.root, plan.unit.makes, plan.unit.needs, plan.kept, parts
