"""A filter that no tensor's name contains is probably a typing error."""

import pytest

from graphmerge.testing.checkpoints import write_header_only
from graphmerge.testing.llama_shapes import TINY
from graphmerge.testing.merging import compile_mapping

SCOPES = ["recipe", "slice", "source"]


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    for name in ("one", "two"):
        write_header_only(folder / name, TINY)
    return folder


def warnings(models, part, scope="recipe"):
    """What is said of a merge with a filter in a scope."""
    weight = [{"filter": part, "value": 0.5}, {"value": 1}]
    given = {
        where: {"parameters": {"weight": weight}} if where == scope else {} for where in SCOPES
    }
    sources = [
        {"model": name, "layer_range": [0, TINY.layers], **given["source"]}
        for name in ("one", "two")
    ]
    recipe = {
        "merge_method": "linear",
        "slices": [{"sources": sources, **given["slice"]}],
        **given["recipe"],
    }
    return compile_mapping(recipe, models / "recipe.yml").build.graph.warnings


@pytest.mark.parametrize("scope", SCOPES)
def test_a_filter_in_no_name_is_told_once_with_the_nearest_part_of_a_name(models, scope):
    (warning,) = warnings(models, "self_atn", scope)
    assert warning == (
        "filter 'self_atn' of 'weight' is in no tensor's name (did you mean 'self_attn'?)"
    )


@pytest.mark.parametrize(
    ("part", "hint"),
    [
        ("mlp.gat_proj", "did you mean 'mlp.gate_proj'?"),
        ("lm_heads", "did you mean 'lm_head'?"),
        ("layers.4.", ""),
    ],
)
def test_the_hint_has_as_many_parts_as_the_filter(models, part, hint):
    (warning,) = warnings(models, part)
    assert f"filter {part!r}" in warning
    assert hint in warning


@pytest.mark.parametrize("part", ["self_attn", "lm_head", "*", "layers.3.", "embed", "_proj.w"])
def test_a_filter_in_some_name_is_not(models, part):
    assert not any("in no tensor's name" in line for line in warnings(models, part))


def test_entries_of_a_graph_are_named(models):
    weight = [{"filter": "mpl", "value": 0.5}, {"value": 1}]
    first = {
        "merge_method": "linear",
        "models": [{"model": "one"}],
        "parameters": {"weight": weight},
    }
    recipe = {"graph": {"first": first}, "output": "first"}
    (warning,) = compile_mapping(recipe, models / "recipe.yml").build.graph.warnings
    assert warning.startswith("entry first: filter 'mpl'")
    assert warning.endswith("(did you mean 'mlp'?)")
