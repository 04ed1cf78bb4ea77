"""Tensors that are made alike share a pattern; sharing never changes what is made."""

import pytest
from constant_models import LAYERS, PARTS, constant_model

from graphmerge.build import tensors as builder
from graphmerge.graph import postorder
from graphmerge.ops.sparsify import RandomDrop
from graphmerge.testing.merging import compile_mapping

TWO_MODELS = [
    {"model": "one", "parameters": {"weight": 0.25}},
    {"model": "two", "parameters": {"weight": 0.5}},
]
TIES = {
    "merge_method": "ties",
    "base_model": "base",
    "models": TWO_MODELS,
    "parameters": {"density": 0.5},
}
STACKED = {
    "merge_method": "passthrough",
    "slices": [
        {"sources": [{"model": "one", "layer_range": [0, 3]}]},
        {"sources": [{"model": "two", "layer_range": [1, 4]}]},
    ],
}
THINNED = {
    "graph": {
        "mean": TIES | {"merge_method": "dare_linear"},
        "tau": {"op": "task-vector", "inputs": ["mean", "two"]},
        "thin": {"op": "sparsify", "inputs": ["tau"], "density": 0.5, "method": "random"},
        "thinner": {"op": "sparsify", "inputs": ["thin"], "density": 0.5, "method": "random"},
        "out": {"op": "add-delta", "inputs": ["base", "thinner"]},
    },
    "output": "out",
}
SLICED_PAIRS = [
    {"sources": [{"model": name, "layer_range": span} for name in ("base", "one")]}
    for span in ([0, 3], [1, 4])
]
SLICED = TIES | {
    "merge_method": "dare_ties",
    "slices": [
        {
            "sources": [
                {"model": name, "layer_range": span, "parameters": {"weight": 0.5}}
                for name in ("base", "one", "two")
            ]
        }
        for span in ([0, 3], [1, 4])
    ],
}
del SLICED["models"]
LINES = {
    "merge_method": "lines",
    "base_model": "base",
    "models": TWO_MODELS[:1],
    "parameters": {"beta": 0.5},
}
MATRICES = TIES | {"merge_method": "tsv_m", "parameters": {"exclude": "embed, norm"}}
CASES = {
    "linear": {"merge_method": "linear", "models": TWO_MODELS},
    "layers": LINES,
    "layers in a filter": LINES
    | {"parameters": {"beta": 0.5, "alpha": [{"filter": "mlp", "value": 0.2}, {"value": 1.0}]}},
    "layers of slices": {key: LINES[key] for key in ("merge_method", "base_model", "parameters")}
    | {"slices": SLICED_PAIRS},
    "matrices": MATRICES,
    "ties": TIES,
    "dare": TIES | {"merge_method": "dare_ties"},
    "della": TIES | {"merge_method": "della"},
    "masks of masks": THINNED,
    "masks of layers that are used twice": SLICED,
    "gradient": TIES | {"parameters": {"density": [0.2, 0.8]}},
    "filter": TIES | {"parameters": {"density": [{"filter": "mlp", "value": 0.2}, {"value": 0.7}]}},
    "stacked": STACKED,
    "twice": {"merge_method": "linear", "models": [*TWO_MODELS, TWO_MODELS[0]]},
    "graph": {
        "graph": {
            "mean": {"op": "interpolate", "inputs": ["one", "two"], "t": 0.5},
            "tau": {"op": "task-vector", "inputs": ["mean", "one"]},
            "half": {"op": "sparsify", "inputs": ["tau"], "density": 0.5},
            "sum": {"op": "add-delta", "inputs": ["base", "half"]},
            "out": {"op": "where", "inputs": ["sum", "two"], "tensors": ["mlp"]},
        },
        "output": "out",
    },
}


@pytest.fixture
def models(tmp_path):
    for number, name in enumerate(("base", "one", "two")):
        constant_model(tmp_path / name, number)
    return tmp_path


def graph_of(models, recipe):
    return compile_mapping(recipe, models / "recipe.yml").build.graph


def patterns(graph):
    return {output.value.pattern for output in graph.outputs}


@pytest.mark.parametrize("name", CASES)
def test_every_output_is_the_node_that_it_would_be_on_its_own(models, name, monkeypatch):
    shared = graph_of(models, CASES[name])
    nodes = {output.name: output.node for output in shared.outputs}
    monkeypatch.setattr(builder, "shared_pattern", lambda *_: None)
    alone = graph_of(models, CASES[name])
    assert len(patterns(alone)) >= len(patterns(shared))
    assert {output.name: output.node for output in alone.outputs} == nodes
    assert shared.kinds() == alone.kinds()
    assert set(shared.nodes()) == set(postorder(nodes.values()))
    assert shared.omissions == alone.omissions


@pytest.mark.parametrize(
    ("name", "count"),
    [
        *(("linear", 1), ("ties", 1), ("dare", 1), ("della", 1), ("filter", 2)),
        *(("gradient", LAYERS), ("layers", LAYERS + 1), ("layers in a filter", 2 * LAYERS + 1)),
        ("matrices", 2),
    ],
)
def test_tensors_of_one_shape_and_one_set_of_parameters_share_a_pattern(models, name, count):
    assert len(patterns(graph_of(models, CASES[name]))) == count


def test_masks_differ_between_tensors(models):
    graph = graph_of(models, CASES["dare"])
    keys = {node.op.key for node in graph.nodes() if isinstance(node.op, RandomDrop)}
    outside = 3
    assert len(keys) == len(TWO_MODELS) * (LAYERS * len(PARTS) + outside)
    assert {key.tensor for key in keys} == {output.name for output in graph.outputs}
