"""What a plan is predicted to take, at its limits and in proportion."""

import pytest
from attrs import evolve

from graphmerge.errors import BudgetError
from graphmerge.graph import Graph, Output, make_node
from graphmerge.ops.arithmetic import AddDelta, Cast, TaskVector, WeightedSum
from graphmerge.ops.blocks import BLOCK_ELEMENTS
from graphmerge.ops.consensus import SignConsensus
from graphmerge.schedule.choose import schedule
from graphmerge.schedule.executors import Kernels
from graphmerge.schedule.memory import estimate, tile_memory
from graphmerge.schedule.order import Member, Order
from graphmerge.schedule.plan import Request, Reserved
from graphmerge.schedule.simulate import simulate
from graphmerge.spec import DType
from graphmerge.testing.drawn_graphs import keep_largest, slerp, stored
from graphmerge.testing.plans import check_plan
from graphmerge.units import GIB, MIB


def reserved(executor):
    return Reserved(base_bytes=300 * MIB, worker_bytes=20 * MIB, calibrated=True)


N = 5 * BLOCK_ELEMENTS + 1


def ties(name, count, numel=N):
    """base + elect(trim(t_i - base))"""
    base, *tuned = (stored(f"{name}{i}", (numel,), DType.BF16) for i in range(count))
    base, *tuned = (make_node(Cast(DType.F32), load) for load in (base, *tuned))
    deltas = [keep_largest(make_node(TaskVector(), t, base), numel // 2 or 1) for t in tuned]
    elected = make_node(SignConsensus((1.0,) * len(deltas), normalize=True), *deltas)
    return make_node(Cast(DType.BF16), make_node(AddDelta(), base, elected))


def interpolated(name, numel=N):
    return slerp(stored(f"{name}0", (numel,)), stored(f"{name}1", (numel,)), 0.3)


def averaged(name, count, numel=N):
    loads = [stored(f"{name}{i}", (numel,)) for i in range(count)]
    return make_node(WeightedSum((0.5,) * count), *loads)


def graph_of(*nodes):
    return Graph(tuple(Output(f"out{number}", node) for number, node in enumerate(nodes)))


GRAPHS = {
    "ties": graph_of(*(ties(f"x{i}", 4) for i in range(3))),
    "slerp": graph_of(*(interpolated(f"x{i}") for i in range(4))),
    "linear": graph_of(*(averaged(f"x{i}", 5) for i in range(4))),
    "copies": graph_of(*(stored(f"x{i}", (N,)) for i in range(4))),
    "mixed": graph_of(ties("a", 3), averaged("b", 2, 7), interpolated("c", 9), ties("d", 2, 1)),
    "empty": graph_of(averaged("a", 2, 0), interpolated("b", 0)),
}


@pytest.fixture(params=GRAPHS.values(), ids=GRAPHS)
def graph(request):
    return request.param


@pytest.mark.parametrize("workers", [1, 4])
def test_a_plan_fits_its_least_budget_and_not_a_byte_less(graph, workers):
    least = schedule(graph, Request(0, workers), reserved).least_budget_bytes
    plan = schedule(graph, Request(least, workers), reserved)
    plan.validate()
    check_plan(plan)
    assert plan.memory.predicted_peak_bytes <= least
    short = schedule(graph, Request(least - 1, workers), reserved)
    with pytest.raises(BudgetError, match=r"no plan fits the memory budget.*wanted at least"):
        short.validate()


def test_the_hint_of_the_refusal_is_a_budget_that_works(graph):
    """The message rounds up to whole MiB."""
    plan = schedule(graph, Request(0, 2), reserved)
    with pytest.raises(BudgetError, match="memory-budget") as caught:
        plan.validate()
    mib = int(str(caught.value).split("--memory-budget ")[1].split("MiB")[0])
    schedule(graph, Request(mib * MIB, 2), reserved).validate()


def test_prediction_grows_with_workers_and_tiles(graph):
    def predicted(workers, blocks):
        plan = schedule(graph, Request(GIB, 1), reserved)
        units = tuple(evolve(unit, keeps=False) for unit in plan.units)
        tile = blocks * BLOCK_ELEMENTS
        memory, _ = estimate(
            graph, Order((Member(units),)), reserved(None), workers=workers, tile_elements=tile
        )
        return memory.predicted_peak_bytes

    for workers in (1, 2, 3, 8):
        assert predicted(workers, 4) < predicted(workers + 1, 4)
        assert predicted(workers, 1) <= predicted(workers, 2) <= predicted(workers, 4)


def test_more_budget_is_never_slower(graph):
    least = schedule(graph, Request(0, 4), reserved).least_budget_bytes
    budgets = [least + step * MIB for step in (0, 1, 4, 16, 64, 256, 4096)]
    seconds = [schedule(graph, Request(budget, 4), reserved).seconds for budget in budgets]
    assert seconds == sorted(seconds, reverse=True)


def test_of_many_workers_as_many_are_taken_as_fit_by_an_eighth():
    """Of those from 16 on not every number is tried"""
    graph, budget = GRAPHS["linear"], 2 * GIB

    def predicted(workers):
        return schedule(graph, Request(GIB * 1024, workers), reserved).memory.predicted_peak_bytes

    plan = schedule(graph, Request(budget, 1024), reserved)
    plan.validate()
    assert 16 < plan.workers < 1024
    assert predicted(plan.workers) <= budget < predicted(plan.workers * 9 // 8 + 1)


def test_the_replay_never_holds_more_than_was_predicted(graph):
    for budget in (0, 400 * MIB, 4 * GIB):
        plan = schedule(graph, Request(budget, 3), reserved)
        moments = simulate(plan)
        assert len(moments) == sum(len(unit.unit.passes) for unit in plan.units)
        worst = max(moment.total_bytes for moment in moments)
        assert worst <= plan.memory.predicted_peak_bytes


@pytest.mark.usefixtures("free_memory")
def test_what_is_freed_is_live_no_longer():
    """ties of two: at its end the inputs that are kept and two cutoffs are live, no digit is"""
    plan = schedule(graph_of(ties("x", 3)), Request(GIB, 1), reserved)
    inputs_bytes, digits_bytes, cutoffs_bytes = 3 * 2 * N, 2 * 4 * 8, 2 * 3 * 8
    *_, before, last = (moment.live_bytes for moment in simulate(plan))
    assert before >= inputs_bytes + digits_bytes + cutoffs_bytes
    assert last == inputs_bytes + cutoffs_bytes


def test_registers_and_buffers_are_those_of_a_hand_count():
    """a weighted sum of two bf16 tensors: two read buffers, two float32 registers, one bf16 one"""
    x, y = (make_node(Cast(DType.F32), stored(name, (N,), DType.BF16)) for name in "xy")
    merged = make_node(Cast(DType.BF16), make_node(WeightedSum((0.5, 0.5)), x, y))
    (unit,) = schedule(graph_of(merged), Request(GIB, 1, kernels=Kernels.TORCH), reserved).units
    memory = tile_memory(unit.unit.passes[0], (), BLOCK_ELEMENTS)
    assert memory.buffer_bytes == 2 * 2 * BLOCK_ELEMENTS
    slots = (memory.register_bytes - (4 + 4 + 2) * BLOCK_ELEMENTS) / 64
    assert slots == 3 + 2


def test_native_code_needs_the_output_and_scratch_of_chunks_beside_the_buffers():
    """staging for a chunk of two loads and the output, 8 bytes an element; 64 for each of 4 ops"""
    x, y = (make_node(Cast(DType.F32), stored(name, (N,), DType.BF16)) for name in "xy")
    merged = make_node(Cast(DType.BF16), make_node(WeightedSum((0.5, 0.5)), x, y))
    (unit,) = schedule(graph_of(merged), Request(GIB, 1), reserved).units
    memory = tile_memory(unit.unit.passes[0], (), BLOCK_ELEMENTS)
    assert memory.buffer_bytes == 2 * 2 * BLOCK_ELEMENTS
    assert memory.register_bytes == 2 * BLOCK_ELEMENTS + 3 * 8 * 1024 + 4 * 64 + (2 + 2) * 64
    assert memory.kernel_bytes == 0


def test_a_tile_is_never_larger_than_the_tensor():
    (unit,) = schedule(graph_of(averaged("x", 2, 100)), Request(GIB, 1), reserved).units
    memory = tile_memory(unit.unit.passes[0], (), 4 * BLOCK_ELEMENTS)
    assert memory.buffer_bytes == 2 * 4 * 100


@pytest.mark.usefixtures("free_memory")
def test_kept_inputs_take_no_read_buffers():
    (unit,) = schedule(graph_of(interpolated("x")), Request(GIB, 1), reserved).units
    assert len(unit.kept) == 2
    assert tile_memory(unit.unit.passes[0], unit.kept, BLOCK_ELEMENTS).buffer_bytes == 0


@pytest.mark.usefixtures("free_memory")
def test_inputs_are_kept_as_soon_as_they_fit_and_not_a_byte_before():
    graph = graph_of(interpolated("x", 64 * BLOCK_ELEMENTS))
    tile = {"tile_elements": BLOCK_ELEMENTS}

    def kept(budget):
        return bool(schedule(graph, Request(budget, 1, **tile), reserved).units[0].kept)

    low, high = schedule(graph, Request(0, 1, **tile), reserved).least_budget_bytes, GIB
    assert not kept(low)
    assert kept(high)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if kept(middle) else (middle, high)
    plan = schedule(graph, Request(high, 1, **tile), reserved)
    assert plan.memory.live_bytes >= 2 * 4 * 64 * BLOCK_ELEMENTS
    plan.validate()
