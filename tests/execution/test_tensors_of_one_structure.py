import json

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from typer.testing import CliRunner

from graphmerge.cli.app import app

COUNT = 8


@pytest.mark.parametrize("kernels", ["native", "torch"])
def test_small_tensors_one_after_the_other_get_each_its_own_weight(tmp_path, kernels):
    """A worker goes from one to the next without preparing its native call anew."""
    tensors = {}
    for seed, model in enumerate(("a", "b")):
        values = np.random.default_rng(seed).normal(size=(COUNT, 64, 32)).astype(np.float32)
        tensors[model] = {f"layers.0.e{i}.weight": values[i] for i in range(COUNT)}
        (tmp_path / model).mkdir()
        (tmp_path / model / "config.json").write_text('{"num_hidden_layers": 1}')
        save_file(tensors[model], tmp_path / model / "model.safetensors")
    weights = [{"filter": f"e{i}.w", "value": 0.5 + i} for i in range(COUNT)]
    models = [
        {"model": str(tmp_path / "a"), "parameters": {"weight": weights}},
        {"model": str(tmp_path / "b"), "parameters": {"weight": 1.0}},
    ]
    recipe = {"merge_method": "linear", "models": models, "parameters": {"normalize": False}}
    (tmp_path / "recipe.yml").write_text(json.dumps(recipe))
    out = tmp_path / "out"
    options = ("--workers", "1", "--memory-budget", "2GiB", "--kernels", kernels)
    result = CliRunner().invoke(app, ["run", str(tmp_path / "recipe.yml"), str(out), *options])
    assert result.exit_code == 0, result.output
    found = load_file(out / "model.safetensors")
    for i in range(COUNT):
        name = f"layers.0.e{i}.weight"
        wanted = (0.5 + i) * tensors["a"][name] + tensors["b"][name]
        np.testing.assert_allclose(found[name], wanted, rtol=1e-5, atol=1e-5)
