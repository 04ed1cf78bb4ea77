"""Checkpoints of 70 billion parameters, by their headers: plans stay lean in nodes and in bytes."""

import itertools

import pytest

from graphmerge.schedule.simulate import simulate
from graphmerge.testing.checkpoints import write_header_only
from graphmerge.testing.llama_shapes import LLAMA_70B
from graphmerge.testing.merging import compile_mapping, plan_for
from graphmerge.testing.plans import check_plan
from graphmerge.units import GIB

TENSORS = 723


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    for name in "abcd":
        write_header_only(root / name, LLAMA_70B, max_shard_bytes=10 * GIB)
    return root


def ties(layers=None):
    names = "bcd"
    if layers is None:
        models = [{"model": name, "parameters": {"weight": 0.3, "density": 0.5}} for name in names]
        return {"merge_method": "ties", "base_model": "a", "models": models}
    sources = [
        {
            "model": name,
            "layer_range": [0, layers],
            "parameters": {"weight": 0.3, "density": 0.5},
        }
        for name in ("a", *names)
    ]
    return {"merge_method": "ties", "base_model": "a", "slices": [{"sources": sources}]}


def test_four_models_by_ties(models):
    compiled = compile_mapping(ties(), models / "ties.yml")
    graph = compiled.build.graph
    assert len(graph.outputs) == TENSORS
    assert len(graph.nodes()) <= 40 * TENSORS
    plan = plan_for(compiled, budget_bytes=8 * GIB, workers=4)
    plan.validate()
    assert len(plan.units) == TENSORS
    assert all(len(unit.unit.passes) == 4 for unit in plan.units)
    assert simulate(plan)
    lean = plan_for(compiled, budget_bytes=None)
    lean.validate()
    assert lean.memory.predicted_peak_bytes < GIB // 8


def test_units_and_passes_grow_as_the_layers_do(models):
    counts = []
    for layers in (10, 20, 40, 80):
        compiled = compile_mapping(ties(layers), models / "ties.yml")
        plan = plan_for(compiled)
        nodes = len(compiled.build.graph.nodes())
        passes = sum(len(unit.unit.passes) for unit in plan.units)
        counts.append((nodes, len(plan.units), passes, plan.memory.reserved_bytes))
    for smaller, larger in itertools.pairwise(counts):
        for before, after in zip(smaller, larger, strict=True):
            assert after <= 2 * before


def test_halves_of_two_models_are_stacked_within_little_memory(models):
    """A[0,40] + B[40,80]: mergekit 0.1.5 holds 56 GiB of inputs."""
    halves = [
        {"sources": [{"model": name, "layer_range": list(span)}]}
        for name, span in (("a", (0, 40)), ("b", (40, 80)))
    ]
    recipe = {"merge_method": "passthrough", "slices": halves}
    compiled = compile_mapping(recipe, models / "stack.yml")
    plan = plan_for(compiled, budget_bytes=8 * GIB, workers=8)
    check_plan(plan)
    assert plan.memory.predicted_peak_bytes < 4 * GIB
    assert plan.read_bytes == plan.written_bytes
