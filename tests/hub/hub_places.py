"""The models of the tests, and a working directory with an organisation on the server."""

import os
import subprocess
import sys

import yaml

from graphmerge.testing.llama_shapes import LlamaShape

SHAPE = LlamaShape(4, 256, 512, vocabulary=1024, heads=8, kv_heads=4)
"""5.6 MiB in three files: much more than headers."""
MODELS = ("base", "code", "chat")


def ties(organisation):
    """A recipe of the three models."""
    return {
        "merge_method": "ties",
        "base_model": f"{organisation}/base",
        "models": [
            {"model": f"{organisation}/code", "parameters": {"weight": 0.5, "density": 0.5}},
            {"model": f"{organisation}/chat", "parameters": {"weight": 0.5, "density": 0.5}},
        ],
        "dtype": "bfloat16",
    }


class Place:
    """A working directory, and an organisation of its own on the server."""

    def __init__(self, path, hub, organisation):
        self.path, self.hub, self.organisation = path, hub, organisation

    def add(self, name, folder, **settings):
        """Put a folder on the Hub; its commit."""
        return self.hub.add(f"{self.organisation}/{name}", folder, **settings)

    def write(self, name, recipe):
        """Write a recipe."""
        (self.path / name).write_text(yaml.safe_dump(recipe, sort_keys=False))
        return self.path / name

    def process(self, *arguments, **environment):
        """Run a command in a process of its own; a variable that is None is unset."""
        merged = {**os.environ, **environment}
        return subprocess.run(
            [sys.executable, "-W", "error", "-m", "graphmerge.cli", *map(str, arguments)],
            cwd=self.path,
            env={name: value for name, value in merged.items() if value is not None},
            capture_output=True,
            text=True,
            check=False,
        )
