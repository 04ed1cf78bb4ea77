"""The k largest magnitudes by digits equal those of a full sort, for any bits of a float."""

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from graphmerge.graph import Graph, Output, make_node
from graphmerge.kernels import ReducedTile, Tile, kernel, update
from graphmerge.kernels.dtypes import TORCH_DTYPES
from graphmerge.ops.arithmetic import TaskVector
from graphmerge.ops.blocks import BLOCK_ELEMENTS
from graphmerge.ops.sparsify import KeepLargest
from graphmerge.spec import DType
from graphmerge.statistics import reduction
from graphmerge.testing.drawn_graphs import keep_largest, stored

INTEGERS = {np.float32: np.uint32, np.float64: np.uint64}
DTYPES = {np.float32: DType.F32, np.float64: DType.F64}


def scratch_of(node, count):
    specs = tuple(value.spec for value in node.inputs)
    dtypes = [TORCH_DTYPES[dtype] for dtype in node.op.scratch(specs)]
    return [torch.empty(count, dtype=dtype) for dtype in dtypes]


def kept_by_kernels(values, keep, *, tile=None, order=None):
    """The mask of kept entries, tile by tile as the engine does it, tiles in any order."""
    loads = (stored(name, values.shape, DTYPES[values.dtype.type]) for name in "xy")
    delta = make_node(TaskVector(), *loads)
    result = keep_largest(delta, keep)
    x, tile = torch.from_numpy(values.copy()), tile or max(len(values), 1)
    starts = list(range(0, len(values), tile))
    statistics = {}
    chain = [node for node in Graph((Output("o", result),)).nodes() if node.spec.dtype is DType.I64]
    for node in chain:
        how = reduction(node.op)
        below = [statistics[value] for value in node.inputs[1:]]
        state = how.begin(node.op, tuple(value.spec for value in node.inputs))
        for start in order(starts) if order else starts:
            part = x[start : start + tile].clone()
            partial = update(node.op)(
                node.op, ReducedTile([part], below, scratch_of(node, len(part)))
            )
            how.combine(state, partial, start)
        known = how.known(node.op, below) if below else None
        statistics[node] = how.finish(node.op, state, below)
        if known is not None:
            assert_same_cutoff(known, statistics[node], x, result.op)
    output = torch.full_like(x, 7)
    cutoff = [statistics[result.inputs[1]]]
    for start in starts:
        part, out = x[start : start + tile], output[start : start + tile]
        scratch = scratch_of(result, len(part))
        kernel(result.op)(result.op, Tile([part], cutoff, out, scratch, start, (len(part),)))
    return output.numpy()


def assert_same_cutoff(known, found, x, op):
    """What `known` says without looking keeps the same entries."""
    outputs = []
    for cutoff in (known, found):
        integer = torch.int32 if x.dtype is torch.float32 else torch.int64
        outputs.append(torch.empty_like(x))
        kernel(op)(
            op, Tile([x], [cutoff], outputs[-1], [torch.empty(len(x), dtype=integer)], 0, (len(x),))
        )
    assert torch.equal(*outputs)


def kept_by_sorting(values, keep):
    order = np.argsort(-np.abs(values), kind="stable")
    mask = np.zeros(len(values), dtype=bool)
    mask[order[:keep]] = True
    return np.where(mask, values, 0)


def bits(kind, most):
    """Arrays of any bits but NaN: subnormals, both zeros, infinities; often with repetitions."""
    exponent = {np.float32: 0x7F800000, np.float64: 0x7FF << 52}[kind]
    integer = INTEGERS[kind]
    special = [0, 1, exponent, exponent - 1, (exponent >> 1) + 1, np.iinfo(integer).max // 2 + 1]
    sign = int(np.iinfo(integer).max) // 2 + 1
    patterns = st.one_of(
        st.sampled_from([bits for value in special[:5] for bits in (value, value | sign)]),
        st.integers(0, exponent),
        st.integers(sign, sign + exponent),
        st.integers(exponent // 2, exponent // 2 + 3),
    )
    arrays = hnp.arrays(integer, st.integers(1, most), elements=patterns)
    return arrays.map(lambda array: array.view(kind))


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@settings(deadline=None, max_examples=150)
@given(st.data())
def test_any_bits_are_ranked_as_by_a_sort(kind, data):
    values = data.draw(bits(kind, 60))
    keep = data.draw(st.integers(1, len(values)))
    found, wanted = kept_by_kernels(values, keep), kept_by_sorting(values, keep)
    assert np.array_equal(found, wanted)
    assert np.count_nonzero(found) <= keep


@settings(deadline=None, max_examples=25)
@given(
    st.integers(1, 3 * BLOCK_ELEMENTS + 77),
    st.integers(1, 6),
    st.sampled_from((1, 2, 4)),
    st.floats(0, 1),
    st.randoms(use_true_random=False),
)
@example(BLOCK_ELEMENTS, 1, 1, 0.5, None)
@example(2 * BLOCK_ELEMENTS, 1, 1, 0.5, None)
@example(3 * BLOCK_ELEMENTS, 2, 2, 1.0, None)
def test_ties_end_at_one_index_for_any_tiles_in_any_order(count, levels, blocks, share, chance):
    """Few magnitudes over several numerics blocks."""
    generator = np.random.default_rng(count)
    values = generator.integers(-levels, levels + 1, count).astype(np.float32)
    keep = max(1, int(share * count))

    def shuffled(starts):
        if chance is not None:
            chance.shuffle(starts)
        return list(starts)

    found = kept_by_kernels(values, keep, tile=blocks * BLOCK_ELEMENTS, order=shuffled)
    assert np.array_equal(found, kept_by_sorting(values, keep))


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_neighbouring_floats_are_told_apart(kind):
    """Magnitudes that differ in the last bit only, across the border of two digits."""
    for start in (1.0, 1.9999999, 2.0**-126, 3e38):
        values = [kind(start)]
        for _ in range(40):
            values.append(np.nextafter(values[-1], kind(0)))
        array = np.array(values)[::-1].copy()
        for keep in (1, 2, 20, 40, 41):
            assert np.array_equal(kept_by_kernels(array, keep), kept_by_sorting(array, keep))


def test_density_is_for_readers_only():
    assert KeepLargest(0.5).settings() == "magnitude, density=0.5"
