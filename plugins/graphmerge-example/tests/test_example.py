"""The methods keep graphmerge's promises, and compute what they say."""

import pytest
import torch

from graphmerge.testing.conformance import check_memory, check_method
from graphmerge.testing.merging import merge
from graphmerge.testing.stored_models import write_model

METHODS = {
    "example_median": {"toward_mean": 0.25},
    "example_row_norm": {"weight": 0.5},
    "example_spectral": {"norm": "spectral"},
    "example_soft_ties": {"weight": 0.7, "density": 0.4, "softness": 0.3, "lambda": 0.9},
}
BASED = ("example_soft_ties",)


@pytest.mark.parametrize("name", METHODS)
def test_budget_tiles_workers_and_dtypes_change_nothing(name, tmp_path) -> None:
    check_method(name, tmp_path, parameters=METHODS[name], with_base=name in BASED)


@pytest.mark.parametrize("name", METHODS)
def test_memory_is_as_planned(name, tmp_path) -> None:
    check_memory(name, tmp_path, parameters=METHODS[name], with_base=name in BASED)


def merged(name, tmp_path, tensors, parameters=None, **more):
    for number, tensor in enumerate(tensors):
        write_model(tmp_path / f"m{number}", {"w": tensor})
    models = [{"model": f"m{number}"} for number in range(len(tensors))]
    recipe = {"merge_method": name, "models": models, "parameters": parameters or {}, **more}
    return merge(recipe, tmp_path / "out").tensors()["w"]


def test_the_median_is_between(tmp_path) -> None:
    tensors = [
        torch.tensor([1.0, 5.0, -2.0]),
        torch.tensor([3.0, 4.0, 0.0]),
        torch.tensor([2.0, 9.0, 7.0]),
    ]
    assert merged("example_median", tmp_path, tensors).tolist() == [2.0, 5.0, 0.0]


def test_rows_keep_their_mean_norm(tmp_path) -> None:
    a, b = torch.randn(2, 6, 8, generator=torch.Generator().manual_seed(0)).unbind()
    found = merged("example_row_norm", tmp_path, [a, b], {"weight": 1.0})
    torch.testing.assert_close(found.norm(dim=1), (a.norm(dim=1) + b.norm(dim=1)) / 2)


def test_matrices_keep_their_mean_spectral_norm(tmp_path) -> None:
    a, b = torch.randn(2, 6, 8, generator=torch.Generator().manual_seed(0)).unbind()
    found = merged("example_spectral", tmp_path, [a, b], {"steps": 300})
    largest = [torch.linalg.matrix_norm(x, 2) for x in (a, b)]
    torch.testing.assert_close(
        torch.linalg.matrix_norm(found, 2), sum(largest) / 2, rtol=1e-4, atol=0
    )


def test_softness_one_is_task_arithmetic(tmp_path) -> None:
    base, a, b = torch.randn(3, 40, generator=torch.Generator().manual_seed(0)).unbind()
    parameters = {"weight": 0.5, "density": 0.2, "softness": 1.0, "lambda": 0.5}
    found = merged("example_soft_ties", tmp_path, [base, a, b], parameters, base_model="m0")
    torch.testing.assert_close(found, base + 0.5 * (0.5 * (a - base) + 0.5 * (b - base)))
