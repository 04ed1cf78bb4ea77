"""Methods on the sphere and their kin: algebra, corners, and vectors of every length."""

import numpy as np
import pytest
import reference_spherical as reference
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from graphmerge.errors import GraphmergeError
from graphmerge.ops.blocks import BLOCK_ELEMENTS
from graphmerge.ops.coefficients import (
    ArcCoefficients,
    DirectionCoefficients,
    KarcherCoefficients,
    MedianCoefficients,
    PerpendicularCoefficients,
    StockCoefficients,
)
from graphmerge.schedule.executors import Kernels
from graphmerge.statistics import small
from graphmerge.testing.merging import merge
from graphmerge.testing.stored_models import read_model, same_bytes, weights_digest, write_model

SHAPES = (
    (300, 700),
    (3, BLOCK_ELEMENTS + 5),
    (BLOCK_ELEMENTS + 4000, 1),
    (1, BLOCK_ELEMENTS + 4000),
    (20000, 7),
    (7, 20000),
    (5, 3, 1030),
    (130, 2048),
    (2, 1),
    (0, 3),
    (40,),
    (),
)
"""Rows that end in the middle of vectors, chunks and blocks, shorter and longer than those."""
VECTORS = {
    "rows": ("nuslerp", {"nuslerp_flatten": False}, -1),
    "columns": ("nuslerp", {"nuslerp_flatten": False, "nuslerp_row_wise": True}, 0),
    "filters": ("model_stock", {"filter_wise": True}, -1),
}
quick = settings(deadline=None, max_examples=60)


def listed(method, labels, *, base=None, per_model=None, **own):
    return {
        "merge_method": method,
        **({"base_model": base} if base else {}),
        "models": [{"model": label, "parameters": per_model or {}} for label in labels],
        "parameters": own,
    }


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    for model in range(4):
        generator = torch.Generator().manual_seed(model)
        drawn = [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in SHAPES]
        tensors = {
            f"{dtype} {tuple(x.shape)}": x.to(dtype)
            for x in drawn
            for dtype in (torch.float32, torch.float64)
        }
        write_model(root / f"m{model}", tensors)
    return root


@pytest.mark.parametrize("case", VECTORS)
def test_vectors_of_every_length_whatever_the_tiles_and_the_executor(case, models):
    method, own, axis = VECTORS[case]
    labels = ["m1", "m2", "m3"] if method == "model_stock" else ["m1", "m2"]
    weight = {} if method == "model_stock" else {"weight": 0.5}
    recipe = listed(method, labels, base="m0", per_model=weight, **own)
    digests = set()
    for kernels, blocks, workers, budget in (
        (Kernels.NATIVE, 1, 3, None),
        (Kernels.NATIVE, 4, 1, 2**32),
        (Kernels.TORCH, 2, 2, None),
    ):
        limits = {"workers": workers, "tile_elements": blocks * BLOCK_ELEMENTS}
        out = models / f"{case}-{kernels.value}-{blocks}"
        merged = merge(recipe, out, budget_bytes=budget, kernels=kernels, **limits)
        executors = {part.executor.value for unit in merged.plan.units for part in unit.unit.passes}
        assert executors <= {kernels.value, "copy"}
        digests.add(weights_digest(out))
    assert len(digests) == 1
    base, *tuned = (read_model(models / label) for label in ("m0", *labels))
    for name, tensor in merged.tensors().items():
        arithmetic = np.float64 if "64" in name.split()[0] else np.float32
        deltas = [(model[name] - base[name]).numpy().astype(np.float64) for model in tuned]
        if method == "model_stock":
            change = reference.stock(deltas, axis)
        else:
            change = reference.nuslerp(*deltas, (0.5, 0.5), axis)
        want = base[name].double().numpy() + change.reshape(tensor.shape)
        rounding = 32 * float(np.finfo(arithmetic).eps)
        np.testing.assert_allclose(tensor.double().numpy(), want, rtol=0, atol=rounding * 8)


def coefficients(op, vectors):
    vectors = np.asarray(vectors, dtype=np.float64)
    return small(op)(op, [vectors @ vectors.T])


def point(op, vectors):
    return coefficients(op, vectors) @ np.asarray(vectors, dtype=np.float64)


def some_vectors(least=2, most=6):
    """Rows of plain numbers: none nearly zero, no two nearly opposite."""
    numbers = st.integers(-64, 64).map(lambda n: n / 16)
    return hnp.arrays(np.float64, st.tuples(st.integers(least, most), st.just(5)), elements=numbers)


def directions(vectors):
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    assume(lengths.min() > 0.1)
    units = vectors / lengths
    assume((units @ units.T).min() > -0.9)
    assume(np.linalg.norm(units.mean(axis=0)) > 0.2)
    return units


@quick
@given(vectors=some_vectors(), data=st.data())
def test_models_in_another_order_give_the_same_point(vectors, data):
    directions(vectors)
    turn = data.draw(st.permutations(range(len(vectors))))
    weights = data.draw(st.lists(st.floats(0.25, 2), min_size=6, max_size=6))[: len(vectors)]
    turned = tuple(weights[i] for i in turn)
    for one, other in (
        (DirectionCoefficients(tuple(weights), 1e-8), DirectionCoefficients(turned, 1e-8)),
        (KarcherCoefficients(10, 1e-5),) * 2,
        (StockCoefficients(),) * 2,
    ):
        np.testing.assert_allclose(
            point(one, vectors), point(other, vectors[list(turn)]), atol=1e-6
        )
    op = MedianCoefficients(20, -1.0, 1e-6)
    straight, mixed = (
        moved[0] + point(op, moved[1:] - moved[0]) for moved in (vectors, vectors[list(turn)])
    )
    np.testing.assert_allclose(straight, mixed, atol=1e-5)


@quick
@given(vectors=some_vectors(), factor=st.sampled_from((0.25, 8.0)))
def test_coefficients_do_not_depend_on_scale(vectors, factor):
    directions(vectors)
    for op in (
        DirectionCoefficients((0.5,) * len(vectors), 0.0),
        KarcherCoefficients(10, 1e-5),
        StockCoefficients(),
    ):
        plain, scaled = coefficients(op, vectors), coefficients(op, vectors * factor)
        np.testing.assert_allclose(plain, scaled, rtol=1e-9, atol=1e-12)


@quick
@given(vectors=some_vectors())
def test_means_of_unit_vectors_are_unit_vectors(vectors):
    units = directions(vectors)
    share = (1 / len(units),) * len(units)
    for op in (DirectionCoefficients(share, 1e-12), KarcherCoefficients(10, 1e-5)):
        assert np.linalg.norm(point(op, units)) == pytest.approx(1, abs=1e-9)
    assume(abs(units[0] @ units[1]) < 1 - 1e-9)
    for t in (0.0, 0.3, 1.0):
        assert np.linalg.norm(point(ArcCoefficients(t), units[:2])) == pytest.approx(1, abs=1e-6)


@quick
@given(vectors=some_vectors())
def test_the_karcher_mean_is_where_the_mean_way_to_all_is_no_way(vectors):
    units = directions(np.abs(vectors) + 0.25)  # all within a quarter turn: there is one mean
    mean = point(KarcherCoefficients(100, 1e-12), units)
    ways = sum(reference.logarithm(mean, unit) for unit in units)
    assert np.linalg.norm(ways) < 1e-6


@quick
@given(vectors=some_vectors(3), data=st.data())
def test_no_point_near_the_geometric_median_is_nearer_to_all(vectors, data):
    op = MedianCoefficients(2000, 1e-20, 1e-6)
    median = vectors[0] + point(op, vectors[1:] - vectors[0])
    moved = median + data.draw(hnp.arrays(np.float64, 5, elements=st.floats(-1, 1)))

    def total(place):
        return np.linalg.norm(vectors - place, axis=1).sum()

    assert total(median) <= total(moved) + 1e-3
    assert total(median) <= total(vectors.mean(axis=0)) + 1e-9


@quick
@given(vectors=some_vectors(2, 2))
def test_the_perpendicular_part_is_perpendicular(vectors):
    part = point(PerpendicularCoefficients(1.0), vectors)
    assert part @ vectors[0] == pytest.approx(0, abs=1e-9)


IDENTICAL = {
    "nuslerp": (2, {"weight": 0.3}, {}),
    "multislerp": (20, {"weight": 0.3}, {}),
    "karcher": (20, {}, {}),
    "model_stock": (20, {}, {}),
    "geometric_median": (20, {}, {}),
    "ema": (20, {}, {}),
    "wsm": (20, {}, {}),
}
"""Number of models, and parameters."""


@pytest.mark.parametrize("method", IDENTICAL)
def test_identical_models_give_that_model(method, tmp_path):
    """Twenty of them; to the last bit of bfloat16. A base of zeros where one is needed."""
    count, per_model, own = IDENTICAL[method]
    x = torch.linspace(-2, 2, 1000).bfloat16()
    tensors = {"matrix": x.reshape(10, 100), "scalar": x[3], "zeros": x * 0, "empty": x[:0]}
    labels = [str(write_model(tmp_path / f"m{i}", tensors)) for i in range(count)]
    zeros = {name: x * 0 for name, x in tensors.items()}
    base = {"base": str(write_model(tmp_path / "b", zeros))} if method == "model_stock" else {}
    recipe = listed(method, labels, per_model=per_model, **base, **own)
    merged = merge(recipe, tmp_path / "out").tensors()
    for name, tensor in tensors.items():
        assert same_bytes(merged[name] + 0.0, tensor + 0.0), name


RAMP = torch.linspace(-1, 2, 999)
PAIRS = {
    "opposite": (RAMP, -RAMP),
    "opposite-longer": (RAMP, -3 * RAMP),
    "parallel": (RAMP, 2 * RAMP),
    "zero-first": (torch.zeros(5), RAMP[:5]),
    "zero-second": (RAMP[:5], torch.zeros(5)),
    "zeros": (torch.zeros(5), torch.zeros(5)),
    "tiny": (torch.tensor([1e-9, 0.0]), torch.tensor([0.0, 1e-9])),
    "orthogonal": (torch.tensor([1.0, 0.0]), torch.tensor([0.0, 4.0])),
    "opposite-scalars": (torch.tensor(1.0), torch.tensor(-1.0)),
    "empty": (torch.zeros(0), torch.zeros(0)),
}
CORNERS = {
    "nuslerp": lambda pair: reference.nuslerp(*pair, (0.5, 0.5)).reshape(pair[0].shape),
    "multislerp": lambda pair: reference.multislerp(pair, (0.5, 0.5), normalize=True, eps=1e-8),
    "karcher": lambda pair: reference.karcher(pair, max_iter=10, tol=1e-5),
    "geometric_median": lambda pair: sum(pair) / 2,
}


@pytest.mark.parametrize("method", CORNERS)
def test_two_models_at_the_corners_of_the_formula(method, tmp_path):
    folders = [
        str(write_model(tmp_path / f"m{end}", {n: pair[end] for n, pair in PAIRS.items()}))
        for end in (0, 1)
    ]
    weight = {"weight": 0.5} if method in ("nuslerp", "multislerp") else {}
    merged = merge(listed(method, folders, per_model=weight), tmp_path / "out").tensors()
    for name, pair in PAIRS.items():
        want = CORNERS[method]([x.double().numpy() for x in pair])
        largest = max(float(x.abs().max()) if x.numel() else 0.0 for x in pair)
        found = merged[name].double().numpy()
        np.testing.assert_allclose(found, want, rtol=0, atol=2e-6 * largest, err_msg=name)


def test_what_cannot_be_merged_is_refused(models):
    def refused(recipe, message):
        with pytest.raises(GraphmergeError, match=message):
            merge(recipe, models / "refused")

    weight = {"weight": 0.5}
    cancelled = listed("multislerp", ["m0", "m1"], per_model=weight)
    cancelled["models"][1]["parameters"] = {"weight": -0.5}
    refused(cancelled, r"weights sum to zero.*set normalize_weights: false")
    refused(listed("ema", ["m0", "m1"], decay=1.5), "decay out of range.*1.5")
    refused(
        listed("multislerp", ["m0", "m1"], per_model=weight, eps=-1.0),
        "eps out of range.*0 or more",
    )
    lone = listed("multislerp", [], base="m0")
    lone["models"] = [{"model": "m0"}]
    refused(lone, "wrong number of models for multislerp.*the base not counted")
    refused(
        listed("nuslerp", ["m0", "m1", "m2"], per_model=weight),
        "wrong number of models for nuslerp.*got 3.*wanted 2, the base not counted",
    )


def test_the_base_of_slices_is_among_their_sources_where_it_is_optional_too(models, tmp_path):
    layers = {f"layers.{i}.w": torch.ones(3) for i in range(2)}
    for name in "abc":
        write_model(tmp_path / name, layers, config={"num_hidden_layers": 2})
    sources = [{"model": name, "layer_range": [0, 2], "parameters": {"weight": 1}} for name in "ab"]
    recipe = {"merge_method": "nuslerp", "base_model": "c", "slices": [{"sources": sources}]}
    with pytest.raises(GraphmergeError, match="base model is not among the sources"):
        merge(recipe, tmp_path / "out")
