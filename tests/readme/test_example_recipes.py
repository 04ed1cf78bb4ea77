from pathlib import Path

import pytest

from graphmerge.pipeline import compile_recipe, make_plan
from graphmerge.recipe import load_recipe_graph
from graphmerge.schedule.plan import Request
from graphmerge.testing.adapters import write_adapter
from graphmerge.testing.checkpoints import write_header_only
from graphmerge.testing.llama_shapes import TINY
from graphmerge.units import GIB

RECIPES = sorted((Path(__file__).parents[2] / "recipes").glob("*.yml"))


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A working directory with every model that the examples name; the files have headers only."""
    folder = tmp_path_factory.mktemp("models")
    for name in (
        "demo/base",
        "demo/code",
        "demo/chat",
        "models/base",
        "models/first",
        "models/second",
    ):
        write_header_only(folder / name, TINY)
    for seed, name in enumerate(("code", "chat")):
        write_adapter(folder / "adapters" / name, folder / "models" / "base", rank=2, seed=seed)
    return folder


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_an_example_is_planned(path, models, monkeypatch):
    monkeypatch.chdir(models)
    compiled = compile_recipe(path)
    plan = make_plan(compiled, Request(budget_bytes=4 * GIB, workers=2), calibrate=False)
    assert plan.fits
    assert len(plan.graph.outputs) >= 39


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_an_example_begins_with_what_it_is_for(path):
    assert load_recipe_graph(path).text.startswith("# ")


def test_there_are_examples():
    assert "demo-ties" in [path.stem for path in RECIPES]
