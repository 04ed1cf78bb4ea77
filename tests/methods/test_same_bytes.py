"""The output has the same bytes whatever the budget, the tiles, the workers and their timing."""

import random
import time
from itertools import product

import pytest
import torch
from data_statistics import write_statistics
from table import ONE_EACH, TABLE

from graphmerge.methods.base import Group
from graphmerge.methods.registry import METHODS
from graphmerge.ops.blocks import BLOCK_ELEMENTS
from graphmerge.schedule.executors import Kernels
from graphmerge.testing.merging import merge
from graphmerge.testing.reads import before_reads
from graphmerge.testing.stored_models import weights_digest, write_model
from graphmerge.units import GIB

N = 3 * BLOCK_ELEMENTS + BLOCK_ELEMENTS // 2 + 17
"""Three and a half numerics blocks, and an odd end for vectorised loops."""
BUDGETS = (None, 4 * GIB)
"""The least that works, so that inputs are read again; and plenty, so that they are kept."""
TILES = (BLOCK_ELEMENTS, 2 * BLOCK_ELEMENTS, 4 * BLOCK_ELEMENTS)
MANY_PASSES = (
    *("slerp", "ties", "dare_linear", "dare_ties", "nan"),
    *("nuslerp", "multislerp", "karcher", "model_stock", "geometric_median", "add_perpendicular"),
    *("della", "della_linear", "breadcrumbs", "breadcrumbs_ties", "sce", "ramplus_tl"),
    "arcee_fusion",
)
"""Methods whose units read a tensor more than once, unless it is kept."""
WITHOUT_CODE = ("della", "della_linear", "pcb", "regmean")
"""Methods with ops, mostly such that look at rows, for which there is no native code."""
TORCH_ALONE = (Group.SUBSPACES,)
"""Kinds of methods with ops that torch alone can do."""
IN_OTHER_UNITS = ("ties-model", "nan-model", "emr-task")
"""Rows whose passes over one tensor are in different units."""
ROWS = [*ONE_EACH, *(row for row in TABLE if str(row) in ("ties-rescaled", *IN_OTHER_UNITS))]


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Folders of three models: long tensors of several dtypes, tied magnitudes, a small tensor."""
    root = tmp_path_factory.mktemp("models")
    for model in range(3):
        generator = torch.Generator().manual_seed(model)
        drawn = torch.randn(N, generator=generator)
        tensors = {
            "bf16": drawn.bfloat16(),
            "fp32": drawn * 1.1,
            "tied": torch.randint(-3, 4, (N,), generator=generator).half(),
            "fp64": drawn[: BLOCK_ELEMENTS + 3].double() * torch.pi,
            "norm": drawn[:64].bfloat16(),
            "wide": drawn[: 90 * 130].view(90, 130),
            "tall": drawn[: 130 * 90].view(130, 90).bfloat16(),
        }
        write_model(root / f"m{model}", tensors)
        write_statistics(root, f"m{model}", tensors)
    return root


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_neither_budget_nor_tiles_nor_workers_change_a_byte(row, models):
    labels = [f"m{model}" for model in range(row.counts[-1])][:3]
    digests, kept = {}, {}
    for budget, workers, tile in product(BUDGETS, (1, 2, 3), TILES):
        out = models / f"{row}-{budget}-{workers}-{tile}"
        limits = {"budget_bytes": budget, "workers": workers, "tile_elements": tile}
        merged = merge(row.recipe(labels), out, seed=5, **limits)
        digests[budget, workers, tile] = weights_digest(out)
        kept[budget] = sum(len(unit.kept) for unit in merged.plan.units)
    assert len(set(digests.values())) == 1, digests
    assert (kept[None] < kept[4 * GIB]) is (
        row.method in MANY_PASSES and str(row) not in IN_OTHER_UNITS
    )


@pytest.mark.parametrize("row", TABLE, ids=str)
def test_torch_and_native_code_give_the_same_bytes(row, models):
    labels = [f"m{model}" for model in range(row.counts[-1])][:3]
    digests = []
    for kernels in (Kernels.NATIVE, Kernels.TORCH):
        out = models / f"{row}-{kernels.value}"
        merged = merge(row.recipe(labels), out, seed=5, kernels=kernels)
        executors = {part.executor.value for unit in merged.plan.units for part in unit.unit.passes}
        is_for_torch = row.method in WITHOUT_CODE or METHODS[row.method].group in TORCH_ALONE
        assert executors <= {kernels.value, "copy", *(["torch"] if is_for_torch else [])}
        digests.append(weights_digest(out))
    assert digests[0] == digests[1]


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_the_timing_of_reads_does_not_change_a_byte(row, models, monkeypatch):
    labels = [f"m{model}" for model in range(row.counts[-1])][:3]
    plain = models / f"{row}-plain"
    merge(row.recipe(labels), plain, seed=5, tile_elements=TILES[0])
    chance = random.Random(7)
    before_reads(
        lambda entries: time.sleep(chance.choice((0, 0, 0.001, 0.004))), monkeypatch.setattr
    )
    for budget in BUDGETS:
        out = models / f"{row}-late-{budget}"
        limits = {"budget_bytes": budget, "workers": 3, "tile_elements": TILES[0]}
        merge(row.recipe(labels), out, seed=5, **limits)
        assert weights_digest(out) == weights_digest(plain)


@pytest.mark.parametrize(
    "row", [row for row in ROWS if "dare" in row.method or "della" in row.method], ids=str
)
def test_the_seed_changes_masks_and_nothing_else_does(row, models):
    recipe = row.recipe(["m0", "m1", "m2"])
    digests = []
    for number, seed in enumerate((1, 1, 2)):
        merge(recipe, models / f"{row}-seeded{number}", seed=seed)
        digests.append(weights_digest(models / f"{row}-seeded{number}"))
    assert digests[0] == digests[1] != digests[2]
