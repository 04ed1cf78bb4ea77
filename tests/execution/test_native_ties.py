"""Ties at a threshold in native code: the first ones stay, wherever in a block they end."""

import numpy as np
import pytest
import torch

from graphmerge.checkpoint.reading import read_checkpoint
from graphmerge.execution.engine import execute
from graphmerge.execution.events import Progress
from graphmerge.graph import Graph, Output, make_node
from graphmerge.methods.order_statistics import cutoffs
from graphmerge.ops.arithmetic import AddDelta, TaskVector
from graphmerge.ops.blocks import BLOCK_ELEMENTS
from graphmerge.ops.outliers import DropLargest
from graphmerge.ops.sources import LoadTensor
from graphmerge.ops.sparsify import KeepLargest
from graphmerge.schedule.choose import schedule
from graphmerge.schedule.executors import Kernels
from graphmerge.schedule.plan import Request
from graphmerge.testing.evaluation import MemorySink
from graphmerge.testing.merging import Silent, nothing_reserved
from graphmerge.testing.stored_models import write_model
from graphmerge.units import GIB

SIZE = 3 * BLOCK_ELEMENTS + 1000


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """Loads of weights that are few numbers, and of zeros."""
    values = np.random.default_rng(1).integers(-3, 4, SIZE).astype(np.float32)
    values[values == -1] = -0.0
    tensors = {"base": torch.zeros(SIZE), "model": torch.from_numpy(values)}
    folder = write_model(tmp_path_factory.mktemp("model") / "m", tensors)
    entries = read_checkpoint(folder).tensors
    base, model = (make_node(LoadTensor("m", entries[name])) for name in ("base", "model"))
    return base, model, values


@pytest.mark.parametrize(
    "keep",
    [
        *(1, 15, 16, 17, 1000, BLOCK_ELEMENTS - 1, BLOCK_ELEMENTS, BLOCK_ELEMENTS + 1),
        *(SIZE // 3, SIZE // 2, 2 * BLOCK_ELEMENTS + 12345, SIZE - 17),
    ],
)
@pytest.mark.parametrize("op", [KeepLargest, DropLargest])
def test_what_stays_is_what_a_stable_sort_puts_first(stored, op, keep):
    base, model, values = stored
    delta = make_node(TaskVector(), model, base)
    sparse = make_node(op(0.5), delta, *cutoffs(delta, keep))
    graph = Graph((Output("out", make_node(AddDelta(1.0), base, sparse)),))
    request = Request(GIB, 2, kernels=Kernels.NATIVE, tile_elements=BLOCK_ELEMENTS)
    sink = MemorySink(graph)
    execute(schedule(graph, request, nothing_reserved), sink, Progress(Silent()))
    largest = np.zeros(SIZE, dtype=bool)
    largest[np.argsort(-np.abs(values), kind="stable")[:keep]] = True
    wanted = np.where(largest == (op is KeepLargest), values, 0)
    assert np.array_equal(sink.tensors()["out"].numpy().reshape(-1), wanted)
