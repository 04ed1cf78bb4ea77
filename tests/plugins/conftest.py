import sys
from pathlib import Path

import pytest
import torch
import yaml
from attrs import frozen
from typer.testing import CliRunner

from graphmerge.checkpoint import reading
from graphmerge.cli.app import app
from graphmerge.methods.registry import METHODS
from graphmerge.pipeline import compile_recipe
from graphmerge.testing.merging import merge
from graphmerge.testing.stored_models import write_model

LAYERS = 4
ELEMENTS = 24


@pytest.fixture(autouse=True)
def registries(tmp_path):
    """What a test registers and imports is unknown to the next one."""
    methods, readers, modules = dict(METHODS), dict(reading._READERS), set(sys.modules)
    yield
    for known, before in ((METHODS, methods), (reading._READERS, readers)):
        known.clear()
        known.update(before)
    for name in set(sys.modules) - modules:
        file = Path(getattr(sys.modules[name], "__file__", None) or "/")
        if file.is_relative_to(tmp_path) or name.startswith("graphmerge_example"):
            del sys.modules[name]


@frozen
class Folder:
    """A working directory with the small models base, one and two, of four layers."""

    path: Path

    def write(self, name, content):
        """Write a file: a recipe as a mapping, or a text."""
        text = content if isinstance(content, str) else yaml.safe_dump(content, sort_keys=False)
        (self.path / name).write_text(text)
        return self.path / name

    def compiled(self, recipe):
        """The graph of a recipe."""
        return compile_recipe(self.write("recipe.yml", recipe))

    def merged(self, recipe, out="out", **limits):
        """The tensors that a recipe gives."""
        return merge(recipe, self.path / out, **limits).tensors()

    def invoke(self, *arguments):
        """Run a command of the command line in this process."""
        return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for number, name in enumerate(("base", "one", "two")):
        generator = torch.Generator().manual_seed(number)
        tensors = {
            f"model.layers.{layer}.{part}.weight": torch.randn(ELEMENTS, generator=generator)
            for layer in range(LAYERS)
            for part in ("mlp", "attn")
        }
        write_model(tmp_path / name, tensors, config={"num_hidden_layers": LAYERS})
    return Folder(tmp_path)


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Lay out a package as pip would: its modules, and its entry points in a dist-info folder."""
    site = tmp_path / "site-packages"
    site.mkdir()
    monkeypatch.syspath_prepend(site)

    def put(package, entry_points, group="graphmerge.methods", **modules):
        info = site / f"{package.replace('-', '_')}-1.2.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.2\n")
        lines = [f"{name} = {value}" for name, value in entry_points.items()]
        (info / "entry_points.txt").write_text("\n".join([f"[{group}]", *lines]))
        for name, text in modules.items():
            (site / f"{name}.py").write_text(text)

    return put
