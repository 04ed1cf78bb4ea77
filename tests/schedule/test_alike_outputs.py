"""Outputs of one pattern are planned once; the plan is the one that each would have on its own."""

import pytest
from attrs import evolve

from graphmerge.graph import Output, Pattern
from graphmerge.schedule.choose import schedule
from graphmerge.schedule.plan import Request
from graphmerge.schedule.report import report
from graphmerge.testing.checkpoints import write_header_only
from graphmerge.testing.llama_shapes import TINY
from graphmerge.testing.merging import compile_mapping, nothing_reserved
from graphmerge.testing.plans import check_plan
from graphmerge.units import GIB

MIXTURE = evolve(TINY, hidden=512, intermediate=1024, experts=3)
TUNED = [{"model": name, "parameters": {"weight": 0.5, "density": 0.5}} for name in ("one", "two")]
TIES = {"merge_method": "ties", "base_model": "base", "models": TUNED, "dtype": "bfloat16"}
HALVES = {
    "merge_method": "passthrough",
    "slices": [{"sources": [{"model": "one", "layer_range": span}]} for span in ([0, 3], [1, 4])],
}
RECIPES = {
    "linear": {"merge_method": "linear", "models": TUNED},
    "ties": TIES,
    "norms": TIES | {"merge_method": "dare_ties", "parameters": {"rescale": True}},
    "ranks": TIES | {"merge_method": "della"},
    "layers that are used twice": HALVES,
}
LIMITS = {
    "kept": Request(4 * GIB, 2),
    "read again": Request(1, 2),
    "one worker": Request(4 * GIB, 1, tile_elements=65536),
}


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    for name in ("base", "one", "two"):
        write_header_only(folder / name, MIXTURE)
    return folder


def said(plan):
    """What the report says of the plan, without what the Python objects of the plan take."""
    found = report(plan, shards=1)
    moments = [(moment.label, moment.live_bytes) for moment in found.moments]
    return evolve(
        found,
        moments=moments,
        units=tuple(found.units),
        reserved_bytes=0,
        predicted_peak_bytes=0,
        least_budget_bytes=0,
        computed_again=frozenset(found.computed_again),
        stored=frozenset(found.stored),
        fits=True,
    )


@pytest.mark.parametrize("limits", LIMITS.values(), ids=LIMITS)
@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_a_plan_is_the_same_as_without_patterns(models, recipe, limits):
    graph = compile_mapping(recipe, models / "recipe.yml").build.graph
    outputs = tuple(Output(output.name, output.node, output.reason) for output in graph.outputs)
    alone = evolve(graph, outputs=outputs)
    together, apart = (schedule(one, limits, nothing_reserved) for one in (graph, alone))
    check_plan(together)
    assert len(together.order.works) <= len(together.units)
    assert len(apart.order.works) == len(apart.units)
    assert (together.workers, together.tile_elements) == (apart.workers, apart.tile_elements)
    for one, other in zip(together.units, apart.units, strict=True):
        assert one.unit.name == other.unit.name
        assert one.unit.root is other.unit.root
        assert one.kept == other.kept
        assert nodes_of(one) == nodes_of(other)
    assert said(together) == said(apart)
    assert together.memory.reserved_bytes <= apart.memory.reserved_bytes


def nodes_of(plan):
    """Everything that the passes of a unit speak of."""
    return [
        (
            *(part.program.loads, part.reductions, part.result, part.prologue, part.numel),
            *((item.node, item.statistics) for item in part.program.instructions),
        )
        for part in plan.unit.passes
    ]


@pytest.mark.parametrize("method", ["task_arithmetic", "ties", "dare_ties", "della"])
def test_the_number_of_works_does_not_grow_with_the_layers(models, method):
    recipe = TIES | {"merge_method": method}
    counts = []
    for experts in (2, 4):
        folder = models / str(experts)
        for name in ("base", "one", "two"):
            write_header_only(folder / name, evolve(MIXTURE, experts=experts, layers=experts))
        compiled = compile_mapping(recipe, folder / "recipe.yml")
        plan = schedule(compiled.build.graph, LIMITS["kept"], nothing_reserved)
        patterns = {output.value.pattern for output in compiled.build.graph.outputs}
        options = {id(member.option) for member in plan.order.members}
        counts.append((len(patterns), len(options), len(plan.order.works), len(plan.units)))
    (*few, units), (*many, more_units) = counts
    assert more_units > 2 * units
    assert many == few


def test_units_of_one_output_make_its_nodes_once(models, monkeypatch):
    graph = compile_mapping(RECIPES["ranks"], models / "recipe.yml").build.graph
    plan = schedule(graph, Request(4 * GIB, 2), nothing_reserved)
    assert sum(unit.unit.stored is not None for unit in plan.units) > len(graph.outputs)
    made, bind = [], Pattern.bind
    monkeypatch.setattr(Pattern, "bind", lambda *given: made.append(given) or bind(*given))
    for unit in plan.units:
        assert unit.unit.root not in unit.unit.needs
        assert set(unit.unit.makes) <= {unit.unit.root}
        assert unit.bound().steps
    assert len(made) <= len(graph.outputs)
