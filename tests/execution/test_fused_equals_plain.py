"""Fusing, tiling, reusing registers, keeping inputs and storing results change no bit."""

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from graphmerge.checkpoint.reading import read_checkpoint
from graphmerge.execution.engine import execute
from graphmerge.execution.events import Progress
from graphmerge.graph import make_node
from graphmerge.ops.blocks import BLOCK_ELEMENTS
from graphmerge.ops.sources import LoadTensor
from graphmerge.schedule import cost
from graphmerge.schedule.choose import schedule
from graphmerge.schedule.executors import Kernels
from graphmerge.schedule.plan import Request
from graphmerge.testing.drawn_graphs import drawn_graphs
from graphmerge.testing.evaluation import MemorySink, evaluate
from graphmerge.testing.merging import Silent, nothing_reserved
from graphmerge.testing.stored_models import same_bytes, write_model
from graphmerge.units import GIB

SHAPES = ((2 * BLOCK_ELEMENTS + 19,), (7,), (0,), ())
DTYPES = {"a": torch.float32, "b": torch.float32, "c": torch.bfloat16, "d": torch.float16}


@pytest.fixture(scope="module")
def loads(tmp_path_factory):
    """Loads of stored tensors of several lengths and dtypes, some with few values."""
    generator = torch.Generator().manual_seed(0)
    tensors = {
        f"{name}{len(shape)}{sum(shape)}": torch.randn(shape, generator=generator).to(dtype)
        for shape in SHAPES
        for name, dtype in DTYPES.items()
    }
    tied = torch.randint(-2, 3, SHAPES[0], generator=generator)
    tensors["tied"] = tied.float()
    folder = write_model(tmp_path_factory.mktemp("model") / "m", tensors)
    entries = read_checkpoint(folder).tensors.values()
    return [make_node(LoadTensor("m", entry)) for entry in entries]


@settings(
    deadline=None,
    max_examples=100,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(st.data())
def test_any_graph_gives_what_plain_evaluation_gives(loads, data):
    graph = data.draw(drawn_graphs(loads, most_steps=15))
    workers = data.draw(st.integers(1, 3))
    tile = data.draw(st.sampled_from((BLOCK_ELEMENTS, 4 * BLOCK_ELEMENTS)))
    budget = data.draw(st.sampled_from((0, GIB)))
    with pytest.MonkeyPatch.context() as patch:
        if data.draw(st.booleans()):  # else little is stored
            patch.setattr(cost, "STORED_BYTES_PER_SECOND", 1e12)
            patch.setattr(cost, "NATIVE_SECONDS_PER_ELEMENT", 1e-6)
        compare(graph, workers, tile, budget, data)


def compare(graph, workers, tile, budget, data):
    """Run a plan, and compare with plain evaluation."""
    kernels = {"tile_elements": tile, "kernels": data.draw(st.sampled_from(Kernels))}
    probe = schedule(graph, Request(0, workers, **kernels), nothing_reserved)
    request = Request(budget or probe.least_budget_bytes, workers, **kernels)
    plan = schedule(graph, request, nothing_reserved)
    sink, listener = MemorySink(graph), Silent()
    execute(plan, sink, Progress(listener))
    assert sorted(sink.finished) == sorted(output.name for output in graph.outputs)
    found = sink.tensors()
    for name, want in evaluate(graph).items():
        assert same_bytes(found[name], want), name
