import os
import subprocess
import sys

import pytest
import yaml
from typer.testing import CliRunner

from graphmerge.cli.app import app
from graphmerge.testing.checkpoints import write_base, write_fine_tune
from graphmerge.testing.llama_shapes import TINY

TIES = {
    "merge_method": "ties",
    "base_model": "base",
    "models": [
        {"model": "first", "parameters": {"weight": 0.5, "density": 0.5}},
        {"model": "second", "parameters": {"weight": 0.5, "density": 0.5}},
    ],
}


class Folder:
    """A working directory with the models base, first and second, and the recipe ties.yml."""

    def __init__(self, path):
        self.path = path
        write_base(path / "base", TINY, seed=0)
        for seed, name in enumerate(("first", "second"), start=1):
            write_fine_tune(path / name, path / "base", seed=seed, scale=0.002)
        self.write("ties.yml", TIES)

    def write(self, name, recipe):
        """Write a recipe; a mapping, or the text itself."""
        text = recipe if isinstance(recipe, str) else yaml.safe_dump(recipe, sort_keys=False)
        (self.path / name).write_text(text)

    def invoke(self, *arguments):
        """Run a command in this process."""
        return CliRunner().invoke(app, [str(argument) for argument in arguments])

    def process(self, *arguments, command=None, **options):
        """Run a command in a process of its own."""
        return subprocess.run(
            self.command(*arguments) if command is None else [*command, *arguments],
            capture_output=True,
            text=True,
            check=False,
            cwd=self.path,
            **options,
        )

    @staticmethod
    def command(*arguments):
        """The command line of a process of its own."""
        return [sys.executable, "-m", "graphmerge.cli", *map(str, arguments)]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return Folder(tmp_path)


@pytest.fixture
def uncalibrated(monkeypatch, tmp_path):
    """An environment in which nothing has been measured yet."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return os.environ
