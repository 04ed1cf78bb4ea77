"""The k-th largest magnitudes for several k at once, by either executor, are those of a sort."""

import numpy as np
import pytest
import torch
from attrs import evolve
from hypothesis import example, given, settings
from hypothesis import strategies as st

from graphmerge.graph import make_node
from graphmerge.kernels import ReducedTile, update
from graphmerge.kernels.dtypes import TORCH_DTYPES
from graphmerge.methods.order_statistics import kth_largest
from graphmerge.native import PreparedCall, arguments_of, function_for
from graphmerge.ops.arithmetic import TaskVector
from graphmerge.schedule.fusion import fused_layout
from graphmerge.schedule.program import compile_program
from graphmerge.spec import DType
from graphmerge.statistics import reduction
from graphmerge.testing.drawn_graphs import stored

DTYPES = {np.float32: DType.F32, np.float64: DType.F64}
BITS = {np.float32: np.int32, np.float64: np.int64}


def by_torch(node, before, values):
    """The histograms of a digit, by the torch kernel."""
    specs = tuple(value.spec for value in node.inputs)
    scratch = [
        torch.empty(len(values), dtype=TORCH_DTYPES[dtype]) for dtype in node.op.scratch(specs)
    ]
    tile = ReducedTile([torch.from_numpy(values.copy())], before, scratch)
    return update(node.op)(node.op, tile)


def by_native_code(node, before, values):
    """The same by native code, of the difference to zeros."""
    program = compile_program((node,), None)
    layout = fused_layout(program)
    program = evolve(program, fused=layout)
    arguments = arguments_of(program, dict(zip(node.inputs[1:], before, strict=True)))
    memory = np.zeros(layout.scratch_bytes + 64, dtype=np.uint8)
    scratch = memory[-memory.ctypes.data % 64 :][: layout.scratch_bytes]
    partials = np.zeros(layout.partial_bytes(len(values)), np.uint8)
    function = function_for(program, arguments)
    call = PreparedCall(function, layout, arguments, scratch, partials, len(values), 1)
    loads = [values.view(np.uint8), np.zeros(values.nbytes, dtype=np.uint8)]
    (partial,) = call(loads, 0).partials.values()
    return partial


def found_by_digits(histograms, values, keep):
    """The statistic of the last digit, and the histograms on the way, of all tiles at once."""
    loads = (stored(name, values.shape, DTYPES[values.dtype.type]) for name in "xy")
    last = kth_largest(make_node(TaskVector(), *loads), *keep)
    chain = [last]
    while len(chain[0].inputs) > 1:
        chain.insert(0, chain[0].inputs[1])
    statistics, seen = [], []
    for node in chain:
        how = reduction(node.op)
        state = how.begin(node.op, tuple(value.spec for value in node.inputs))
        for start in (0, 0):  # two tiles of the same values
            partial = histograms(node, statistics[-1:], values)
            how.combine(state, partial, start)
        seen.append(state // 2)
        statistics.append(how.finish(node.op, state // 2, statistics[-1:]))
    return statistics[-1], seen


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@settings(deadline=None, max_examples=30)
@given(
    st.integers(1, 3000),
    st.sampled_from((3, 1000, None)),
    st.lists(st.floats(0, 1), min_size=1, max_size=6),
    st.integers(0, 99),
)
@example(3000, None, [0.3, 0.3, 0.7, 0.71, 0.0, 1.0], 0)
@example(3000, 3, [0.5, 0.9, 0.1, 0.1], 1)
def test_every_threshold_is_that_of_a_sort(kind, count, levels, shares, seed):
    """Of few magnitudes, which several thresholds share, and of many."""
    rng = np.random.default_rng(seed)
    values = rng.normal(size=count) if levels is None else rng.integers(-levels, levels, count)
    values = values.astype(kind)
    keep = [min(count, 1 + int(share * count)) for share in shares]
    bits = np.abs(values).view(BITS[kind]).astype(np.int64)
    falling = np.sort(bits)[::-1]
    wanted = [
        (bit := int(falling[k - 1]), int((bits > bit).sum()), int((bits == bit).sum()), k)
        for k in keep
    ]
    by_kernel, counted = found_by_digits(by_torch, values, keep)
    by_code, counted_too = found_by_digits(by_native_code, values, keep)
    assert by_kernel.tolist() == by_code.tolist() == [list(row) for row in wanted]
    for one, other in zip(counted, counted_too, strict=True):
        assert np.array_equal(one, other)
    assert counted[0].sum() == count
