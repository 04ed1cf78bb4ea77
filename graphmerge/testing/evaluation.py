"""Evaluate a graph the plain way: whole tensors, one node after the other, nothing reused."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import torch
from safetensors.torch import load_file

from graphmerge.graph import Access, Graph, Node, all_inputs
from graphmerge.kernels import ReducedTile, Tile, kernel, update
from graphmerge.kernels.dtypes import TORCH_DTYPES
from graphmerge.ops.dequantise import Dequantise, DequantisePacked
from graphmerge.ops.low_rank import AddLowRank
from graphmerge.ops.rows import COMBINED_ROW, ZERO_ROW, GatherRows
from graphmerge.ops.sources import LoadTensor
from graphmerge.schedule.program import look_through
from graphmerge.schedule.tiling import tile_shape
from graphmerge.statistics import Statistic, fold, reduction, small

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from graphmerge.execution.reading import Bytes
    from graphmerge.spec import DType

Value: TypeAlias = "torch.Tensor | Statistic"


def evaluate(graph: Graph) -> dict[str, torch.Tensor]:
    """Every output tensor by name, flat: the same kernels, each on a whole tensor."""
    values: dict[Node, Value] = {}
    for node in graph.nodes():
        values[node] = _evaluate(node, values)
    return {output.name: _tensor(values[output.node]) for output in graph.outputs}


def _gathered(node: Node, inputs: list[torch.Tensor]) -> torch.Tensor:
    """Row by row, in float64 where anything is computed."""
    assert isinstance(node.op, GatherRows)
    rows, dtype = node.op.rows, TORCH_DTYPES[node.spec.dtype]
    width = node.spec.numel // rows.rows
    tables = [tensor.reshape(-1, width) for tensor in inputs]
    sums = rows.combinations
    made: list[torch.Tensor] = []
    for source, row in zip(rows.source.tolist(), rows.row.tolist(), strict=True):
        if source == ZERO_ROW:
            made.append(torch.zeros_like(tables[0][0]).to(dtype))
        elif source == COMBINED_ROW:
            total = torch.zeros(tables[0].shape[1], dtype=torch.float64)
            for place in range(sums.starts[row], sums.starts[row + 1]):
                total += sums.weight[place] * tables[sums.source[place]][sums.row[place]].double()
            made.append(total.to(dtype))
        else:
            made.append(tables[source][row].to(dtype))
    if rows.padding:
        mean = torch.stack(made).double().mean(dim=0).to(dtype)
        made += [mean] * rows.padding
    return torch.stack(made).reshape(-1)


def _with_product(node: Node, inputs: list[torch.Tensor]) -> torch.Tensor:
    """W + scale * B A, rank by rank."""
    op, dtype = node.op, TORCH_DTYPES[node.spec.dtype]
    assert isinstance(op, AddLowRank)
    rank = node.inputs[1].spec.shape[0]
    weight, a, b = (value.to(dtype) for value in inputs)
    a, b = a.reshape(rank, -1), b.reshape(-1, rank)
    product = torch.zeros(b.shape[0], a.shape[1], dtype=dtype)
    for number in range(rank):
        product += b[:, number, None] * a[number]
    product = product.T if op.is_transposed else product
    return weight + (product * op.scale).reshape(-1)


def _dequantised(node: Node, inputs: list[torch.Tensor]) -> torch.Tensor:
    """Codes times scales, every scale repeated over its block."""
    assert isinstance(node.op, Dequantise)
    codes, scales = inputs
    *outer, rows, columns = node.spec.shape
    repeated = scales.float().reshape(*outer, *node.op.blocks(node.spec))
    repeated = repeated.repeat_interleave(node.op.block_rows, dim=-2)[..., :rows, :]
    repeated = repeated.repeat_interleave(node.op.block_columns, dim=-1)[..., :columns]
    return codes.float() * repeated.reshape(-1)


def _unpacked(node: Node, inputs: list[torch.Tensor]) -> torch.Tensor:
    """Two numbers of every byte, times powers of two; transposed."""
    codes, exponents = inputs
    sizes = torch.tensor([0, 0.5, 1, 1.5, 2, 3, 4, 6])
    values = torch.cat([sizes, -sizes])
    pairs = torch.stack([values[(codes & 15).long()], values[(codes >> 4).long()]], dim=-1)
    powers = torch.pow(2.0, exponents.double() - 127).float()
    numbers = pairs.reshape(len(powers), -1) * powers[:, None]
    matrices, columns, rows = node.spec.shape
    return numbers.reshape(matrices, rows, columns).transpose(1, 2).reshape(-1)


_MADE_IN_READING = {
    AddLowRank: _with_product,
    Dequantise: _dequantised,
    DequantisePacked: _unpacked,
    GatherRows: _gathered,
}


def _evaluate(node: Node, values: dict[Node, Value]) -> Value:
    if look_through(node) is not node:
        return values[node.inputs[0]]
    if isinstance(node.op, LoadTensor):
        return load_file(node.op.entry.file)[node.op.entry.name].reshape(-1)
    inputs = [values[value] for value in all_inputs(node)]
    if type(node.op) in _MADE_IN_READING:
        return _MADE_IN_READING[type(node.op)](node, [_tensor(value) for value in inputs])
    tensors = [value for value in inputs if isinstance(value, torch.Tensor)]
    statistics = [value for value in inputs if isinstance(value, np.ndarray)]
    if node.op.fold_width:
        return _folded(node, statistics)
    if node.op.access is Access.SMALL:
        return small(node.op)(node.op, statistics)
    specs = tuple(value.spec for value in node.inputs)
    scratch = _empty(node.op.scratch(specs), len(tensors[0]))
    if node.op.access is Access.REDUCE:
        how = reduction(node.op)
        state = how.begin(node.op, specs)
        if len(tensors[0]):
            shape = tile_shape(node, len(tensors[0]))
            tile = ReducedTile(tensors, statistics, scratch, 0, shape)
            how.combine(state, update(node.op)(node.op, tile), 0)
        return how.finish(node.op, state, statistics)
    (output,) = _empty((node.spec.dtype,), node.spec.numel)
    if node.spec.numel:
        shape = tile_shape(node, node.spec.numel)
        kernel(node.op)(node.op, Tile(tensors, statistics, output, scratch, 0, shape))
    return output


def _folded(node: Node, statistics: list[Statistic]) -> Statistic:
    how = fold(node.op)
    state = how.begin(node.op, tuple(value.spec for value in all_inputs(node)))
    for place, statistic in enumerate(statistics):
        how.take(node.op, state, place, statistic)
    return how.finish(node.op, state)


def _empty(dtypes: Iterable[DType], count: int) -> list[torch.Tensor]:
    """Buffers full of nonsense, so that a kernel that reads before it writes is noticed."""
    bits = [dtype.bits // 8 * count for dtype in dtypes]
    raw = [torch.full((size,), 0xA5, dtype=torch.uint8) for size in bits]
    return [part.view(TORCH_DTYPES[dtype]) for part, dtype in zip(raw, dtypes, strict=True)]


def _tensor(value: Value) -> torch.Tensor:
    assert isinstance(value, torch.Tensor), "an output is a tensor"
    return value


class MemorySink:
    """A sink that keeps the output tensors in memory."""

    def __init__(self, graph: Graph) -> None:
        self._specs = {output.name: output.node.spec for output in graph.outputs}
        self._bytes = {
            name: torch.full((spec.nbytes,), 0x5A, dtype=torch.uint8)
            for name, spec in self._specs.items()
        }
        self._lock = threading.Lock()
        self.finished: list[str] = []

    def write(self, name: str, start_element: int, data: Bytes) -> None:
        """Take a tile."""
        start = start_element * self._specs[name].dtype.bits // 8
        self._bytes[name][start : start + data.nbytes] = torch.from_numpy(data)

    def write_whole(self, names: Sequence[str], data: Bytes) -> None:
        """Take whole tensors, one behind the other."""
        size = data.nbytes // len(names)
        for number, name in enumerate(names):
            self.write(name, 0, data[number * size : (number + 1) * size])

    def finish(self, names: tuple[str, ...]) -> None:
        """Note that tensors are complete."""
        with self._lock:
            self.finished.extend(names)

    def tensors(self) -> dict[str, torch.Tensor]:
        """The output tensors by name, flat."""
        return {
            name: self._bytes[name].view(TORCH_DTYPES[spec.dtype])
            for name, spec in self._specs.items()
        }
