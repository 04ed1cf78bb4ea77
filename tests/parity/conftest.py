import json
import os
import re
import subprocess
from pathlib import Path

import pytest
from parity_models import FAMILIES, write_extremes, write_models
from parity_vocabularies import write_vocabularies

from graphmerge import pipeline
from graphmerge.testing.merging import Silent, plan_for
from graphmerge.testing.stored_models import read_model

BATCH = Path(__file__).with_name("mergekit_batch.py")


def pytest_configure(config):
    config.addinivalue_line("markers", "recipe(text): what a parity test has both programs merge")


@pytest.fixture(scope="session")
def mergekit_yaml():
    """The command of mergekit's own environment."""
    path = Path(os.environ.get("GRAPHMERGE_MERGEKIT", ".venv-mergekit/bin/mergekit-yaml"))
    if not path.exists():
        pytest.skip(f"no mergekit at {path}: `make parity`, or set GRAPHMERGE_MERGEKIT")
    return path.absolute()


@pytest.fixture(scope="session")
def models(mergekit_yaml, tmp_path_factory):
    """A folder with the models of every family."""
    assert mergekit_yaml, "skips before any model is made"
    folder = tmp_path_factory.mktemp("parity")
    for name in FAMILIES:
        write_models(folder, name)
    write_extremes(folder)
    write_vocabularies(folder)
    return folder


@pytest.fixture(scope="session")
def mergekit_outputs(request, mergekit_yaml, models):
    """The folder in which one process of mergekit has merged the recipe of every selected test."""
    outputs = models / "mergekit"
    outputs.mkdir()
    recipes = {}
    for test in request.session.items:
        for mark in test.iter_markers("recipe"):
            recipes[_file_name(test)] = mark.args[0]
    for name, text in recipes.items():
        (models / f"{name}.yml").write_text(text)
    python = mergekit_yaml.with_name("python")
    subprocess.run(
        [python, BATCH, mergekit_yaml, models, outputs, *recipes],
        check=True,
        cwd=models,  # where relative model paths start
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
        capture_output=True,
    )
    return outputs


def _file_name(test):
    return re.sub(r"\W+", "-", test.name)


class Merge:
    """A recipe and what the two programs make of it."""

    def __init__(self, models, mergekit_outputs, name):
        self.recipe = models / f"{name}.yml"
        self.models = models
        self.theirs = mergekit_outputs / name
        self.ours = models / "graphmerge" / name

    def run(self):
        """Run graphmerge."""
        compiled = pipeline.compile_recipe(self.recipe)
        plan = plan_for(compiled, workers=2)
        pipeline.run(compiled, plan, self.ours, pipeline.RunOptions(), Silent())

    @property
    def failure_of_mergekit(self):
        """Its error message; None if it succeeded."""
        return json.loads(self.theirs.with_name(f"{self.theirs.name}.json").read_text())

    def tensors(self):
        """graphmerge's tensors and mergekit's, by name."""
        return read_model(self.ours), read_model(self.theirs)


@pytest.fixture
def merge(request, models, mergekit_outputs):
    """The recipe of the test, merged by mergekit."""
    return Merge(models, mergekit_outputs, _file_name(request.node))
