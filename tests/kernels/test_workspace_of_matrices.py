"""What torch allocates while whole matrices are merged is what their ops declare."""

import numpy as np
import pytest
import torch
from torch.profiler import profile

from graphmerge.kernels.matrices import merge_matrices
from graphmerge.kernels.registry import Tile
from graphmerge.kernels.regression import regress_by_grams
from graphmerge.ops.matrices import MergeMatrices, matrix_workspace
from graphmerge.ops.matrix_rules import ActMat, Cart, IsoC, IsoCts, Star, TsvM, Wudi
from graphmerge.ops.regression import RegressByGrams
from graphmerge.spec import DType, TensorSpec

COUNT = 2
SHAPES = {"wide": (60, 400), "tall": (400, 60), "square": (200, 200)}
RULES = (
    Star(0.8), TsvM(), IsoC(), IsoCts(0.8), Wudi(1e-6), ActMat((1.0,) * COUNT), Cart(0.1, 1.0),
)  # fmt: skip


def allocated_doubles(work):
    """The most that torch had at one time beside what there was before, in numbers of 8 bytes."""
    with profile(profile_memory=True) as profiled:
        work()
    found = [x for x in profiled.profiler.kineto_results.events() if x.name() == "[memory]"]
    sizes = [x.nbytes() for x in sorted(found, key=lambda x: x.start_ns())]
    return int(np.cumsum(sizes).max()) // 8


def drawn(shape, rank=None):
    generator = torch.Generator().manual_seed(0)
    rank = rank or min(shape)
    pairs = [[torch.randn(s, generator=generator) for s in ((shape[0], rank), (rank, shape[1]))]]
    return [left @ right for left, right in pairs * COUNT]


def declared_and_taken(op, kernel, matrices, statistics=()):
    """Bytes of the workspace that an op declares, and of one for what its kernel allocates."""
    shape = matrices[0].shape
    inputs = [x.reshape(-1) for x in matrices]
    tile = Tile(inputs, statistics, torch.empty(shape).reshape(-1), [], 0, tuple(shape))
    specs = [TensorSpec(tuple(shape), DType.F32)] * COUNT
    specs += [TensorSpec(x.shape, DType.F32) for x in statistics]
    taken = matrix_workspace(allocated_doubles(lambda: kernel(op, tile)))
    return op.workspace(tuple(specs)).fixed_bytes, taken.fixed_bytes


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: type(rule).__name__)
def test_rules(rule, shape):
    declared, taken = declared_and_taken(MergeMatrices(rule), merge_matrices, drawn(SHAPES[shape]))
    assert 0.6 * declared <= taken <= declared


@pytest.mark.parametrize("rank", [3, 30, None])
@pytest.mark.parametrize("shape", SHAPES)
def test_the_core_space(shape, rank):
    op = MergeMatrices(TsvM(), in_core=True)
    declared, taken = declared_and_taken(op, merge_matrices, drawn(SHAPES[shape], rank))
    assert taken <= declared


@pytest.mark.parametrize("shape", SHAPES)
def test_regression_on_gram_matrices(shape):
    matrices = drawn(SHAPES[shape])
    grams = np.stack([(x.T @ x).numpy() for x in matrices])
    op = RegressByGrams((1.0,) * COUNT, 0.9, 1e-3)
    declared, taken = declared_and_taken(op, regress_by_grams, matrices, [grams])
    assert 0.9 * declared <= taken <= declared
