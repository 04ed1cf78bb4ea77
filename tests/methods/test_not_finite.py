"""Models with NaN, infinity or numbers near the largest: warnings are ours, never numpy's."""

import numpy as np
import pytest
import torch
from data_statistics import write_statistics
from table import ONE_EACH, TABLE

from graphmerge.schedule.executors import Kernels
from graphmerge.statistics.sums import exact_sum
from graphmerge.testing.merging import merge
from graphmerge.testing.stored_models import write_model

LARGEST = torch.finfo(torch.bfloat16).max
ODD = {
    "infinities": [float("inf"), float("-inf")],
    "nan": [float("nan")],
    "mostly-nan": [float("nan")] * 60,
    "largest": [LARGEST, -LARGEST],
}
"""What some entries of the second model are; warnings, numpy's too, are errors in tests."""
OTHER_STATISTICS = ("ties-model", "nan-model", "emr-task")
ROWS = [*ONE_EACH, *(row for row in TABLE if str(row) in OTHER_STATISTICS)]


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A folder per kind of odd entries, with three models each."""
    root = tmp_path_factory.mktemp("models")
    for kind, odd in ODD.items():
        for model in range(3):
            drawn = torch.randn(9, 10, generator=torch.Generator().manual_seed(model))
            if model == 1:
                drawn.view(-1)[: len(odd)] = torch.tensor(odd)
            tensors = {
                "wide": drawn,
                "wide16": drawn.bfloat16(),
                "norm": drawn.view(-1)[:9].clone(),
            }
            (root / kind).mkdir(exist_ok=True)
            write_model(root / kind / f"m{model}", tensors)
            write_statistics(root / kind, f"m{model}", tensors)
    return root


@pytest.mark.parametrize("kind", ODD)
@pytest.mark.parametrize("row", ROWS, ids=str)
def test_what_is_not_finite_is_warned_of_by_its_name(row, kind, models):
    labels = [f"m{model}" for model in range(row.counts[-1])][:3]
    results = []
    for kernels in (Kernels.AUTO, Kernels.TORCH):
        out = models / kind / f"{row}-{kernels.value}"
        done = merge(row.recipe(labels), out, kernels=kernels)
        results.append(done.tensors())
        told = [text for text in done.report.warnings if "m1 has NaN or infinity" in text]
        is_seen = kind != "largest" and "m1" in labels
        assert len(told) == (3 if is_seen else 0), done.report.warnings  # one of each tensor
    torch.testing.assert_close(*results, rtol=0, atol=0, equal_nan=True)


def test_sums_beyond_the_largest_float64_are_not_warned_of_by_numpy(tmp_path):
    for model in range(3):
        huge = torch.full((4000,), 1e308 * (model - 1), dtype=torch.float64)
        write_model(tmp_path / f"m{model}", {"wide": huge})
    recipe = {
        "merge_method": "dare_linear",
        "base_model": str(tmp_path / "m1"),
        "models": [{"model": str(tmp_path / name)} for name in ("m0", "m2")],
        "parameters": {"weight": 0.5, "density": 0.5, "rescale": True},
    }
    merge(recipe, tmp_path / "out", kernels=Kernels.TORCH)


def test_infinities_of_blocks_add_up_to_nan_without_a_warning():
    assert np.isnan(exact_sum(np.array([np.inf, -np.inf])))
    assert exact_sum(np.array([1e308, 1e308])) == np.inf
