"""Any range of a tensor with a low-rank product added: the same bytes as the whole of it."""

import functools
import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from graphmerge.checkpoint.header import read_header
from graphmerge.errors import GraphError
from graphmerge.execution.made_reading import MadeReaders
from graphmerge.execution.reading import FileReader
from graphmerge.graph import Graph, Output, make_node
from graphmerge.native.low_rank import NativeProduct
from graphmerge.ops.low_rank import AddLowRank
from graphmerge.ops.rows import GatherRows, RowMap
from graphmerge.ops.sources import LoadTensor
from graphmerge.testing.evaluation import evaluate

KINDS = {
    "tall": ((300, 7), (3, 7), (300, 3), False),
    "wide": ((5, 20_000), (2, 20_000), (5, 2), False),
    "transposed": ((70, 400), (5, 70), (400, 5), True),
    "convolution": ((40, 6, 3, 3), (4, 6, 3, 3), (40, 4, 1, 1), False),
}
DTYPES = (torch.bfloat16, torch.float16, torch.float32, torch.float64)


@pytest.fixture(scope="module")
def loads(tmp_path_factory):
    """Weight and factors by kind and dtype of the weight; the factors are in another dtype."""
    folder = tmp_path_factory.mktemp("factors")
    generator = torch.Generator().manual_seed(0)
    found = {}
    for (kind, (*shapes, _)), dtype in itertools.product(KINDS.items(), DTYPES):
        tensors = {
            name: torch.randn(shape, generator=generator).to(own)
            for name, shape, own in zip("wab", shapes, (dtype, *reversed(DTYPES[:2])), strict=True)
        }
        file = folder / f"{kind}-{dtype}.safetensors"
        save_file(tensors, file)
        entries = read_header(file).tensors
        found[kind, dtype] = [make_node(LoadTensor("m", entries[name])) for name in tensors]
    return found


def read(node, edges, *, native=True):
    """The tensor's bytes, piece by piece."""
    size = node.spec.dtype.bits // 8
    with FileReader() as reader:
        made = MadeReaders(reader, native=native).of(node)
        pieces = []
        for start, stop in itertools.pairwise(edges):
            piece = np.full((stop - start) * size, 0xA5, np.uint8)
            made.read(start, piece)
            pieces.append(piece)
    return np.concatenate(pieces)


@functools.cache
def whole(node):
    return evaluate(Graph((Output("x", node),)))["x"].view(torch.uint8).numpy()


@given(
    kind=st.sampled_from(sorted(KINDS)),
    dtype=st.sampled_from(DTYPES),
    cuts=st.lists(st.floats(0, 1), max_size=6),
    native=st.booleans(),
)
def test_any_tiles_give_the_same_bytes(loads, kind, dtype, cuts, native):
    node = make_node(AddLowRank(1.7, KINDS[kind][-1]), *loads[kind, dtype])
    edges = sorted({0, node.spec.numel, *(int(cut * node.spec.numel) for cut in cuts)})
    np.testing.assert_array_equal(read(node, edges, native=native), whole(node))


@given(
    rows=st.integers(1, 11),
    columns=st.integers(1, 50),
    rank=st.integers(1, 9),
    dtype=st.sampled_from([np.float32, np.float64]),
    seed=st.integers(0, 99),
)
def test_native_code_multiplies_as_numpy_does(rows, columns, rank, dtype, seed):
    """Rank by rank, every step rounded; whatever is left of groups of rows and of vectors."""
    random = np.random.default_rng(seed)
    left = random.standard_normal((rows, rank)).astype(dtype)
    right = random.standard_normal((rank, columns)).astype(dtype)
    wanted = np.zeros((rows, columns), dtype)
    for number in range(rank):
        wanted += left[:, number, None] * right[number]
    found = NativeProduct(right)(left, 0.3)
    np.testing.assert_array_equal(found[:, :columns], wanted * dtype(0.3))
    assert not found[:, columns:].any()


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_the_sum_of_the_formula(loads, kind):
    nodes = loads[kind, torch.float64]
    w, a, b = (load_file(node.op.entry.file)[node.op.entry.name].double() for node in nodes)
    is_transposed = KINDS[kind][-1]
    node = make_node(AddLowRank(1.7, is_transposed), *nodes)
    product = b.reshape(b.shape[0], -1) @ a.reshape(a.shape[0], -1)
    product = product.T if is_transposed else product
    got = read(node, (0, node.spec.numel)).view(np.float64).reshape(w.shape)
    np.testing.assert_allclose(got, w + 1.7 * product.reshape(w.shape), rtol=1e-13, atol=1e-13)


def test_rows_are_gathered_of_it(loads):
    product = make_node(AddLowRank(0.5), *loads["tall", torch.bfloat16])
    other = loads["tall", torch.bfloat16][0]
    rows = np.array([299, 0, 1, 2, 5, 5, 17], np.int64)
    source = np.array([0, 0, 1, 0, 0, 1, 0], np.int32)
    node = make_node(GatherRows(RowMap(source, rows)), product, other)
    np.testing.assert_array_equal(read(node, (0, 10, 11, node.spec.numel)), whole(node))


def test_factors_that_do_not_fit_are_refused(loads):
    w, a, _ = loads["tall", torch.float32]
    with pytest.raises(GraphError, match="factors that do not fit"):
        make_node(AddLowRank(1.0), w, a, a)
