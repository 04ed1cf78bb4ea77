"""A budget for the memory of a device is refused by its own name; no device is needed for that."""

import pytest
import torch

from graphmerge.errors import BudgetError
from graphmerge.schedule.choose import schedule
from graphmerge.schedule.plan import Request
from graphmerge.testing.merging import compile_mapping, nothing_reserved
from graphmerge.testing.stored_models import write_model
from graphmerge.units import GIB, MIB


def test_the_option_that_is_to_be_raised_is_named(tmp_path):
    for name in ("a", "b"):
        write_model(tmp_path / name, {"w": torch.ones(4, 4)})
    models = [{"model": name, "parameters": {"weight": 1}} for name in ("a", "b")]
    recipe = {"merge_method": "linear", "models": models}
    graph = compile_mapping(recipe, tmp_path / "recipe.yml").build.graph

    def plan(gpu_budget):
        return schedule(graph, Request(GIB, 1, "cuda", gpu_budget), nothing_reserved)

    needed = plan(None).memory.device_bytes
    plan(needed).validate()
    message = r"no plan fits the GPU memory budget @ .*give --gpu-memory-budget \d+MiB or more"
    with pytest.raises(BudgetError, match=message) as error:
        plan(MIB).validate()
    assert len(error.value.problems) == 1
    with pytest.raises(BudgetError, match="GPU memory"):
        plan(0).validate()
