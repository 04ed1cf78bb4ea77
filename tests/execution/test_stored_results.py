"""Stored results: the same bytes, within the plan's memory, made again where a run goes on."""

import time

import pytest
import torch

from graphmerge.checkpoint.reading import read_checkpoint
from graphmerge.execution import worker
from graphmerge.execution.engine import execute
from graphmerge.execution.events import Progress
from graphmerge.execution.pool import BufferPool
from graphmerge.graph import Graph, Output, make_node
from graphmerge.ops.arithmetic import AddDelta, Cast, Scale, TaskVector
from graphmerge.ops.blocks import BLOCK_ELEMENTS
from graphmerge.ops.consensus import SignConsensus
from graphmerge.ops.ranked import KeepMasked, RankedMask
from graphmerge.ops.sources import LoadTensor
from graphmerge.ops.sparsify import MaskKey
from graphmerge.schedule import cost
from graphmerge.schedule.choose import schedule
from graphmerge.schedule.executors import Kernels
from graphmerge.schedule.memory import ALIGNMENT, tile_memory
from graphmerge.schedule.plan import Request
from graphmerge.spec import DType
from graphmerge.testing.drawn_graphs import keep_largest, slerp
from graphmerge.testing.evaluation import MemorySink, evaluate
from graphmerge.testing.merging import Silent, compile_mapping, nothing_reserved, plan_for
from graphmerge.testing.plans import check_plan
from graphmerge.testing.reads import before_reads
from graphmerge.testing.stored_models import same_bytes, write_model
from graphmerge.units import GIB

N = 4 * BLOCK_ELEMENTS + 7


@pytest.fixture(scope="module")
def graph(tmp_path_factory):
    """a, b -> first; c, d -> second; slerps of both, one of them alone, and half of the other."""
    generator = torch.Generator().manual_seed(0)
    tensors = {name: torch.randn(N, generator=generator).bfloat16() for name in "0abcd"}
    entries = read_checkpoint(write_model(tmp_path_factory.mktemp("m") / "m", tensors)).tensors
    base, *tuned = (
        make_node(Cast(DType.F32), make_node(LoadTensor("m", entries[name]))) for name in "0abcd"
    )
    first, second = ties(base, tuned[:2]), ties(base, tuned[2:])
    half = make_node(Scale(0.5), second)
    nodes = (slerp(first, second, 0.3), first, half, slerp(second, first, 0.6))
    return Graph(tuple(Output(f"out{number}", node) for number, node in enumerate(nodes)))


def ties(base, tuned):
    deltas = [keep_largest(make_node(TaskVector(), one, base), N // 2) for one in tuned]
    elected = make_node(SignConsensus((1.0,) * len(deltas), normalize=True), *deltas)
    return make_node(AddDelta(), base, elected)


@pytest.fixture
def slow_computing(monkeypatch):
    """Computing takes so long that results are better stored."""
    monkeypatch.setattr(cost, "TILE_OVERHEAD_SECONDS", 0)
    for name in ("NATIVE_SECONDS_PER_ELEMENT", "INSTRUCTION_SECONDS_PER_ELEMENT"):
        monkeypatch.setattr(cost, name, 1e-8)


def plan_of(graph, *, budget=GIB, workers=1, kernels=Kernels.AUTO):
    request = Request(budget, workers, kernels=kernels, tile_elements=BLOCK_ELEMENTS)
    plan = schedule(graph, request, nothing_reserved)
    check_plan(plan)
    return plan


def stores(plan):
    return sum(unit.unit.stored is not None for unit in plan.units)


def run(graph, plan, finished=()):
    sink = MemorySink(graph)
    execute(plan, sink, Progress(Silent()), finished=finished)
    return sink


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("kernels", [Kernels.NATIVE, Kernels.TORCH])
def test_stored_or_computed_again_the_bytes_are_the_same(
    graph, slow_computing, workers, kernels, monkeypatch
):
    storing = plan_of(graph, workers=workers, kernels=kernels)
    lean = plan_of(graph, budget=0, workers=1, kernels=kernels)
    assert stores(storing) >= 2
    assert not stores(lean)
    expected = evaluate(graph)
    for plan in (storing, lean):
        found = run(graph, plan).tensors()
        assert all(same_bytes(found[name], want) for name, want in expected.items())


@pytest.mark.parametrize("workers", [1, 3])
def test_masks_of_what_is_stored_are_stored(tmp_path, slow_computing, workers):
    generator = torch.Generator().manual_seed(0)
    tensors = {name: torch.randn(300, 1000, generator=generator) for name in "abc"}
    entries = read_checkpoint(write_model(tmp_path / "m", tensors)).tensors
    a, b, c = (make_node(LoadTensor("m", entries[name])) for name in "abc")
    delta = make_node(TaskVector(), a, b)
    mask = make_node(RankedMask(0.5, 0.2, MaskKey(0, "m", "a")), delta)
    others = [make_node(TaskVector(), c, one) for one in (a, b)]
    parts = [delta, *(make_node(KeepMasked(), one, mask) for one in (delta, *others))]
    nodes = [make_node(AddDelta(), base, part) for base in (b, c) for part in parts]
    graph = Graph(tuple(Output(f"out{number}", node) for number, node in enumerate(nodes)))
    plan = plan_of(graph, workers=workers)
    stored = {unit.unit.root: unit.unit for unit in plan.units if unit.unit.stored is not None}
    assert {delta, mask} <= set(stored)
    assert delta in stored[mask].needs
    found, expected = run(graph, plan).tensors(), evaluate(graph)
    assert all(same_bytes(found[name], want) for name, want in expected.items())


def test_the_bytes_are_the_same_however_few_views_a_worker_keeps(
    graph, slow_computing, monkeypatch
):
    monkeypatch.setattr(worker, "_MOST_VIEWS", 1)
    found, expected = run(graph, plan_of(graph, workers=2)).tensors(), evaluate(graph)
    assert all(same_bytes(found[name], want) for name, want in expected.items())


def test_what_is_stored_is_read_to_where_it_stays(tmp_path):
    for name in ("base", "a", "b"):
        write_model(tmp_path / name, {"w": torch.randn(2048, 2048)})
    models = [{"model": name, "parameters": {"weight": 1, "density": 0.5}} for name in "ab"]
    recipe = {"merge_method": "della", "base_model": "base", "models": models}
    plan = plan_for(compile_mapping(recipe, tmp_path / "recipe.yml"))
    stored = [unit.unit.bound().work for unit in plan.units if unit.unit.stored is not None]
    copies = [work.passes[-1] for work in stored if isinstance(work.root.op, LoadTensor)]
    assert copies
    for part in copies:
        assert tile_memory(part, (), BLOCK_ELEMENTS).arena_bytes <= 2 * ALIGNMENT


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_what_is_held_is_within_the_plan_and_given_back(
    graph, slow_computing, workers, monkeypatch
):
    plan = plan_of(graph, workers=workers)
    held, take, give = [0], BufferPool.take, BufferPool.give

    def counted_take(self, size_bytes):
        held.append(held[-1] + size_bytes)
        return take(self, size_bytes)

    def counted_give(self, buffer):
        held.append(held[-1] - buffer.nbytes)
        give(self, buffer)

    monkeypatch.setattr(BufferPool, "take", counted_take)
    monkeypatch.setattr(BufferPool, "give", counted_give)
    run(graph, plan)
    assert stores(plan)
    assert held[-1] == 0
    assert max(held) <= plan.memory.live_bytes


@pytest.mark.parametrize(
    "finished", [("out0",), ("out1",), ("out0", "out1", "out3"), ("out2",), ("out0", "out3")]
)
def test_a_run_that_goes_on_stores_what_the_rest_needs(graph, slow_computing, finished):
    plan = plan_of(graph, workers=2)
    sink = run(graph, plan, finished)
    left = {output.name for output in graph.outputs} - set(finished)
    assert set(sink.finished) == left
    found, expected = sink.tensors(), evaluate(graph)
    assert all(same_bytes(found[name], expected[name]) for name in left)


@pytest.mark.parametrize("kernels", [Kernels.NATIVE, Kernels.TORCH])
def test_no_two_units_store_the_same_tensor(tmp_path, monkeypatch, kernels):
    """Two outputs share the base, and each would store it: the later ones would find no bytes."""
    generator = torch.Generator().manual_seed(0)
    tensors = {name: torch.randn(N, generator=generator) for name in "abc"}
    entries = read_checkpoint(write_model(tmp_path / "m", tensors)).tensors
    base, *tuned = (make_node(LoadTensor("m", entries[name])) for name in "abc")
    deltas = [make_node(TaskVector(), one, base) for one in tuned]
    nodes = [
        make_node(AddDelta(), base, keep_largest(delta, N // number))
        for number, delta in enumerate(deltas, 2)
    ]
    graph = Graph(tuple(Output(f"out{number}", node) for number, node in enumerate(nodes)))
    monkeypatch.setattr(cost, "STORED_BYTES_PER_SECOND", 1e12)
    for name in ("NATIVE_SECONDS_PER_ELEMENT", "INSTRUCTION_SECONDS_PER_ELEMENT"):
        monkeypatch.setattr(cost, name, 1e-6)
    request = Request(GIB, 3, kernels=kernels, tile_elements=8 * BLOCK_ELEMENTS)
    plan = schedule(graph, request, nothing_reserved)
    assert stores(plan)
    check_plan(plan)
    reads = []

    def wait_for_others(read):
        reads.extend(entry.name for entry in read)
        if reads.count("a") > 1:
            time.sleep(0.2)

    before_reads(wait_for_others, monkeypatch.setattr)
    found = run(graph, plan).tensors()
    for name, want in evaluate(graph).items():
        assert same_bytes(found[name], want)
