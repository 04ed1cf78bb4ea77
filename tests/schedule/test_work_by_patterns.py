"""Planning takes as much work as there are kinds of tensors, however many tensors are of a kind."""

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from graphmerge.graph.node import Node
from graphmerge.schedule.choose import schedule
from graphmerge.schedule.order import sums_before
from graphmerge.schedule.plan import Request
from graphmerge.schedule.report import report
from graphmerge.schedule.units import Work
from graphmerge.testing.checkpoints import write_header_only
from graphmerge.testing.llama_shapes import TINY
from graphmerge.testing.merging import compile_mapping, nothing_reserved
from graphmerge.units import GIB

TUNED = [{"model": name, "parameters": {"weight": 0.5, "density": 0.5}} for name in ("one", "two")]
LONE = {"models": TUNED[:1], "parameters": {"beta": 0.5}}
METHODS = {
    "linear": {"parameters": {"weight": 1}},
    "ties": {},
    "dare_ties": {},
    "della": {},
    "emr": {},
    "lines": LONE,
    "tsv_m": {},
    "metagpt": {},
    "localize_and_stitch": {},
    "pcb": {},
    "nan": {"parameters": {"scope": "model"}},
    "star": {"parameters": {"exclude": "lm_head, q_proj"}},
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """The same three models with few experts, and with many."""
    found = []
    for experts in (2, 9):
        folder = tmp_path_factory.mktemp("models")
        for name in ("base", "one", "two"):
            write_header_only(folder / name, evolve(TINY, experts=experts))
        found.append(folder)
    return found


@pytest.mark.parametrize("method", METHODS)
def test_more_tensors_of_a_kind_need_no_more_nodes_or_works(folders, method, monkeypatch):
    recipe = {"merge_method": method, "base_model": "base", "models": TUNED} | METHODS[method]
    made = {Node: [], Work: []}
    for kind, found in made.items():
        monkeypatch.setattr(kind, "__init__", counting(kind.__init__, found))
    counts, outputs = [], []
    for folder in folders:
        for found in made.values():
            found.clear()
        compiled = compile_mapping(recipe, folder / "recipe.yml")
        plan = schedule(compiled.build.graph, Request(4 * GIB, 2), nothing_reserved)
        report(plan, shards=1)
        counts.append(tuple(map(len, made.values())))
        outputs.append(len(compiled.build.graph.outputs))
    few, many = counts
    assert few[0] > 0 < few[1]
    assert many == few
    assert outputs[1] > 2 * outputs[0]


def counting(make, found):
    def init(self, *arguments, **settings):
        found.append(None)
        make(self, *arguments, **settings)

    return init


@given(st.lists(st.integers(0, 2**40), min_size=1), st.integers(1, 9))
def test_sums_of_neighbours(values, count):
    expected = [sum(values[max(0, end - count) : end]) for end in range(1, len(values) + 1)]
    assert sums_before(values, count).tolist() == expected
