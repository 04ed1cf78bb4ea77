"""What holds for methods that choose entries by masks, whatever the entries."""

import math

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_properties import SIZE, merged, values, weighted

from graphmerge.kernels.ranked import ranked_mask
from graphmerge.methods.registry import METHODS
from graphmerge.ops.ranked import RankedMask
from graphmerge.ops.sparsify import MaskKey
from graphmerge.testing.stored_models import same_bytes

MASKS = (
    *("della", "della_linear", "breadcrumbs", "breadcrumbs_ties", "sce"),
    *("ram", "ramplus_tl", "consensus_ta", "magmax", "cabs", "arcee_fusion"),
)
quick = settings(
    deadline=None,
    max_examples=20,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "m"


def fine_tunes(method, count):
    """How many fine-tunes to merge where so many are asked for."""
    most = METHODS[method].most_models
    return count if most is None else min(count, most - 1)


@pytest.mark.parametrize("method", MASKS)
@quick
@given(x=values(), count=st.sampled_from((1, 2, 20)), seed=st.integers(0))
def test_fine_tunes_that_are_the_base_change_nothing(folder, method, x, count, seed):
    """Bit for bit, whatever the weights and densities: also for twenty of them."""
    count = fine_tunes(method, count)
    per_model = [{}, *weighted(*[0.7] * count, density=0.5, gamma=0.1)]
    own = {"select_topk": 0.5} if method == "sce" else {}
    assert same_bytes(merged(folder, method, [x] * (count + 1), per_model, own=own, seed=seed), x)


@pytest.mark.parametrize("method", ["sce", "ram", "ramplus_tl", "magmax", "breadcrumbs_ties"])
@quick
@given(base=values(), x=values(), count=st.integers(1, 20))
def test_fine_tunes_that_are_equal_count_as_one(folder, method, base, x, count):
    """To rounding: means, votes and maxima of equal task vectors are the task vector."""
    per_model = [{}, *weighted(*[1.0] * count, density=1.0, gamma=0.0)]
    own = {"lambda": 1.0, "normalize": True, "epsilon": 0.0}
    found = merged(folder, method, [base, *[x] * count], per_model, own=own)
    wanted = base + (x - base)
    largest = max(float(base.abs().max()), float(x.abs().max()))
    torch.testing.assert_close(found, wanted, rtol=0, atol=largest * 2e-6 + 1e-30)


@pytest.mark.parametrize(
    "method", ["della", "della_linear", "breadcrumbs", "sce", "consensus_ta", "magmax", "cabs"]
)
@quick
@given(data=st.data(), factor=st.sampled_from((0.5, 2.0, 8.0)))
def test_scaling_all_models_scales_the_merge(folder, method, data, factor):
    """Powers of two scale bit for bit: no absolute threshold is hidden anywhere."""
    tensors = [data.draw(values()) for _ in range(3)]
    tensors = [torch.where(x.abs() < 1e-9, 0.0, x) for x in tensors]
    per_model = [{}, *weighted(0.5, 0.75, density=0.5, gamma=0.1)]
    own = {"select_topk": 0.4, "n": 5, "m": 16, "lambda": 0.75}
    plain = merged(folder, method, tensors, per_model, own=own)
    scaled = merged(folder, method, [x * factor for x in tensors], per_model, own=own)
    assert torch.equal(scaled, plain * factor)


@quick
@given(
    x=values(),
    density=st.floats(0, 1),
    gamma=st.floats(0, 1),
)
def test_breadcrumbs_keeps_as_many_as_it_says(folder, x, density, gamma):
    """int(density * N) entries, none above those dropped as outliers, none below the others."""
    base = torch.zeros(SIZE)
    per_model = [{}, {"weight": 1.0, "density": density, "gamma": gamma}]
    found = merged(folder, "breadcrumbs", [base, x], per_model)
    kept, top = int(density * SIZE), int(gamma * SIZE)
    skipped = max(0, SIZE - kept - top)
    upwards = torch.sort(x.abs()).values[skipped : skipped + kept]
    assert torch.equal(torch.sort(found.abs()).values[SIZE - kept :], upwards)


@pytest.mark.parametrize("pair", [("della", "dare_ties"), ("della_linear", "dare_linear")])
@quick
@given(base=values(), x=values(), density=st.floats(0.01, 0.99), seed=st.integers(0))
def test_without_epsilon_ranks_do_not_matter(folder, pair, base, x, density, seed):
    """Della with epsilon 0 is DARE, bit for bit: the draws are the same."""
    per_model = [{}, {"weight": 0.7, "density": density, "epsilon": 0.0}]
    ours, dare = (
        merged(folder, method, [base, x], per_model, own={"normalize": False}, seed=seed)
        for method in pair
    )
    assert same_bytes(ours, dare)


@pytest.mark.parametrize("kind", [np.int32, np.int64])
@pytest.mark.parametrize("row", [1, 2, 7, 1000, 50_000])
def test_rows_keep_their_share_and_large_entries_more_often(row, kind):
    rows = max(1, 200_000 // row)
    bits = np.random.default_rng(row).permutation(rows * row).astype(kind).reshape(rows, row)
    op = RankedMask(0.4, 0.3, MaskKey(5, "model", "tensor"))
    kept = ranked_mask(op, bits, 0).reshape(rows, row)
    deviation = math.sqrt(0.4 * 0.6 / kept.size)
    assert abs(kept.mean() - 0.4) < 5 * deviation
    ranks = bits.argsort(axis=1).argsort(axis=1)
    if row >= 1000:
        for low, high in ((0.0, 0.25), (0.25, 0.5), (0.5, 0.75), (0.75, 1.0)):
            part = kept[(ranks >= low * row) & (ranks < high * row)]
            assert abs(part.mean() - (0.1 + 0.3 * (low + high))) < 5 * deviation * 2


def test_ranks_of_equal_magnitudes_go_by_index():
    """With epsilon near density the first of a row of ties is hardly ever kept, the last often."""
    bits = np.ones((4096, 64), dtype=np.int32)
    kept = ranked_mask(RankedMask(0.5, 0.499, MaskKey(1, "m", "t")), bits, 0).reshape(bits.shape)
    assert kept[:, 0].mean() < 0.02
    assert kept[:, -1].mean() > 0.98


def test_rows_of_one_entry_are_drawn_by_density():
    """mergekit fails here (0/0)."""
    bits = np.arange(100_000, dtype=np.int32).reshape(-1, 1)
    kept = ranked_mask(RankedMask(0.3, 0.2, MaskKey(1, "m", "t")), bits, 0)
    assert abs(kept.mean() - 0.3) < 5 * math.sqrt(0.21 / 100_000)
