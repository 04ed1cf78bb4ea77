"""Peak memory of a process that has loaded what an executor needs and run tiles.

This is what calibration measures, once per environment. Libraries load code when it is first used,
so importing is not enough: methods that load most merge a tiny checkpoint through the real engine.
A few of them: a plan has few native functions, and the others would only add theirs. The tensors
themselves are part of the peak but not of the baseline: they are small, one tile for each worker,
and what the plans predict for them is taken off. What remains grows with the workers by their
stacks and by what the allocator wastes on their workspaces, which depends on the tile; so tiles are
as large as the planner makes them. The bar of a terminal is loaded, too: some run draws one.
"""

from __future__ import annotations

import json
import math
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from graphmerge.cli.progress import RunDisplay
from graphmerge.execution.peak import measured_peak_bytes
from graphmerge.methods.base import BaseRule, Method
from graphmerge.methods.registry import METHODS
from graphmerge.ops.blocks import BLOCK_ELEMENTS
from graphmerge.output import ShardWriter, layout_shards
from graphmerge.pipeline import RunOptions, compile_recipe, make_plan, run
from graphmerge.recipe.signature import REQUIRED
from graphmerge.schedule.executors import Executor, Kernels
from graphmerge.schedule.plan import Request
from graphmerge.schedule.tiling import MOST_READ_ELEMENTS
from graphmerge.spec import DType, TensorSpec
from graphmerge.units import GIB

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from graphmerge.schedule.plan import Memory

_TRIED = {
    Executor.COPY: ("passthrough",),
    Executor.NATIVE: ("linear", "slerp", "ties", "dare_ties"),
    Executor.TORCH: ("linear", "slerp", "ties", "dare_ties", "tsv_m"),
}
"""Methods that load what others need: sums, inner products, order statistics, masks, and the
linear algebra of torch. None of the native ones needs torch."""
_MODELS = ("base", "first", "second")
_TILE_ELEMENTS = MOST_READ_ELEMENTS
_MATRIX = (96, 128)
"""Shape of a matrix that is factorised: large enough that linear algebra takes its usual paths."""
_NEUTRAL_DEFAULTS = ("density",)
"""Parameters whose default leaves kernels out: all entries are kept, so none is looked for."""


def baseline_peak_bytes(executor: Executor, workers: int) -> int:
    """Peak resident memory of this process after tiny merges, less the tensors.

    A copy is what passthrough does.
    """
    kernels = Kernels.AUTO if executor is Executor.NATIVE else Kernels.TORCH
    with tempfile.TemporaryDirectory(prefix="graphmerge-") as name:
        folder = Path(name)
        for number, model in enumerate(_MODELS):
            _write_model(folder / model, number, workers)
        tensor_bytes = max(
            _merge(folder, METHODS[method], workers, kernels) for method in _TRIED[executor]
        )
    return measured_peak_bytes() - tensor_bytes


def _merge(folder: Path, method: Method, workers: int, kernels: Kernels) -> int:
    """Merge by a method; returns the bytes that the plan predicts beside what is reserved."""
    recipe = folder / f"{method.name}.yml"
    recipe.write_text(json.dumps(_recipe(folder, method)))
    compiled = compile_recipe(recipe)
    request = Request(64 * GIB, workers, tile_elements=_TILE_ELEMENTS, kernels=kernels)
    plan = make_plan(compiled, request, calibrate=False)
    with RunDisplay(plan, drawn=True) as display:
        run(compiled, plan, folder / f"out-{method.name}", RunOptions(), display)
    return _tensor_bytes(plan.memory)


def _tensor_bytes(memory: Memory) -> int:
    return memory.live_bytes + memory.workspace_bytes + memory.buffer_bytes


def _recipe(folder: Path, method: Method) -> dict[str, Any]:
    models = _MODELS[: method.most_models]
    recipe: dict[str, Any] = {
        "merge_method": method.name,
        "models": [{"model": str(folder / model)} for model in models],
        "parameters": {
            spec.name: 0.5
            for spec in method.parameters
            if spec.default is REQUIRED or spec.name in _NEUTRAL_DEFAULTS
        },
    }
    if method.base is BaseRule.REQUIRED:
        recipe["base_model"] = str(folder / models[0])
    return recipe


def _write_model(folder: Path, number: int, workers: int) -> None:
    """A vector with a tile for each worker, its values of either sign; integers; a matrix.

    In pieces: to make them must not take more than to merge them, which is what is measured.
    """
    folder.mkdir()
    elements = workers * _TILE_ELEMENTS
    specs = {
        "layers.0.weight": TensorSpec((elements,), DType.BF16),
        "layers.0.positions": TensorSpec((8,), DType.I64),
        "layers.0.matrix": TensorSpec(_MATRIX, DType.BF16),
    }
    layout = layout_shards(list(specs.items()), max_shard_bytes=GIB)
    (folder / "config.json").write_text(json.dumps({"num_hidden_layers": 1}))
    with ShardWriter(folder, layout) as writer:
        vector, positions, matrix = (layout.slots[name] for name in specs)
        for start in range(0, elements, BLOCK_ELEMENTS):
            words = _words(start, BLOCK_ELEMENTS, number)
            writer.write(vector, words.itemsize * start, words)
        writer.write(positions, 0, np.arange(8))
        writer.write(matrix, 0, _words(0, math.prod(_MATRIX), number))


def _words(start: int, count: int, number: int) -> NDArray[np.uint16]:
    """Words of bfloat16 numbers of magnitudes around 0.01."""
    places = np.arange(start, start + count, dtype=np.uint32)
    bits = places * np.uint32(2654435761 + 2 * number) >> 16
    return (bits & 0x83FF | 0x3C00).astype(np.uint16)
