"""Merges on a CUDA device against the same merges on the CPU."""

import pytest
import torch

from graphmerge.pipeline import RunOptions, run
from graphmerge.schedule.choose import schedule
from graphmerge.schedule.plan import Request
from graphmerge.testing.merging import Silent, compile_mapping, nothing_reserved
from graphmerge.testing.stored_models import read_model, write_model
from graphmerge.units import GIB

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here"),
]

SHAPES = {"small": (7,), "scalar": (), "empty": (0, 4), "block": (65536,), "matrix": (700, 900)}
WEIGHTS = (0.5, 0.3, -0.2)
METHODS = {
    "linear": {},
    "task_arithmetic": {"lambda": 0.7},
    "ties": {"density": 0.3},
    "dare_linear": {"density": 0.4},
    "dare_ties": {"density": 0.4},
}


def write_models(folder, dtype):
    generator = torch.Generator().manual_seed(3)
    base = {name: torch.randn(shape, generator=generator) for name, shape in SHAPES.items()}
    write_model(folder / "base", {name: x.to(dtype) for name, x in base.items()})
    for model in "abc":
        changed = {
            name: (x + 0.05 * torch.randn(x.shape, generator=generator)).to(dtype)
            for name, x in base.items()
        }
        write_model(folder / model, changed)


def recipe_of(method):
    if method == "slerp":
        models = [{"model": "base"}, {"model": "a"}]
        return {
            "merge_method": method,
            "base_model": "base",
            "models": models,
            "parameters": {"t": 0.4},
        }
    models = [
        {"model": name, "parameters": {"weight": weight}}
        for name, weight in zip("abc", WEIGHTS, strict=True)
    ]
    base = {} if method == "linear" else {"base_model": "base"}
    return {"merge_method": method, **base, "models": models, "parameters": METHODS[method]}


def merged(folder, method, device):
    compiled = compile_mapping(recipe_of(method), folder / f"{method}.yml")
    request = Request(4 * GIB, 2, device=device, gpu_budget_bytes=4 * GIB)
    plan = schedule(compiled.build.graph, request, nothing_reserved)
    out = folder / f"{method}-{device}"
    run(compiled, plan, out, RunOptions(), Silent())
    return plan, read_model(out)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64], ids=str)
@pytest.mark.parametrize("method", [*METHODS, "slerp"])
def test_the_gpu_agrees_with_the_cpu(tmp_path, method, dtype):
    write_models(tmp_path, dtype)
    torch.cuda.reset_peak_memory_stats()
    plan, on_gpu = merged(tmp_path, method, "cuda")
    _, on_cpu = merged(tmp_path, method, "cpu")
    assert torch.cuda.max_memory_allocated() <= plan.memory.device_bytes
    assert {unit.passes[0].device for unit in (u.unit for u in plan.units)} == {"cuda"}
    for name, expected in on_cpu.items():
        tolerance = {torch.bfloat16: 2**-7, torch.float64: 1e-13}.get(dtype, 2e-6)
        scale = float(expected.abs().max()) if expected.numel() else 1.0
        torch.testing.assert_close(on_gpu[name], expected, rtol=0, atol=tolerance * scale)


def test_masks_are_the_same_on_both(tmp_path):
    """With a base of zeros and one fine-tune of ones, what is kept is what is not zero."""
    shape = {"x": (300, 1000)}
    write_model(tmp_path / "base", {name: torch.zeros(size) for name, size in shape.items()})
    for model in "abc":
        write_model(tmp_path / model, {name: torch.ones(size) for name, size in shape.items()})
    _, on_gpu = merged(tmp_path, "dare_linear", "cuda")
    _, on_cpu = merged(tmp_path, "dare_linear", "cpu")
    assert torch.equal(on_gpu["x"] == 0, on_cpu["x"] == 0)
