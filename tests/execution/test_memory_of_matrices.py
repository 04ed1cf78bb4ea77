"""A fresh process that factorises takes what was predicted, with one worker and with two."""

import json
import os
import subprocess
import sys

import pytest
import torch
import yaml

from graphmerge.errors import BudgetError
from graphmerge.testing.merging import compile_mapping, plan_for
from graphmerge.testing.stored_models import write_model
from graphmerge.units import MIB

SHAPES = {"wide": (384, 2304), "tall": (2304, 384), "square": (896, 896)}
METHODS = ("star", "tsv_m", "iso_c", "iso_cts", "wudi", "actmat", "cart")


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A folder with three models of two matrices for each shape."""
    root = tmp_path_factory.mktemp("models")
    for name, shape in SHAPES.items():
        for number in range(3):
            generator = torch.Generator().manual_seed(number)
            tensors = {f"layers.{i}.w": torch.randn(shape, generator=generator) for i in range(2)}
            write_model(root / f"{name}{number}", tensors)
    return root


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """Where this very code is calibrated: a cache may be of another state of it."""
    return tmp_path_factory.mktemp("cache")


def recipe(method, shape, **own):
    listed = [{"model": f"{shape}{number}"} for number in (1, 2)]
    return {
        "merge_method": method, "base_model": f"{shape}0", "models": listed, "parameters": own,
    }  # fmt: skip


def measured(models, cache, content, workers):
    """Measured and predicted peak of a merge in a process of its own."""
    path = models / "recipe.yml"
    path.write_text(yaml.safe_dump(content))
    out = models / "out"
    options = ["--memory-budget", "8GiB", "--workers", str(workers), "--quiet", "--overwrite"]
    command = [sys.executable, "-m", "graphmerge.cli", "run", str(path), str(out), *options]
    environment = {**os.environ, "XDG_CACHE_HOME": str(cache)}
    subprocess.run(command, check=True, env=environment, capture_output=True)
    manifest = json.loads((out / "graphmerge.json").read_text())
    return manifest["measured_peak_bytes"], manifest["predicted_peak_bytes"]


@pytest.mark.parametrize(
    ("method", "shape", "workers"),
    [("tsv_m", "square", 1), ("iso_cts", "square", 2), ("actmat", "wide", 1)],
)
def test_a_factorisation_takes_what_was_predicted(models, cache, method, shape, workers):
    peak, predicted = measured(models, cache, recipe(method, shape), workers)
    assert 0.75 * predicted <= peak <= predicted


@pytest.mark.slow  # a process each
@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("method", METHODS)
def test_every_method_takes_what_was_predicted(models, cache, method, shape, workers):
    peak, predicted = measured(models, cache, recipe(method, shape), workers)
    assert 0.5 * predicted <= peak <= predicted


@pytest.mark.slow  # a process each
@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize(
    ("method", "shape"), [*((method, "square") for method in METHODS), ("cart", "wide")]
)
def test_every_method_in_the_core_takes_what_was_predicted(models, cache, method, shape, workers):
    """Finding the core takes most, so the prediction is the same for every method."""
    peak, predicted = measured(models, cache, recipe(method, shape, space="core"), workers)
    assert 0.5 * predicted <= peak <= predicted


@pytest.mark.slow  # a process each
@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_regression_takes_what_was_predicted(models, cache, shape, workers):
    """Gram matrices of one layer are held for all models at once."""
    columns = SHAPES[shape][1]
    for number in range(3):
        grams = {f"layers.{i}.w": torch.eye(columns) for i in range(2)}
        write_model(models / f"{shape}{number}-gram", grams)
    listed = [{"model": f"{shape}{n}", "statistics": f"{shape}{n}-gram"} for n in range(3)]
    content = {"merge_method": "regmean", "models": listed}
    peak, predicted = measured(models, cache, content, workers)
    assert 0.5 * predicted <= peak <= predicted


def test_a_budget_for_one_worker_gets_one_worker(models):
    """The workspace is needed once for each worker, and a matrix is never cut."""
    compiled = compile_mapping(recipe("iso_c", "square"), models / "budget.yml")
    one = plan_for(compiled, budget_bytes=None, workers=4)
    assert one.workers == 1
    needed = one.memory.predicted_peak_bytes
    assert needed > 3 * 896 * 896 * 8
    assert plan_for(compiled, budget_bytes=4 * needed, workers=4).workers > 1
    refused = plan_for(compiled, budget_bytes=needed - 1, workers=4)
    with pytest.raises(BudgetError, match=f"at least .*{-(-needed // MIB)}MiB or more"):
        refused.validate()
