"""docs/statistics.md: its blocks run from top to bottom, and the merges are what they should be."""

import json
import re
import subprocess
import sys
from pathlib import Path

import torch
from console_blocks import commands

from graphmerge.testing.checkpoints import write_base, write_fine_tune
from graphmerge.testing.llama_shapes import TINY
from graphmerge.testing.merging import merge
from graphmerge.testing.stored_models import read_model, weights_digest

TEXT = (Path(__file__).parents[2] / "docs" / "statistics.md").read_text()
STEPS = Path(__file__).with_name("page_steps.py")
NAMES = ("code", "chat")


def block(language):
    return re.findall(rf"^```{language}\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)


def steps():
    """What the page says to do: recipes are saved first."""
    saved = re.findall(r"[Ss]ave\s+this\s+as\s+`([^`]+)`", TEXT)
    return [
        *(["save", *pair] for pair in zip(saved, block("yaml"), strict=True)),
        *(["python", text] for text in block("python")),
        *(command.text.split() for command in commands(TEXT)),
    ]


def test_statistics_are_taken_and_used(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # the working directory may have models of these names
    write_base(tmp_path / "demo" / "base", TINY, seed=0)
    for seed, name in enumerate(NAMES, start=1):
        write_fine_tune(tmp_path / "demo" / name, tmp_path / "demo" / "base", seed=seed, scale=0.1)
    command = [sys.executable, str(STEPS), str(tmp_path)]
    given = json.dumps(steps())
    done = subprocess.run(command, input=given, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    models = [read_model(tmp_path / "demo" / name) for name in NAMES]
    by_fisher, by_regression = (read_model(tmp_path / out) for out in ("fisher", "regmean"))
    assert by_fisher.keys() == by_regression.keys() == models[0].keys()
    for name, x in by_fisher.items():
        low, high = torch.stack([model[name].float() for model in models]).aminmax(dim=0)
        assert (x.float() >= low - 0.01).all(), name
        assert (x.float() <= high + 0.01).all(), name
    name = "model.layers.0.self_attn.q_proj.weight"
    task = {"merge_method": "emr", "base_model": "demo/base", "parameters": {"task": 1}}
    listed = {"models": [{"model": f"demo/{one}"} for one in NAMES]}
    merge(task | listed, tmp_path / "wanted")
    assert weights_digest(tmp_path / "restored") == weights_digest(tmp_path / "wanted")
    mean = (models[0][name].float() + models[1][name].float()) / 2
    assert not torch.allclose(by_regression[name].float(), mean, atol=0.01)
