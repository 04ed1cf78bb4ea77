import os
import subprocess
from pathlib import Path

import pytest
from parity_models import FAMILIES, write_extremes, write_models


@pytest.fixture(scope="session")
def mergekit_yaml():
    """The command of mergekit's own environment."""
    path = Path(os.environ.get("GRAPHMERGE_MERGEKIT", ".venv-mergekit/bin/mergekit-yaml"))
    if not path.exists():
        pytest.skip(f"no mergekit at {path}: `make parity`, or set GRAPHMERGE_MERGEKIT")
    return path.absolute()


@pytest.fixture(scope="session")
def models(mergekit_yaml, tmp_path_factory):  # noqa: ARG001 - skips before models are made
    """A folder with the models of every family."""
    folder = tmp_path_factory.mktemp("parity")
    for name in FAMILIES:
        write_models(folder, name)
    write_extremes(folder)
    return folder


@pytest.fixture(scope="session")
def run_mergekit(mergekit_yaml, models):
    """Function that runs recipes, by name, through one process of mergekit."""

    def run(recipes):
        outputs = models / "mergekit"
        outputs.mkdir(exist_ok=True)
        for name, text in recipes.items():
            (models / f"{name}.yml").write_text(text)
        subprocess.run(
            [
                *(mergekit_yaml.with_name("python"), Path(__file__).with_name("mergekit_batch.py")),
                *(mergekit_yaml, models, outputs, *recipes),
            ],
            check=True,
            cwd=models,  # where relative model paths start
            env={**os.environ, "HF_HUB_OFFLINE": "1"},
            capture_output=True,
        )
        return outputs

    return run
