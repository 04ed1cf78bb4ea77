"""Any range of a tensor of codes and scales: the same bytes as the whole of it, by the formula."""

import functools
import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from transformers.integrations.mxfp4 import convert_moe_packed_tensors

from graphmerge.checkpoint.header import read_header
from graphmerge.errors import GraphError
from graphmerge.execution.float8 import decode_float8
from graphmerge.execution.made_reading import MadeReaders
from graphmerge.execution.reading import FileReader
from graphmerge.graph import Graph, Output, make_node
from graphmerge.ops.dequantise import Dequantise, DequantisePacked
from graphmerge.ops.low_rank import AddLowRank
from graphmerge.ops.sources import LoadTensor
from graphmerge.spec import DType
from graphmerge.testing.evaluation import evaluate

CODES = {
    DType.F8_E4M3: torch.float8_e4m3fn,
    DType.F8_E5M2: torch.float8_e5m2,
    DType.F8_E8M0: torch.float8_e8m0fnu,
}
KINDS = {
    "blocks": ((300, 200), (3, 2), (128, 128)),
    "long rows": ((3, 70_001), (1, 547), (128, 128)),
    "whole": ((150, 31), (1,), (150, 31)),
    "rows": ((700, 130), (700, 1), (1, 130)),
    "columns": ((40, 90), (1, 90), (40, 1)),
    "groups of a row": ((9, 100), (9, 4), (1, 32)),
    "experts": ((3, 50, 40), (3, 4, 3), (16, 16)),
}


@pytest.mark.parametrize("dtype", CODES)
def test_every_pair_of_codes_is_decoded_as_torch_does(dtype):
    codes = np.arange(65536, dtype=np.uint16).view(np.uint8)
    for part in (codes, codes[:255]):
        found = np.empty(len(part), np.float32)
        decode_float8(part, dtype, found)
        wanted = torch.from_numpy(part).view(CODES[dtype]).float().numpy()
        np.testing.assert_array_equal(found, wanted)


@pytest.fixture(scope="module")
def loads(tmp_path_factory):
    """Codes and scales by kind and dtype of the codes."""
    folder = tmp_path_factory.mktemp("codes")
    generator = torch.Generator().manual_seed(0)
    found = {}
    dtypes = (DType.F8_E4M3, DType.F8_E5M2)
    for (kind, (shape, scales, _)), dtype in itertools.product(KINDS.items(), dtypes):
        numbers = torch.randn(shape, generator=generator) * 20
        tensors = {
            "codes": numbers.to(CODES[dtype]),
            "scales": torch.rand(scales, generator=generator) + 0.01,
        }
        if kind == "rows":
            tensors["scales"] = tensors["scales"].bfloat16()
        file = folder / f"{kind}-{dtype.value}.safetensors"
        save_file(tensors, file)
        entries = read_header(file).tensors
        found[kind, dtype] = [make_node(LoadTensor("m", entries[name])) for name in tensors]
    return found


def read(node, edges):
    """The tensor's numbers, piece by piece."""
    with FileReader() as reader:
        made = MadeReaders(reader, native=False).of(node)
        pieces = [
            np.full(stop - start, np.nan, np.float32) for start, stop in itertools.pairwise(edges)
        ]
        for start, piece in zip(edges, pieces, strict=False):
            made.read(start, piece.view(np.uint8))
    return np.concatenate(pieces)


@functools.cache
def whole(node):
    return evaluate(Graph((Output("x", node),)))["x"].numpy()


@given(
    kind=st.sampled_from(sorted(KINDS)),
    dtype=st.sampled_from([DType.F8_E4M3, DType.F8_E5M2]),
    cuts=st.lists(st.floats(0, 1), max_size=6),
)
def test_any_tiles_give_the_same_bytes(loads, kind, dtype, cuts):
    node = make_node(Dequantise(*KINDS[kind][2]), *loads[kind, dtype])
    edges = sorted({0, node.spec.numel, *(int(cut * node.spec.numel) for cut in cuts)})
    np.testing.assert_array_equal(read(node, edges), whole(node))


@pytest.mark.parametrize("kind", KINDS)
def test_every_element_is_its_code_times_the_scale_of_its_block(loads, kind):
    shape, scale_shape, (block_rows, block_columns) = KINDS[kind]
    nodes = loads[kind, DType.F8_E4M3]
    stored = load_file(nodes[0].op.entry.file)
    got = read(make_node(Dequantise(block_rows, block_columns), *nodes), (0, nodes[0].spec.numel))
    scales = stored["scales"].double().reshape(scale_shape if len(scale_shape) > 1 else (1, 1))
    *outer, row, column = np.indices(shape)
    of_block = scales[(*outer, row // block_rows, column // block_columns)]
    wanted = (stored["codes"].double() * of_block).float().numpy()
    np.testing.assert_array_equal(got.reshape(shape), wanted)


@pytest.mark.parametrize("kind", ["blocks", "rows"])
@pytest.mark.parametrize("scale", [float("inf"), 1e38, 1e300])
def test_scales_that_make_infinity_or_nan_are_no_warnings(tmp_path, kind, scale):
    shape, scale_shape, block = KINDS[kind]
    tensors = {
        "codes": torch.zeros(shape).index_fill(1, torch.tensor(3), 400).to(torch.float8_e4m3fn),
        "scales": torch.full(scale_shape, scale, dtype=torch.float64),
    }
    save_file(tensors, tmp_path / "m.safetensors")
    entries = read_header(tmp_path / "m.safetensors").tensors
    loads = [make_node(LoadTensor("m", entries[name])) for name in tensors]
    node = make_node(Dequantise(*block), *loads)
    found = read(node, (0, 777, node.spec.numel)).reshape(shape)
    assert np.isposinf(found[:, 3]).all()
    assert not np.isfinite(found[:, :3]).any() if scale != 1e38 else not found[:, :3].any()


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    """Packed codes and exponents, by the number of blocks of a row; two matrices of 37 rows."""
    folder = tmp_path_factory.mktemp("packed")
    generator = torch.Generator().manual_seed(0)
    found = {}
    for blocks in (1, 3, 20):
        shape = (2, 37, blocks)
        tensors = {
            "codes": torch.randint(256, (*shape, 16), generator=generator, dtype=torch.uint8),
            "scales": torch.randint(100, 140, shape, generator=generator, dtype=torch.uint8),
        }
        file = folder / f"{blocks}.safetensors"
        save_file(tensors, file)
        entries = read_header(file).tensors
        found[blocks] = [make_node(LoadTensor("m", entries[name])) for name in tensors]
    return found


@given(blocks=st.sampled_from([1, 3, 20]), cuts=st.lists(st.floats(0, 1), max_size=6))
def test_any_tiles_of_packed_codes_give_the_same_bytes(packed, blocks, cuts):
    node = make_node(DequantisePacked(), *packed[blocks])
    edges = sorted({0, node.spec.numel, *(int(cut * node.spec.numel) for cut in cuts)})
    np.testing.assert_array_equal(read(node, edges), whole(node))


def test_packed_codes_are_unpacked_as_transformers_does(packed):
    for nodes in packed.values():
        stored = load_file(nodes[0].op.entry.file)
        wanted = convert_moe_packed_tensors(stored["codes"], stored["scales"])
        node = make_node(DequantisePacked(), *nodes)
        assert node.spec.shape == tuple(wanted.shape)
        got = torch.from_numpy(read(node, (0, node.spec.numel))).reshape(wanted.shape)
        assert torch.equal(got, wanted.float())


def test_exponents_that_make_infinity_are_no_warnings(tmp_path):
    codes, scales = np.full((1, 2, 1, 16), 0x77, np.uint8), np.full((1, 2, 1), 254, np.uint8)
    tensors = {"codes": torch.from_numpy(codes), "scales": torch.from_numpy(scales)}
    save_file(tensors, tmp_path / "m.safetensors")
    entries = read_header(tmp_path / "m.safetensors").tensors
    node = make_node(
        DequantisePacked(), *(make_node(LoadTensor("m", entries[name])) for name in tensors)
    )
    assert np.isposinf(read(node, (0, node.spec.numel))).all()


def test_packed_codes_of_other_shapes_are_refused(packed):
    codes, scales = packed[3]
    for pair in ((scales, codes), (codes, codes), (codes, packed[1][1])):
        with pytest.raises(GraphError, match="no codes of 4-bit floats"):
            make_node(DequantisePacked(), *pair)


def test_a_product_is_added_to_it(loads, tmp_path):
    """An adapter of a quantised model: the op's input is made in reading as well."""
    weight = make_node(Dequantise(128, 128), *loads["blocks", DType.F8_E4M3])
    save_file({"a": torch.randn(3, 200), "b": torch.randn(300, 3)}, tmp_path / "f.safetensors")
    entries = read_header(tmp_path / "f.safetensors").tensors
    factors = [make_node(LoadTensor("m", entries[name])) for name in ("a", "b")]
    node = make_node(AddLowRank(0.5), weight, *factors)
    np.testing.assert_array_equal(read(node, (0, 777, node.spec.numel)), whole(node))


def test_what_does_not_fit_is_refused(loads):
    codes, scales = loads["blocks", DType.F8_E4M3]
    with pytest.raises(GraphError, match="scales that do not fit the codes"):
        make_node(Dequantise(64, 128), codes, scales)
    with pytest.raises(GraphError, match="no codes of 8-bit floats"):
        make_node(Dequantise(128, 128), scales, scales)
    with pytest.raises(GraphError, match="no scales"):
        make_node(Dequantise(1, 1), codes, loads["blocks", DType.F8_E5M2][0])
