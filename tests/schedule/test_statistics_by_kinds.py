"""Statistics over tensors go by kinds of tensors; the plan is that of all tensors one by one."""

from collections import Counter

import pytest
import torch
from attrs import evolve

from graphmerge.graph import all_inputs
from graphmerge.graph.expansion import expanded
from graphmerge.schedule.choose import schedule
from graphmerge.schedule.dependence import shared_statistics
from graphmerge.schedule.plan import Request
from graphmerge.schedule.report import report
from graphmerge.testing.checkpoints import write_header_only
from graphmerge.testing.llama_shapes import TINY
from graphmerge.testing.merging import compile_mapping, nothing_reserved
from graphmerge.testing.plans import check_plan
from graphmerge.testing.stored_models import write_model
from graphmerge.units import GIB

NAMES = ("base", "one", "two")
TUNED = [{"model": name, "parameters": {"weight": 0.5, "density": 0.5}} for name in NAMES[1:]]
BASE = {"base_model": "base", "models": TUNED, "dtype": "bfloat16"}
RECIPES = {
    "metagpt": BASE | {"merge_method": "metagpt"},
    "ties": BASE | {"merge_method": "ties", "parameters": {"scope": "model", "rescale": True}},
    "weights by name": BASE
    | {
        "merge_method": "ties",
        "parameters": {"scope": "model", "lambda": [{"filter": "mlp", "value": 2}, {"value": 1}]},
    },
    "pcb": BASE | {"merge_method": "pcb"},
    "masks and factors": BASE | {"merge_method": "emr_masks"},
    "a task of emr": BASE | {"merge_method": "emr", "parameters": {"task": "one"}},
    "layers with tasks": BASE
    | {"merge_method": "lines", "models": [*TUNED, TUNED[0]], "parameters": {"beta": 0.5}},
    "over masks": {
        "graph": {
            "thin": BASE | {"merge_method": "dare_ties", "parameters": {"rescale": False}},
            "out": {"merge_method": "metagpt", "base_model": "base", "models": ["thin", "two"]},
        },
        "output": "out",
    },
}
SINGLE = {"masks and factors": ["emr.rescalers"]}
"""Outputs that are made of nothing but statistics over tensors."""
OF_TENSORS = {
    "graph": {
        "between": {
            "merge_method": "slerp",
            "base_model": "base",
            "models": [TUNED[0]],
            "parameters": {"t": 0.5},
        },
        "out": {"merge_method": "metagpt", "base_model": "base", "models": ["between", "two"]},
    },
    "output": "out",
}


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    for name in NAMES:
        write_header_only(folder / name, evolve(TINY, hidden=512, experts=2))
    return folder


def graph_of(models, recipe):
    entries = recipe.get("graph", {})
    for entry in entries.values():
        entry["models"] = [
            one if isinstance(one, dict) else {"model": one} for one in entry["models"]
        ]
    return compile_mapping(recipe, models / "recipe.yml").build.graph


def said(plan):
    """What the report says, without what Python objects take, and rounding of seconds."""
    found = report(plan, shards=1)
    again = Counter((one.kind, one.passes, one.result_bytes) for one in found.computed_again)
    moments = [(moment.label, moment.live_bytes) for moment in found.moments]
    return evolve(
        found,
        moments=moments,
        units=tuple(found.units),
        computed_again=again,
        stored=tuple(found.stored),
        estimated_seconds=pytest.approx(found.estimated_seconds),
        **dict.fromkeys(("reserved_bytes", "predicted_peak_bytes", "least_budget_bytes"), 0),
        fits=True,
    )


@pytest.mark.parametrize("budget", [4 * GIB, 1], ids=["kept", "read again"])
@pytest.mark.parametrize("name", RECIPES)
def test_a_plan_is_that_of_all_tensors(models, name, budget):
    graph = graph_of(models, RECIPES[name])
    assert graph.surveyed
    assert [one.name for one in graph.partition.single] == SINGLE.get(name, [])
    alone = expanded(graph)
    assert len(alone.nodes()) == len(graph.nodes())
    limits = Request(budget, 2)
    together, apart = (schedule(one, limits, nothing_reserved) for one in (graph, alone))
    check_plan(together)
    assert len(apart.order.works) > len(together.order.works)
    assert said(together) == said(apart)
    assert together.memory.reserved_bytes <= apart.memory.reserved_bytes


def test_inputs_are_those_of_every_tensor_in_order(models):
    graph = graph_of(models, RECIPES["metagpt"])
    (total,) = graph.over_tensors()
    (of_all,) = (node for node in expanded(graph).nodes() if node.op.fold_width)
    assert all_inputs(total) == of_all.inputs
    assert len(total.inputs) < len(of_all.inputs) == 2 * len(graph.outputs)


def test_what_a_statistic_needs_for_every_tensor_is_made_once(tmp_path):
    """Thresholds, where nothing but the balance of signs needs them, for tensors of one kind."""
    for name in NAMES:
        write_model(tmp_path / name, {f"{number}.weight": torch.ones(8, 8) for number in range(3)})
    graph = graph_of(tmp_path, RECIPES["weights by name"])
    found = []
    for one in (graph, expanded(graph)):
        *_, balance = (node for node in one.nodes() if node.op.kind == "sum-over-tensors")
        found.append(Counter(node.op.kind for node in shared_statistics([balance])))
    assert found[0] == found[1]
    assert found[0]["keep-ties"] == len(TUNED)


def test_a_statistic_that_output_and_survey_share_is_made_once(models):
    """The norms by which slerp goes are needed for both."""
    graph = graph_of(models, OF_TENSORS)
    assert not graph.surveyed
    plan = schedule(graph, Request(4 * GIB, 2), nothing_reserved)
    check_plan(plan)
    assert sum(bool(unit.unit.makes) for unit in plan.units) > len(graph.outputs)
