"""docs/choosing-a-method.md: its recipe runs, and it speaks of methods that there are."""

import re
from pathlib import Path

from graphmerge.methods.registry import BUILT_IN
from graphmerge.testing.checkpoints import write_base, write_fine_tune
from graphmerge.testing.llama_shapes import TINY
from graphmerge.testing.merging import merge
from graphmerge.testing.stored_models import read_model

TEXT = (Path(__file__).parents[2] / "docs" / "choosing-a-method.md").read_text()


def test_the_recipe_runs(tmp_path, monkeypatch):
    import yaml

    monkeypatch.chdir(tmp_path)  # the working directory may have models of these names

    write_base(tmp_path / "demo" / "base", TINY, seed=0)
    for seed, name in enumerate(("code", "chat"), start=1):
        base = tmp_path / "demo" / "base"
        write_fine_tune(tmp_path / "demo" / name, base, seed=seed, scale=0.002)
    (text,) = re.findall(r"^```yaml\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
    merged = merge(yaml.safe_load(text), tmp_path / "scaled").tensors()
    assert merged.keys() == read_model(tmp_path / "demo" / "base").keys()


def test_the_table_names_methods():
    table = TEXT[TEXT.index("## Which to try") : TEXT.index("Most methods work")]
    names = set(re.findall(r"`([a-z_]+)`", table)) - {"t", "task"}
    assert names <= BUILT_IN.keys()
