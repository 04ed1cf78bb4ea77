"""What units in flight hold stays within the plan, whatever order workers finish in."""

import random
import time

import pytest
import torch

from graphmerge.checkpoint.reading import read_checkpoint
from graphmerge.execution.engine import execute
from graphmerge.execution.events import Progress
from graphmerge.execution.pool import BufferPool
from graphmerge.graph import Graph, Output, make_node
from graphmerge.ops.arithmetic import AddDelta, TaskVector
from graphmerge.ops.blocks import BLOCK_ELEMENTS
from graphmerge.ops.sources import LoadTensor
from graphmerge.schedule.choose import schedule
from graphmerge.schedule.plan import Request
from graphmerge.testing.drawn_graphs import keep_largest, slerp
from graphmerge.testing.evaluation import MemorySink, evaluate
from graphmerge.testing.merging import Silent, nothing_reserved
from graphmerge.testing.reads import before_reads
from graphmerge.testing.stored_models import write_model

LARGE, SMALL = 4 * BLOCK_ELEMENTS, 16
LENGTHS = (LARGE, SMALL, LARGE - 9, SMALL + 1, SMALL, LARGE - 99, SMALL, LARGE)
"""Small units between large ones: when a small one is done early, the next large one is admitted
beside a large one that is not done."""


@pytest.fixture(scope="module")
def graph(tmp_path_factory):
    """Slerps of many lengths, each of which keeps its two inputs between its two passes."""
    generator = torch.Generator().manual_seed(0)
    tensors = {
        f"{side}{number}": torch.randn(length, generator=generator)
        for number, length in enumerate(LENGTHS)
        for side in "xy"
    }
    entries = read_checkpoint(write_model(tmp_path_factory.mktemp("m") / "m", tensors)).tensors
    load = {name: make_node(LoadTensor("m", entry)) for name, entry in entries.items()}
    return Graph(
        tuple(
            Output(f"out{number}", slerp(load[f"x{number}"], load[f"y{number}"], 0.4))
            for number in range(len(LENGTHS))
        )
    )


@pytest.fixture
def held(monkeypatch):
    """Bytes of kept inputs that are in use, after every change."""
    history = [0]
    take, give = BufferPool.take, BufferPool.give

    def counted_take(self, size_bytes):
        history.append(history[-1] + size_bytes)
        return take(self, size_bytes)

    def counted_give(self, buffer):
        history.append(history[-1] - buffer.nbytes)
        give(self, buffer)

    monkeypatch.setattr(BufferPool, "take", counted_take)
    monkeypatch.setattr(BufferPool, "give", counted_give)
    return history


def plan_that_keeps_one_large_unit(graph, workers):
    """The plan of the least budget with which a large unit keeps its inputs."""
    limits = {"workers": workers, "tile_elements": BLOCK_ELEMENTS}
    lean = schedule(graph, Request(0, **limits), nothing_reserved)
    one = 2 * 4 * LARGE
    for extra in range(0, 40 * one, one // 8):
        plan = schedule(graph, Request(lean.least_budget_bytes + extra, **limits), nothing_reserved)
        if plan.workers == workers and plan.memory.live_bytes >= one:
            return plan
    raise AssertionError("no budget keeps a large unit")


@pytest.mark.usefixtures("free_memory")
@pytest.mark.parametrize("workers", [2, 3])
@pytest.mark.parametrize("seed", range(5))
def test_kept_inputs_never_exceed_what_was_predicted(graph, held, workers, seed, monkeypatch):
    chance = random.Random(seed)
    before_reads(lambda entries: time.sleep(chance.choice((0, 0.001, 0.01))), monkeypatch.setattr)
    plan = plan_that_keeps_one_large_unit(graph, workers)
    sink, want = MemorySink(graph), evaluate(graph)
    execute(plan, sink, Progress(Silent()))
    assert held[-1] == 0
    assert max(held) <= plan.memory.live_bytes
    found = sink.tensors()
    assert all(torch.equal(found[name], want[name]) for name in want)


def test_freed_buffers_leave_room_for_the_states_of_reductions(graph, monkeypatch):
    """Buffers that wait for reuse count as held: states of reductions must fit beside them."""
    resident, take = [], BufferPool.take

    def counted_take(self, size_bytes):
        buffer = take(self, size_bytes)
        resident.append(self.held_bytes)
        return buffer

    monkeypatch.setattr(BufferPool, "take", counted_take)
    loads = [node for node in graph.nodes() if isinstance(node.op, LoadTensor)]
    deltas = [
        (base, make_node(TaskVector(), tuned, base))
        for base, tuned in zip(loads[::2], loads[1::2], strict=True)
    ]
    trimmed = [
        make_node(AddDelta(), base, keep_largest(delta, base.spec.numel // 2))
        for base, delta in deltas
    ]
    ties = Graph(tuple(Output(f"out{number}", node) for number, node in enumerate(trimmed)))
    plan = plan_that_keeps_one_large_unit(ties, 1)
    execute(plan, MemorySink(ties), Progress(Silent()))
    states = max(unit.unit.facts.state_bytes for unit in plan.units)
    assert states > 2**20
    assert max(resident) + states <= plan.memory.live_bytes


def test_at_most_one_unit_per_worker_is_in_flight(graph, held):
    plan = schedule(graph, Request(2**30, 2), nothing_reserved)
    execute(plan, MemorySink(graph), Progress(Silent()))
    assert max(held) <= 2 * 2 * 4 * LARGE
