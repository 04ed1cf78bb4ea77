import string
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphmerge.errors import RecipeError
from graphmerge.recipe import ModelReference, parse_reference, resolve_local

names = st.text(string.ascii_letters + string.digits + "/-_. é", min_size=1)
bare = st.builds(ModelReference, names, st.none() | names)
references = st.builds(ModelReference, names, st.none() | names, st.none() | bare)


@given(references)
def test_a_reference_survives_text(reference):
    assert parse_reference(str(reference), recipe_folder=None) == reference


@given(references)
def test_text_and_mapping_say_the_same(reference):
    lora = reference.lora and {"path": reference.lora.path, "revision": reference.lora.revision}
    model = {"path": reference.path, "revision": reference.revision}
    assert parse_reference({"model": model, "lora": lora}, recipe_folder=None) == reference


def test_mapping_takes_text_for_its_parts():
    mapping = {"model": "a/b@main", "lora": "c/d@v1", "override_architecture": "LlamaForCausalLM"}
    assert parse_reference(mapping, recipe_folder=None) == ModelReference(
        "a/b", "main", ModelReference("c/d", "v1"), "LlamaForCausalLM"
    )


def test_an_adapter_given_twice_is_refused():
    with pytest.raises(RecipeError, match=r"adapter is given twice @ \$\.lora"):
        parse_reference({"model": "a+b", "lora": "c"}, recipe_folder=None)


@pytest.mark.parametrize("text", ["", "@main", "+lora", "a@", "a+", "a@+lora", "a+b@", "a+b+c"])
def test_incomplete_references_are_refused(text):
    with pytest.raises(RecipeError, match=r"not a |an empty text"):
        parse_reference(text, recipe_folder=None)


def test_null_bytes_and_endless_names_are_no_local_paths():
    for text in ("a\0b", "a" * 5000):
        assert parse_reference(text, recipe_folder=None) == ModelReference(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x@y", ModelReference("x@y")),
        ("x+y", ModelReference("x+y")),
        ("x@y@main", ModelReference("x@y", "main")),
        ("x+y+z", ModelReference("x+y", None, ModelReference("z"))),
        ("hub/z+x@y", ModelReference("hub/z", None, ModelReference("x@y"))),
        ("x@z", ModelReference("x", "z")),
    ],
)
def test_an_existing_path_with_separators_is_a_path(tmp_path, text, expected):
    for name in ("x", "x@y", "x+y"):
        (tmp_path / name).mkdir()
    assert parse_reference(text, recipe_folder=tmp_path) == expected


def test_relative_paths_start_at_the_working_directory_then_at_the_recipe(tmp_path, monkeypatch):
    work, recipes = tmp_path / "work", tmp_path / "recipes"
    for folder in (work / "both", recipes / "both", recipes / "only"):
        folder.mkdir(parents=True)
    monkeypatch.chdir(work)
    assert resolve_local(ModelReference("both"), recipes) == Path("both")
    assert resolve_local(ModelReference("only"), recipes) == recipes / "only"
    assert resolve_local(ModelReference("only"), None) is None
    assert resolve_local(ModelReference("none"), recipes) is None
    assert resolve_local(ModelReference(str(recipes / "only")), None) == recipes / "only"
