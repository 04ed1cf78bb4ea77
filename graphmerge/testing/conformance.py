"""What every merge method must keep, for the tests of plug-ins.

check_method("my_mean", tmp_path, parameters={"weight": 0.5})
check_memory("my_mean", tmp_path, parameters={"weight": 0.5})
"""

from __future__ import annotations

import atexit
import json
import os
import shutil
import subprocess
import sys
import tempfile
from functools import lru_cache
from itertools import product
from typing import TYPE_CHECKING, Any

import torch
import yaml

from graphmerge.ops.blocks import BLOCK_ELEMENTS
from graphmerge.schedule.executors import Kernels
from graphmerge.testing.merging import merge
from graphmerge.testing.stored_models import read_model, same_bytes, weights_digest, write_model
from graphmerge.units import GIB

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

LONG = 2 * BLOCK_ELEMENTS + 64
"""Elements of the longest tensor: two numerics blocks and a bit."""
MODELS = ("base", "one", "two", "three")
LARGE_ROWS = 4096
"""Rows and columns of the matrix by which memory is measured: 64 MiB in float32."""


def write_tiny_models(root: Path, models: Sequence[str] = MODELS) -> Path:
    """Folders of small models with tensors of every float dtype, of 0 to 3 axes, and empty ones."""
    for number, name in enumerate(models):
        generator = torch.Generator().manual_seed(number)

        def drawn(*shape: int, source: torch.Generator = generator) -> torch.Tensor:
            return torch.randn(shape, generator=source)

        tensors = {
            "long.weight": drawn(LONG // 64, 64).bfloat16(),
            "uneven.weight": drawn(BLOCK_ELEMENTS // 90, 100),
            "wide.weight": drawn(20, BLOCK_ELEMENTS // 8).half(),
            "layers.0.weight": drawn(48, 32),
            "layers.1.weight": drawn(48, 32).half(),
            "layers.1.norm": drawn(32).bfloat16(),
            "double": drawn(5, 7).double(),
            "three": drawn(3, 4, 5),
            "single": drawn(),
            "empty": drawn(0, 8),
        }
        write_model(root / name, tensors, config={"num_hidden_layers": 2})
    return root


def check_method(
    name: str,
    folder: Path,
    *,
    parameters: Mapping[str, Any] | None = None,
    with_base: bool = False,
    models: int = 3,
) -> None:
    """Check that a method's result depends on models, parameters and seed alone.

    Merges tiny models under every combination of budget, tile size, workers and executor.

    Args:
        name: A registered method.
        folder: An empty folder to work in.
        parameters: Parameters of the recipe.
        with_base: Whether the first model is the base.
        models: How many models are merged, the base included.

    Raises:
        AssertionError: two runs give different bytes, or a tensor's shape or dtype changes.
    """
    write_tiny_models(folder, MODELS[:models])
    recipe = _recipe(name, MODELS[:models], parameters or {}, with_base=with_base)
    digests: dict[str, list[str]] = {}
    plans = product((None, 4 * GIB), (1, 3), (BLOCK_ELEMENTS, 4 * BLOCK_ELEMENTS), Kernels)
    for budget, workers, tile, kernels in plans:
        if kernels is Kernels.NATIVE:
            continue  # what auto takes where it can
        label = f"{'tight' if budget is None else 'ample'}-{workers}-{tile}-{kernels.value}"
        out = folder / f"out-{label}"
        limits = {"budget_bytes": budget, "workers": workers, "tile_elements": tile}
        merge(recipe, out, seed=1, kernels=kernels, **limits)  # type: ignore[arg-type]
        digests.setdefault(weights_digest(out), []).append(label)
    assert len(digests) == 1, f"{name} gives different bytes under these plans: {digests}"
    _check_specs(name, read_model(folder / MODELS[0]), read_model(out))


def _check_specs(
    name: str, first: Mapping[str, torch.Tensor], merged: Mapping[str, torch.Tensor]
) -> None:
    assert sorted(first) == sorted(merged), f"{name} loses or adds tensors"
    for tensor, value in merged.items():
        specs = [(x.dtype, x.shape) for x in (first[tensor], value)]
        assert specs[0] == specs[1], f"{name} changes {tensor} from {specs[0]} to {specs[1]}"


def check_memory(
    name: str,
    folder: Path,
    *,
    parameters: Mapping[str, Any] | None = None,
    with_base: bool = False,
    models: int = 3,
    least_share: float = 0.8,
) -> None:
    """Check, in a process of its own, that a merge takes the memory that its plan predicts.

    Args:
        name: A registered method of an installed package.
        folder: A folder to work in.
        parameters: Parameters of the recipe.
        with_base: Whether the first model is the base.
        models: How many models are merged, the base included.
        least_share: How much of the prediction must really be taken. A merge by one method loads
            less than what is reserved for any, some 20 MiB of the 170 that are predicted here.

    Raises:
        AssertionError: the run fails, or takes more than predicted, or much less.
    """
    names = [f"large-{model}" for model in MODELS[:models]]
    for number, model in enumerate(names):
        generator = torch.Generator().manual_seed(number)
        matrix = torch.randn(LARGE_ROWS, LARGE_ROWS, generator=generator)
        write_model(folder / model, {"weight": matrix})
    path = folder / f"{name}-large.yml"
    path.write_text(yaml.safe_dump(_recipe(name, names, parameters or {}, with_base=with_base)))
    out = folder / "large-out"
    options = ["--memory-budget", "16GiB", "--workers", "1", "--quiet"]
    command = [sys.executable, "-m", "graphmerge.cli", "run", str(path), str(out), *options]
    environment = {**os.environ, "XDG_CACHE_HOME": _cache()}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    manifest = json.loads((out / "graphmerge.json").read_text())
    predicted, measured = manifest["predicted_peak_bytes"], manifest["measured_peak_bytes"]
    shown = f"{name}: predicted {predicted:,} bytes, measured {measured:,}"
    assert measured <= predicted, shown
    assert measured >= least_share * predicted, shown


@lru_cache(maxsize=1)
def _cache() -> str:
    """Where this very code is measured; the user's cache may be of another state of it."""
    folder = tempfile.mkdtemp(prefix="graphmerge-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _recipe(
    name: str, models: Sequence[str], parameters: Mapping[str, Any], *, with_base: bool
) -> dict[str, Any]:
    recipe: dict[str, Any] = {
        "merge_method": name,
        "models": [{"model": model} for model in models],
        "parameters": dict(parameters),
    }
    return recipe | ({"base_model": models[0]} if with_base else {})


__all__ = ["check_memory", "check_method", "same_bytes", "write_model", "write_tiny_models"]
