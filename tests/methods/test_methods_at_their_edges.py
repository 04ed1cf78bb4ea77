"""Cases in which a formula has a corner, each checked to the last bit."""

import numpy as np
import pytest
import reference
import torch
from data_statistics import write_statistics
from table import ONE_EACH, TABLE

from graphmerge.errors import GraphmergeError
from graphmerge.methods.registry import METHODS
from graphmerge.ops.blocks import BLOCK_ELEMENTS
from graphmerge.schedule.executors import Kernels
from graphmerge.testing.merging import merge
from graphmerge.testing.stored_models import read_model, same_bytes, write_model

N = 3 * BLOCK_ELEMENTS + BLOCK_ELEMENTS // 2
"""Three and a half numerics blocks."""
TASK_VECTOR_ROWS = [
    row for row in TABLE if row.needs_base and row.method != "slerp" and not row.dtype
]
WEIGHTED_ROWS = [
    row
    for row in ONE_EACH
    if "weight" in row.per_model and "lambda" in {p.name for p in METHODS[row.method].parameters}
]


def ramp(count, dtype=torch.float32):
    return torch.linspace(-2, 2, count, dtype=torch.float64).to(dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("row", TASK_VECTOR_ROWS, ids=str)
def test_frozen_tensors_stay_the_base(row, dtype, tmp_path):
    """B + lambda * (anything of T - B) == B where every T is B, but for the sign of zeros."""
    tensors = {"vector": ramp(1001, dtype), "scalar": torch.tensor(0.3, dtype=dtype)}
    tensors["matrix"] = ramp(28 * 35, dtype).view(28, 35)
    count = row.counts[-1]
    labels = [str(write_model(tmp_path / f"m{model}", tensors)) for model in range(count)]
    for label in labels if row.statistics else ():
        write_statistics(tmp_path, label, tensors)
    merged = merge(row.recipe(labels), tmp_path / "out").tensors()
    assert all(same_bytes(merged[name] + 0.0, tensors[name] + 0.0) for name in tensors)


@pytest.mark.parametrize("row", WEIGHTED_ROWS, ids=str)
def test_density_zero_lambda_zero_and_weight_zero_give_the_base(row, tmp_path):
    base, tuned = ramp(1001), ramp(1001).flip(0)
    labels = [str(write_model(tmp_path / name, {"x": x})) for name, x in
              (("base", base), ("a", tuned), ("b", tuned * 2))]  # fmt: skip
    per_model = [{"density": 0.0, "weight": 1.0}, {"weight": 0.0}, {"weight": 1.0}]
    own = [{}, {}, {"lambda": 0.0}]
    if "density" not in row.per_model:
        per_model, own = per_model[1:], own[1:]
    for number, (parameters, settings) in enumerate(zip(per_model, own, strict=True)):
        recipe = {
            "merge_method": row.method,
            "base_model": labels[0],
            "models": [{"model": label, "parameters": parameters} for label in labels[1:]],
            "parameters": settings | {"normalize": False},
        }
        merged = merge(recipe, tmp_path / f"out{number}").tensors()
        assert torch.equal(merged["x"], base)


def test_lines_rises_over_the_layers_of_the_output(tmp_path):
    """With slices layer l of the output is scaled by alpha + beta l / (L - 1), whatever it was."""
    names = [f"model.layers.{number}.x" for number in range(3)]
    base = {name: ramp(7, torch.float64) * (i + 1) for i, name in enumerate(names)}
    base["model.norm.x"] = ramp(7, torch.float64)
    tuned = {name: x + ramp(7, torch.float64).flip(0) ** 2 for name, x in base.items()}
    labels = [str(write_model(tmp_path / n, x)) for n, x in (("base", base), ("tuned", tuned))]
    ranges = ([0, 2], [1, 3], [0, 1])
    recipe = {
        "merge_method": "lines",
        "base_model": labels[0],
        "slices": [
            {"sources": [{"model": label, "layer_range": list(span)} for label in labels]}
            for span in ranges
        ],
        "parameters": {"alpha": 0.25, "beta": 0.75},
    }
    merged = merge(recipe, tmp_path / "out").tensors()
    sources = [number for first, end in ranges for number in range(first, end)]
    assert len(merged) == len(sources) + 1
    for layer, source in enumerate(sources):
        b, t = (model[names[source]] for model in (base, tuned))
        wanted = b + (0.25 + 0.75 * layer / (len(sources) - 1)) * (t - b)
        found = merged[f"model.layers.{layer}.x"]
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-14)
    b, t = base["model.norm.x"], tuned["model.norm.x"]
    torch.testing.assert_close(merged["model.norm.x"], b + 0.25 * (t - b), rtol=0, atol=1e-14)


def tied_deltas():
    """Few magnitudes, and counts to keep that end in the first, a middle and the last block, at a
    block's border, and after a single element.
    """
    generator = torch.Generator().manual_seed(3)
    one = torch.ones(N) * (torch.randint(0, 2, (N,), generator=generator) * 2 - 1)
    three = torch.randint(-3, 4, (N,), generator=generator) / 4
    last_only = torch.zeros(N)
    last_only[-1000:] = three[-1000:]
    mostly_zero = torch.where(torch.rand(N, generator=generator) < 0.01, three, torch.zeros(N))
    ends = (1, 1000, BLOCK_ELEMENTS, BLOCK_ELEMENTS + 1, 2 * BLOCK_ELEMENTS - 1, 150_000, N - 1)
    for name, delta in (("one", one), ("three", three), ("last", last_only), ("zero", mostly_zero)):
        for keep in ends:
            yield f"{name}.keep{keep}.", delta, (keep + 0.5) / N


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("tile_blocks", [1, 2, 4])
def test_of_tied_magnitudes_those_of_the_lowest_index_are_kept(dtype, tile_blocks, tmp_path):
    """ties of one model on a base of zeros is trim(T), against a stable sort."""
    cases = {name: (delta.to(dtype), density) for name, delta, density in tied_deltas()}
    zeros = torch.zeros(N, dtype=dtype)
    base = write_model(tmp_path / "base", dict.fromkeys(cases, zeros))
    tuned = write_model(tmp_path / "tuned", {name: delta for name, (delta, _) in cases.items()})
    densities = [{"filter": name, "value": density} for name, (_, density) in cases.items()]
    recipe = {
        "merge_method": "ties",
        "base_model": str(base),
        "models": [{"model": str(tuned), "parameters": {"weight": 1, "density": densities}}],
    }
    tile = tile_blocks * BLOCK_ELEMENTS
    merged = merge(recipe, tmp_path / "out", workers=2, tile_elements=tile).tensors()
    for name, (delta, density) in cases.items():
        want = reference.trim(delta.double().numpy(), density)
        assert np.array_equal(merged[name].double().numpy(), want), name


SLERP_PAIRS = {
    "parallel": (ramp(999), 2 * ramp(999)),
    "antiparallel": (ramp(999), -3 * ramp(999)),
    "nearly-parallel": (ramp(999), ramp(999) + 0.02),
    "orthogonal": (torch.tensor([1.0, 0.0]), torch.tensor([0.0, 4.0])),
    "zero-base": (torch.zeros(5), ramp(5)),
    "zero-other": (ramp(5), torch.zeros(5)),
    "zeros": (torch.zeros(5), torch.zeros(5)),
    "tiny": (1e-9 * torch.tensor([1.0, 0.0]), 1e-9 * torch.tensor([0.0, 1.0])),
    "opposite-scalars": (torch.tensor(1.0), torch.tensor(-1.0)),
    "zero-scalar": (torch.tensor(0.0), torch.tensor(2.0)),
    "empty": (torch.zeros(0), torch.zeros(0)),
}


@pytest.mark.parametrize("t", [0.0, 0.25, 0.5, 1.0])
def test_slerp_at_its_corners(t, tmp_path):
    """slerp(t=0) is the base and slerp(t=1) the other, bit for bit; elsewhere the formula holds."""
    folders = [
        str(write_model(tmp_path / f"m{end}", {n: pair[end] for n, pair in SLERP_PAIRS.items()}))
        for end in (0, 1)
    ]
    recipe = {
        "merge_method": "slerp",
        "base_model": folders[0],
        "models": [{"model": folders[1]}],
        "parameters": {"t": t},
    }
    merged = merge(recipe, tmp_path / "out").tensors()
    for name, (base, other) in SLERP_PAIRS.items():
        if t in (0.0, 1.0):
            assert torch.equal(merged[name], (base, other)[int(t)]), name
        want = reference.slerp(base.double().numpy(), other.double().numpy(), t)
        scale = max(np.abs(want).max(initial=0), np.abs(base.numpy()).max(initial=0))
        np.testing.assert_allclose(merged[name].double().numpy(), want, rtol=0, atol=2e-6 * scale)


def test_weights_that_sum_to_zero_cannot_be_normalised(tmp_path):
    folders = [str(write_model(tmp_path / name, {"x": ramp(9)})) for name in "ab"]
    models = [
        {"model": folder, "parameters": {"weight": weight}}
        for folder, weight in zip(folders, (1, -1), strict=True)
    ]
    message = r"weights sum to zero.*@ tensor x: got \[1(\.0)?, -1(\.0)?\] \(set normalize: false"
    with pytest.raises(GraphmergeError, match=message):
        merge({"merge_method": "linear", "models": models}, tmp_path / "out")
    unnormalised = {
        "merge_method": "linear",
        "models": models,
        "parameters": {"normalize": False},
    }
    assert not merge(unnormalised, tmp_path / "out").tensors()["x"].any()


@pytest.mark.parametrize("kernels", [Kernels.AUTO, Kernels.TORCH])
@pytest.mark.parametrize("power", [-155, 123])
@pytest.mark.parametrize(
    ("method", "more"),
    [
        ("linear", {}),
        ("ties", {"density": 0.5}),
        ("ties", {"density": 0.5, "scope": "model"}),
        ("dare_ties", {"normalize": True}),
    ],
)
def test_weights_that_float32_would_lose_are_what_they_are_to_each_other(
    tmp_path, method, more, power, kernels
):
    """w and 2^k w give the same bytes where the sum of weights is divided away."""
    random = torch.Generator().manual_seed(0)
    for name in ("base", "a", "b"):
        write_model(tmp_path / name, {"x": torch.randn(70_000, generator=random)})
    found = []
    for number, factor in enumerate((1.0, 2.0**power)):
        given = (("a", 9 * factor), ("b", -5 * factor))
        models = [{"model": name, "parameters": {"weight": weight}} for name, weight in given]
        recipe = {"merge_method": method, "models": models, "parameters": more}
        recipe |= {} if method == "linear" else {"base_model": "base"}
        merged = merge(recipe, tmp_path / f"out{number}", kernels=kernels)
        found.append(merged.tensors()["x"])
    assert found[0].isfinite().all()
    assert not torch.equal(found[0], read_model(tmp_path / "base")["x"])
    assert torch.equal(*found)


def test_emr_restores_the_task_that_is_asked_for(tmp_path):
    """By label as by number; a task that is none of the models is refused with their names."""
    base = write_model(tmp_path / "base", {"x": ramp(9), "y": ramp(9)})
    tuned = [str(write_model(tmp_path / n, {"x": ramp(9) ** p, "y": ramp(9)})) for n, p in
             (("a", 2), ("b", 3))]  # fmt: skip

    def restored(task, out):
        models = [{"model": folder} for folder in tuned]
        recipe = {"merge_method": "emr", "base_model": str(base), "models": models}
        return merge(recipe | {"parameters": {"task": task}}, tmp_path / out).tensors()["x"]

    assert torch.equal(restored(tuned[1], "label"), restored("1", "number"))
    assert torch.equal(restored(1, "integer"), restored("1", "text"))
    assert not torch.equal(restored("0", "other"), restored("1", "again"))
    with pytest.raises(GraphmergeError, match=r"unknown task.*got 2; wanted none, 0 to 1"):
        restored("2", "none")


def test_a_statistic_of_the_whole_model_needs_one_density(tmp_path):
    folders = [str(write_model(tmp_path / n, {"x": ramp(9), "y": ramp(9)})) for n in "ab"]
    density = [{"filter": "x", "value": 0.5}, {"value": 0.25}]
    recipe = {
        "merge_method": "ties",
        "base_model": folders[0],
        "models": [{"model": folders[1], "parameters": {"weight": 1, "density": density}}],
        "parameters": {"scope": "model"},
    }
    with pytest.raises(GraphmergeError, match=r"density of .* must be the same for all tensors"):
        merge(recipe, tmp_path / "out")


@pytest.mark.parametrize("density", [-0.1, 1.1, "nan"])
@pytest.mark.parametrize("method", ["ties", "dare_ties", "dare_linear", "della", "breadcrumbs"])
def test_a_density_outside_0_to_1_is_refused(method, density, tmp_path):
    folders = [str(write_model(tmp_path / name, {"x": ramp(9)})) for name in "ab"]
    parameters = {"weight": 1, "density": float(density)}
    recipe = {
        "merge_method": method,
        "base_model": folders[0],
        "models": [{"model": folders[1], "parameters": parameters}],
    }
    with pytest.raises(GraphmergeError, match="density"):
        merge(recipe, tmp_path / "out")


def test_passthrough_copies_every_bit(tmp_path):
    """NaN payloads, infinities, signed zeros and subnormals of a copied tensor are left alone."""
    bits = torch.arange(-(2**15), 2**15, dtype=torch.int32).to(torch.int16)
    tensors = {"bf16": bits.view(torch.bfloat16), "fp16": bits.view(torch.float16), "int": bits}
    folder = write_model(tmp_path / "a", tensors)
    recipe = {"merge_method": "passthrough", "models": [{"model": str(folder)}]}
    merged = merge(recipe, tmp_path / "out").tensors()
    stored = read_model(folder)
    assert all(same_bytes(merged[name], stored[name]) for name in tensors)


@pytest.mark.parametrize("method", ["task_arithmetic", "ties"])
def test_of_a_base_that_nobody_changes_only_negative_zeros_become_positive(tmp_path, method):
    numbers = torch.tensor([-0.0, 0.0, -1e-40, 1.5, -3e38])
    folders = [write_model(tmp_path / name, {"w": numbers}) for name in ("base", "a", "b")]
    recipe = {
        "merge_method": method,
        "base_model": str(folders[0]),
        "models": [{"model": str(folder), "parameters": {"weight": 0.5}} for folder in folders[1:]],
    }
    merged = merge(recipe, tmp_path / "out").tensors()["w"]
    assert same_bytes(merged, torch.cat([numbers[1:2], numbers[1:]]))
