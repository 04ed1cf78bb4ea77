"""NaN in what an adapter adds is told with the file and tensor that has it."""

import pytest
import torch
from safetensors.torch import load_file, save_file

from graphmerge.schedule.executors import Kernels
from graphmerge.testing.adapters import write_adapter
from graphmerge.testing.checkpoints import write_base
from graphmerge.testing.llama_shapes import TINY
from graphmerge.testing.merging import merge

NAME = "model.layers.0.mlp.up_proj.weight"
FACTOR = f"base_model.model.{NAME.removesuffix('.weight')}.lora_{{}}.weight"


def spoil(file, name):
    stored = load_file(file)
    stored[name][0, 0] = torch.nan
    save_file(stored, file, metadata={"format": "pt"})


@pytest.mark.parametrize("kernels", [Kernels.AUTO, Kernels.TORCH])
@pytest.mark.parametrize("spoilt", ["A", "B", "base", "AB"])
def test_the_tensor_with_nan_is_named(tmp_path, kernels, spoilt):
    write_base(tmp_path / "base", TINY, seed=0)
    write_adapter(tmp_path / "adapter", tmp_path / "base", rank=3, seed=1)
    weights = tmp_path / "base" / "model.safetensors"
    factors = tmp_path / "adapter" / "adapter_model.safetensors"
    places = (
        [(weights, NAME)] if spoilt == "base" else [(factors, FACTOR.format(x)) for x in spoilt]
    )
    for file, name in places:
        spoil(file, name)
    recipe = {
        "merge_method": "linear",
        "models": [{"model": f"{tmp_path}/base+{tmp_path}/adapter", "parameters": {"weight": 1}}],
    }
    told = merge(recipe, tmp_path / "out", kernels=kernels).report.warnings
    named = [line.split(" @ ")[1] for line in told if " has NaN or infinity" in line]
    assert named == [f"{file}, tensor {name}" for file, name in places]
