"""Gathered rows: the same bytes as row by row, wherever the range that is read begins and ends."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

from graphmerge.checkpoint.header import read_header
from graphmerge.errors import GraphError
from graphmerge.execution.made_reading import MadeReaders
from graphmerge.execution.reading import FileReader
from graphmerge.graph import Graph, Output, make_node
from graphmerge.ops.rows import COMBINED_ROW, NO_COMBINATIONS, Combinations, GatherRows, RowMap
from graphmerge.ops.sources import LoadTensor
from graphmerge.testing.evaluation import evaluate

ROWS = (40, 25, 33)
WIDTHS = (1, 3, 700, 5000)


@pytest.fixture(scope="module")
def loads(tmp_path_factory):
    """By width and dtypes: three tables, one in another dtype if they are mixed."""
    folder = tmp_path_factory.mktemp("rows")
    generator = torch.Generator().manual_seed(0)
    found = {}
    for width in WIDTHS:
        for mixed in (False, True):
            dtypes = [torch.bfloat16, torch.float16 if mixed else torch.bfloat16, torch.bfloat16]
            tables = {
                f"t{number}": torch.randn(rows, width, generator=generator).to(dtype)
                for number, (rows, dtype) in enumerate(zip(ROWS, dtypes, strict=True))
            }
            file = folder / f"{width}-{mixed}.safetensors"
            save_file(tables, file)
            entries = read_header(file).tensors
            found[width, mixed] = [make_node(LoadTensor("m", entries[name])) for name in tables]
    return found


@st.composite
def row_maps(draw):
    count = draw(st.integers(1, 90))
    seed = draw(st.integers(0, 2**32 - 1))
    random = np.random.default_rng(seed)
    source = np.repeat(random.integers(-2, 3, count), random.integers(1, 12, count))[:count]
    if draw(st.booleans()):
        source = np.where(source == COMBINED_ROW, 0, source)
    most = np.array([*ROWS, 1, 1])[source]
    steps = random.integers(0, 3, count) if draw(st.booleans()) else np.ones(count, int)
    row = (steps.cumsum() + random.integers(0, 9)) % most
    is_combined = source == COMBINED_ROW
    row[is_combined] = np.arange(is_combined.sum())
    lengths = random.integers(1, 4, is_combined.sum())
    inputs = random.integers(0, 3, lengths.sum()).astype(np.int32)
    combinations = Combinations(
        np.append(0, lengths.cumsum()).astype(np.int64),
        inputs,
        random.integers(0, np.array(ROWS)[inputs]) if len(inputs) else np.zeros(0, np.int64),
        random.standard_normal(len(inputs)),
    )
    padding = draw(st.sampled_from((0, 0, 5)))
    return RowMap(source.astype(np.int32), row.astype(np.int64), combinations, padding)


@given(
    rows=row_maps(),
    width=st.sampled_from(WIDTHS),
    mixed=st.booleans(),
    cuts=st.lists(st.floats(0, 1), max_size=6),
)
def test_any_tiles_give_the_rows(loads, rows, width, mixed, cuts):
    node = make_node(GatherRows(rows), *loads[width, mixed])
    wanted = evaluate(Graph((Output("x", node),)))["x"].view(torch.uint8).numpy()
    size = node.spec.dtype.bits // 8
    edges = sorted({0, node.spec.numel, *(int(cut * node.spec.numel) for cut in cuts)})
    with FileReader() as reader:
        found = MadeReaders(reader, native=False).of(node)
        for start, stop in itertools.pairwise(edges):
            buffer = np.full((stop - start) * size, 7, np.uint8)
            found.read(start, buffer)
            assert np.array_equal(buffer, wanted[start * size : stop * size])


def test_rows_that_are_copied_keep_their_dtype(loads):
    copied = RowMap(np.zeros(3, np.int32), np.arange(3))
    assert make_node(GatherRows(copied), loads[3, False][0]).spec.dtype.value == "BF16"
    assert make_node(GatherRows(copied), *loads[3, True]).spec.dtype.value == "F32"
    padded = RowMap(np.zeros(3, np.int32), np.arange(3), NO_COMBINATIONS, 1)
    node = make_node(GatherRows(padded), loads[3, False][0])
    assert str(node.spec) == "F32[4, 3]"


def test_the_same_rows_are_the_same_node(loads):
    first, second, other = (
        make_node(GatherRows(RowMap(np.zeros(2, np.int32), np.array(rows))), loads[3, False][0])
        for rows in ([0, 1], [0, 1], [1, 0])
    )
    assert first is second
    assert first is not other


def test_rows_of_different_lengths_are_refused(loads):
    rows = RowMap(np.zeros(1, np.int32), np.zeros(1, np.int64))
    with pytest.raises(GraphError, match="rows of different lengths"):
        make_node(GatherRows(rows), loads[3, False][0], loads[1, False][0])
