"""Corners of methods with masks: which executor does them, rows of one entry, overflow, overlap."""

import math

import pytest
import torch

from graphmerge.ops.sparsify import AbstractDigits
from graphmerge.schedule.executors import Executor, Kernels
from graphmerge.testing.merging import merge
from graphmerge.testing.stored_models import same_bytes, write_model

N = 20_000


def drawn(shape, seed, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)


def both(folder, method, models, parameters, own=None):
    """A merge by native code, and the same by torch: its tensor, and the plan of the first."""
    labels = [str(write_model(folder / f"m{i}", {"x": x})) for i, x in enumerate(models)]
    listed = [{"model": label, "parameters": parameters} for label in labels[1:]]
    recipe = {"merge_method": method, "base_model": labels[0], "models": listed}
    done = [
        merge(recipe | {"parameters": own or {}}, folder / kernels.value, kernels=kernels, seed=3)
        for kernels in (Kernels.NATIVE, Kernels.TORCH)
    ]
    first, second = (merged.tensors()["x"] for merged in done)
    assert same_bytes(first, second)
    return first, done[0].plan


def executors(plan):
    """The executor of each pass, with the kinds of the ops that it runs."""
    return [
        (part.executor, {item.node.op.kind for item in part.program.instructions})
        for unit in plan.units
        for part in unit.unit.passes
    ]


@pytest.mark.parametrize(
    ("epsilon", "dtype", "by"),
    [
        (0.2, torch.float32, Executor.NATIVE),
        (-0.2, torch.float32, Executor.TORCH),
        (0.2, torch.float64, Executor.TORCH),
    ],
)
def test_the_plan_says_who_ranks_and_the_masks_are_the_same(tmp_path, epsilon, dtype, by):
    """Native code ranks float32 with an epsilon that is not negative; torch does the others."""
    base, tuned = torch.zeros(100, 200, dtype=dtype), drawn((100, 200), 1, dtype)
    own = {"rescale": False, "normalize": False}
    parameters = {"weight": 1.0, "density": 0.5, "epsilon": epsilon}
    found, plan = both(tmp_path, "della_linear", [base, tuned], parameters, own)
    assert {who for who, ops in executors(plan) if "ranked-mask" in ops} == {by}
    ranks = tuned.abs().argsort(dim=1).argsort(dim=1)
    kept = found != 0
    low, high = kept[ranks < 50].double().mean(), kept[ranks >= 150].double().mean()
    expected = 0.3 * math.copysign(1, epsilon)
    assert float(high - low) == pytest.approx(expected, abs=5 * math.sqrt(0.5 / 5000))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
def test_divergences_are_taken_by_native_code_of_any_dtype(tmp_path, dtype):
    base = drawn((60, 90), 0)
    models = [x.to(dtype) for x in (base, base + 0.1 * drawn((60, 90), 1))]
    found, plan = both(tmp_path, "arcee_fusion", models, {})
    assert {who for who, _ in executors(plan)} == {Executor.NATIVE}
    changed = (found != models[0]).double().mean()
    assert 0 < changed < 0.5


def test_rows_of_one_entry_are_dropped_by_density(tmp_path):
    """There is no rank in them; mergekit divides 0 by 0 here."""
    own = {"rescale": False, "normalize": False}
    parameters = {"weight": 1.0, "density": 0.3, "epsilon": 0.2}
    tuned = drawn((N, 1), 2)
    found, _ = both(tmp_path, "della_linear", [torch.zeros(N, 1), tuned], parameters, own)
    kept = found != 0
    assert torch.equal(found[kept], tuned[kept])
    assert abs(float(kept.double().mean()) - 0.3) < 5 * math.sqrt(0.21 / N)


@pytest.mark.parametrize("rescale", [True, "inverse_density"])
def test_what_leaves_the_range_of_fp16_in_between_is_right_in_the_end(tmp_path, rescale):
    """Halves of changes that are doubled: 120,000 in between, 60,000 in the end."""
    base, tuned = torch.zeros(N, dtype=torch.float16), torch.full((N,), 60_000.0).half()
    parameters = {"weight": 0.5, "density": 0.5}
    own = {"rescale": rescale, "normalize": False}
    found, _ = both(tmp_path, "dare_linear", [base, tuned], parameters, own)
    kept = found != 0
    assert found.isfinite().all()
    assert float(found[kept].double().mean()) == pytest.approx(60_000, rel=0.02)


def test_what_is_too_large_for_fp16_in_the_end_is_infinite_of_its_sign(tmp_path):
    signs = torch.where(torch.arange(N) % 2 == 0, 1.0, -1.0)
    base, tuned = torch.zeros(N, dtype=torch.float16), (60_000 * signs).half()
    parameters = {"weight": 1.0, "density": 0.5}
    own = {"rescale": "inverse_density", "normalize": False}
    found, _ = both(tmp_path, "dare_linear", [base, tuned], parameters, own)
    kept = found != 0
    assert torch.equal(found[kept].float(), torch.inf * signs[kept])


def test_cabs_never_lets_models_overlap(tmp_path):
    """Of n = 12 of 16 the second model keeps the 4 that are left, the third one nothing."""
    models = [torch.zeros(1024), *(drawn((1024,), seed) for seed in (1, 2, 3))]
    found, _ = both(tmp_path, "cabs", models, {"weight": 1.0}, {"n": 12, "m": 16})
    taken = torch.stack([found == x for x in models[1:]]).view(3, -1, 16).sum(dim=2)
    assert torch.equal(taken, torch.tensor([[12], [4], [0]]).expand(3, 64))


@pytest.mark.parametrize(
    ("method", "digits"),
    [
        ("arcee_fusion", [0, 1]),  # three quartiles
        ("breadcrumbs", [0, 1]),  # an upper and a lower cutoff
        ("pcb", 4 * [0] + 8 * [1]),  # two bounds of each of two task vectors, two of their scores
    ],
)
def test_the_first_digit_of_several_thresholds_is_counted_once(tmp_path, method, digits):
    """Digits are of one kind in a pass: those of all thresholds."""
    base, parameters = torch.zeros(40, 50), {"weight": 1.0, "density": 0.5, "gamma": 0.1}
    models = [base, drawn((40, 50), 1), drawn((40, 50), 2)][: 3 if method == "pcb" else 2]
    own = parameters if method == "breadcrumbs" else {}
    _, plan = both(tmp_path, method, models, own)
    passes = [
        [node.op.digit for node in part.reductions if isinstance(node.op, AbstractDigits)]
        for unit in plan.units
        for part in unit.unit.passes
    ]
    assert sorted(digit for part in passes for digit in part) == digits
    assert all(len(set(part)) <= 1 for part in passes)
