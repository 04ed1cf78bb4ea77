"""The algebra of the rules for matrices, on the kernels themselves and on whole merges."""

import attrs
import numpy as np
import pytest
import reference_matrix
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from graphmerge.errors import GraphmergeError
from graphmerge.kernels.core_space import merged_factors, merged_in_core
from graphmerge.kernels.matrix_rules import merged_lying
from graphmerge.ops.matrix_rules import ActMat, Cart, IsoC, IsoCts, Star, TsvM, Wudi
from graphmerge.testing.merging import merge
from graphmerge.testing.stored_models import same_bytes, write_model

RULES = {
    "star": lambda count: Star(0.4),
    "tsv_m": lambda count: TsvM(),
    "iso_c": lambda count: IsoC(),
    "iso_cts": lambda count: IsoCts(0.8),
    "wudi": lambda count: Wudi(1e-8),
    "actmat": lambda count: ActMat((1.0,) * count),
    "cart": lambda count: Cart(0.2, 0.5),
}
quick = settings(deadline=None, max_examples=30)
shapes = st.tuples(st.integers(1, 9), st.integers(1, 9))


@st.composite
def matrices(draw, count=None, shape=None):
    """Matrices of one shape, each of any rank: 1 x N, N x 1, square, wide, tall, zero."""
    rows, columns = draw(shape or shapes)
    count = count or draw(st.integers(1, 5))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    ranks = [draw(st.integers(0, min(rows, columns))) for _ in range(count)]
    made = [rng.normal(size=(rows, r)) @ rng.normal(size=(r, columns)) for r in ranks]
    return [torch.from_numpy(x).float() for x in made]


def applied(method, xs):
    return merged_lying(RULES[method](len(xs)), xs)


def largest(xs):
    return max(float(x.abs().max()) for x in xs) + 1e-30


@pytest.mark.parametrize("method", RULES)
@quick
@given(xs=matrices())
def test_results_are_finite_of_the_same_shape_and_zero_for_zeros(method, xs):
    found = applied(method, xs)
    assert found.shape == xs[0].shape
    assert found.isfinite().all()
    assert not applied(method, [torch.zeros_like(x) for x in xs]).any()


@pytest.mark.parametrize("method", RULES)
@quick
@given(xs=matrices(), data=st.data())
def test_the_order_of_matrices_does_not_matter(method, xs, data):
    turned = data.draw(st.permutations(xs))
    torch.testing.assert_close(
        applied(method, turned), applied(method, xs), rtol=0, atol=1e-5 * largest(xs)
    )


@pytest.mark.parametrize("method", RULES)
@quick
@given(xs=matrices(), factor=st.sampled_from((0.5, 4.0, 1024.0)))
def test_scaled_matrices_give_the_scaled_result(method, xs, factor):
    """f(a x_1, ...) = a f(x_1, ...): no threshold is absolute."""
    scaled = applied(method, [x * factor for x in xs])
    want = applied(method, xs) * factor
    torch.testing.assert_close(scaled, want, rtol=0, atol=1e-6 * factor * largest(xs))


@pytest.mark.parametrize("method", ["star", "tsv_m", "iso_c", "cart"])
@quick
@given(xs=matrices())
def test_transposed_matrices_give_the_transposed_result(method, xs):
    found = applied(method, [x.T.contiguous() for x in xs]).T
    torch.testing.assert_close(found, applied(method, xs), rtol=0, atol=1e-6 * largest(xs))


SHAPES = [(1, 7), (7, 1), (6, 6), (5, 9), (9, 5), (12, 3), (2, 2)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("count", [1, 2, 5])
@pytest.mark.parametrize("method", RULES)
def test_rules_are_their_formulas_on_every_shape(method, count, shape):
    generator = torch.Generator().manual_seed(count)
    xs = [torch.randn(shape, generator=generator, dtype=torch.float64) for _ in range(count)]
    rule = RULES[method](count)
    arguments = [x for x in attrs.astuple(rule) if x is not None]
    want = getattr(reference_matrix, method)([x.numpy() for x in xs], *arguments)
    torch.testing.assert_close(
        merged_lying(rule, xs), torch.from_numpy(want), rtol=0, atol=1e-7 * largest(xs)
    )


@pytest.mark.parametrize("method", ["wudi", "actmat", "cart"])
@quick
@given(x=matrices(count=1), count=st.integers(1, 4))
def test_equal_matrices_give_that_matrix(method, x, count):
    found = applied(method, x * count)
    torch.testing.assert_close(found, x[0].double(), rtol=0, atol=1e-3 * largest(x))


@pytest.mark.parametrize("method", ["tsv_m", "wudi", "actmat", "cart"])
@quick
@given(x=matrices(count=1))
def test_one_matrix_is_what_comes_out(method, x):
    found = applied(method, x)
    torch.testing.assert_close(found, x[0].double(), rtol=0, atol=1e-3 * largest(x))


@pytest.mark.parametrize("count", [1, 3])
@quick
@given(x=matrices(count=1))
def test_star_that_keeps_all_is_the_mean(count, x):
    found = merged_lying(Star(1.0), x * count)
    torch.testing.assert_close(found, x[0].double(), rtol=0, atol=1e-5 * largest(x))


@quick
@given(xs=matrices())
def test_star_keeps_the_nuclear_norm(xs):
    found = merged_lying(Star(0.4), xs[:1])
    norms = [torch.linalg.svdvals(x.double()).sum() for x in (xs[0], found)]
    torch.testing.assert_close(norms[1], norms[0], rtol=1e-5, atol=1e-12)


@quick
@given(xs=matrices())
def test_iso_c_has_one_singular_value(xs):
    sigma = torch.linalg.svdvals(sum(x.double() for x in xs))
    want = torch.where(sigma > 1e-6 * sigma[0], sigma.mean(), 0.0)
    found = torch.linalg.svdvals(merged_lying(IsoC(), xs))
    torch.testing.assert_close(found, want, rtol=0, atol=1e-4 * float(sigma[0]) + 1e-30)


@quick
@given(shape=shapes, seed=st.integers(0, 2**32 - 1), count=st.integers(1, 4))
def test_tsv_m_of_orthogonal_parts_is_their_sum(shape, seed, count):
    """Matrices of orthogonal rows and columns do not interfere, so nothing changes."""
    rng = np.random.default_rng(seed)
    size = max(shape) * count
    u, v = (np.linalg.qr(rng.normal(size=(size, size)))[0] for _ in range(2))
    xs = [torch.from_numpy(np.outer(u[:, i], v[:, i])) for i in range(count)]
    torch.testing.assert_close(merged_lying(TsvM(), xs), sum(xs), rtol=0, atol=1e-9)


def low_rank(count, rows, columns, rank, seed=0):
    """Factors B and A of small integers: products are exact in float32."""
    rng = np.random.default_rng(seed)
    parts = [(rng.integers(-3, 4, (rows, rank)), rng.integers(-3, 4, (rank, columns)))
             for _ in range(count)]  # fmt: skip
    return [tuple(torch.from_numpy(x).double() for x in part) for part in parts]


@pytest.mark.parametrize("method", RULES)
@pytest.mark.parametrize("shape", [(40, 60), (60, 40), (50, 50)])
def test_the_core_space_of_stored_and_of_given_factors_is_the_same(method, shape):
    factors = low_rank(3, *shape, rank=4)
    rule = RULES[method](3)
    stored = merged_in_core(rule, [(b @ a).float() for b, a in factors])
    given = merged_factors(rule, factors)
    atol = 1e-8 * largest([b @ a for b, a in factors])
    torch.testing.assert_close(stored, given, rtol=0, atol=atol)


@pytest.mark.parametrize("method", ["star", "wudi", "actmat"])
@pytest.mark.parametrize("shape", [(40, 60), (60, 40)])
def test_the_core_space_loses_nothing(method, shape):
    """Rules that count no zeros among the singular values give in the core what they give in full.

    The others share the rank, which is smaller there: the result stays within what models span.
    """
    xs = [(b @ a).float() for b, a in low_rank(3, *shape, rank=4)]
    rule = RULES[method](3)
    full, core = merged_lying(rule, xs), merged_in_core(rule, xs)
    torch.testing.assert_close(core, full, rtol=0, atol=1e-6 * largest(xs))


@pytest.mark.parametrize("method", RULES)
def test_nothing_leaves_the_core_space(method):
    factors = low_rank(2, 30, 40, rank=3)
    found = merged_in_core(RULES[method](2), [(b @ a).float() for b, a in factors])
    assert torch.linalg.matrix_rank(found, rtol=1e-6) <= 6
    columns = torch.cat([b for b, _ in factors], dim=1)
    outside = found - columns @ torch.linalg.lstsq(columns, found).solution
    assert outside.abs().max() <= 1e-8 * largest([b @ a for b, a in factors])


@pytest.mark.parametrize("method", RULES)
def test_the_core_space_of_full_rank_matrices_is_the_full_space(method):
    generator = torch.Generator().manual_seed(0)
    xs = [torch.randn(20, 30, generator=generator) for _ in range(3)]
    rule = RULES[method](3)
    assert torch.equal(merged_in_core(rule, xs), merged_lying(rule, xs))


@pytest.mark.parametrize("method", RULES)
@pytest.mark.parametrize("space", ["full", "core"])
def test_merges_of_whole_checkpoints(method, space, tmp_path):
    """Not finite: NaN, without an error. Not a matrix, or excluded: the mean. 4 axes: the mean."""
    generator = torch.Generator().manual_seed(1)
    models = [
        {
            "layers.0.w": torch.randn(6, 8, generator=generator),
            "embed.w": torch.randint(-4, 5, (6, 8), generator=generator).float(),
            "conv.w": torch.randint(-4, 5, (2, 3, 2, 2), generator=generator).float(),
            "bad.w": torch.full((4, 4), float(number == 2) / 0.5),
        }
        for number in range(3)
    ]
    models[2]["bad.w"][0, 0] = torch.inf
    labels = [str(write_model(tmp_path / f"m{i}", model)) for i, model in enumerate(models)]
    recipe = {
        "merge_method": method,
        "base_model": labels[0],
        "models": [{"model": label} for label in labels[1:]],
        "parameters": {"space": space},
    }
    found = merge(recipe, tmp_path / "out").tensors()
    for name in ("embed.w", "conv.w"):
        assert same_bytes(found[name], (models[1][name] + models[2][name]) / 2 + 0.0)
    assert found["bad.w"].isnan().all()
    assert not torch.allclose(found["layers.0.w"], models[0]["layers.0.w"])


@pytest.mark.parametrize(
    ("method", "own", "message"),
    [
        ("star", {"eta": 0}, "eta out of range.*above 0, at most 1"),
        ("iso_cts", {"common": 1.5}, "common out of range.*0 to 1"),
        ("wudi", {"ridge": 0}, "ridge out of range.*above 0"),
        ("cart", {"rank": -0.1}, "rank out of range"),
        ("actmat", {"weight": -1}, "negative weight"),
        ("actmat", {"weight": 0}, "all weights are zero"),
        ("iso_c", {"space": "small"}, "full or core|one of full, core"),
    ],
)
def test_parameters_out_of_range_are_refused(method, own, message, tmp_path):
    labels = [str(write_model(tmp_path / n, {"x": torch.ones(2, 2)})) for n in "ab"]
    recipe = {
        "merge_method": method,
        "base_model": labels[0],
        "models": [{"model": labels[1]}],
        "parameters": own,
    }
    with pytest.raises(GraphmergeError, match=message):
        merge(recipe, tmp_path / "out")
