"""A model that is written anew between the reading of its header and the end of the merge."""

import os

import pytest
import torch

import graphmerge as gm
from graphmerge.testing.merging import merge
from graphmerge.testing.reads import before_reads
from graphmerge.testing.stored_models import read_model, write_model

pytestmark = pytest.mark.filterwarnings("ignore:.*layer:UserWarning")
MESSAGE = r"the file has changed since its header was read @ .*b.model\.safetensors"
ELEMENTS = 2**20
"""More than is read in one batch with its neighbours, without `before_reads`."""
MODELS = [{"model": name, "parameters": {"weight": 1}} for name in ("a", "b")]


def write(folder, names):
    """The model b, its tensors in this order in the file."""
    write_model(folder / "b", {name: torch.full((ELEMENTS,), float(len(name))) for name in names})


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_model(tmp_path / "a", {name: torch.zeros(ELEMENTS) for name in ("x", "yy")})
    write(tmp_path, ("x", "yy"))
    return tmp_path


@pytest.fixture
def changed(folder):
    """An expression and its plan, of files that have changed since."""
    value = gm.weighted_sum(["a", "b"], weights=[0.5, 0.5])
    plan = value.plan()
    write(folder, ("yy", "x"))
    return value, plan


@pytest.mark.parametrize(
    "act",
    [
        lambda value, plan: value.plan(),
        lambda value, plan: value.tensor("x"),
        lambda value, plan: value.save("out"),
        lambda value, plan: value.save("out", plan=plan),
    ],
    ids=["plan", "tensor", "save", "save a plan"],
)
def test_an_expression_of_a_file_that_has_changed_is_refused(changed, folder, act):
    with pytest.raises(gm.CheckpointError, match=MESSAGE):
        act(*changed)
    assert not (folder / "out").exists()


def test_loaded_again_it_has_the_new_numbers(changed, folder):
    gm.weighted_sum(["a", "b"], weights=[0.5, 0.5]).save("out")
    assert read_model(folder / "out")["yy"].tolist() == [1.0] * ELEMENTS


def test_nothing_is_published_of_a_file_that_changes_while_it_is_read(folder, monkeypatch):
    file = folder / "b/model.safetensors"
    before_reads(lambda entries: os.utime(file, ns=(1, 1)), monkeypatch.setattr)
    with pytest.raises(gm.CheckpointError, match=MESSAGE):
        merge({"merge_method": "linear", "models": MODELS}, folder / "out")
    assert not (folder / "out").exists()
