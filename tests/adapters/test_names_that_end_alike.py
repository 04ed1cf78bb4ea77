"""Modules whose names end alike, of different ranks: PEFT and graphmerge find each one's own."""

import json
import warnings

import pytest
import torch
from peft import PeftModel
from safetensors.torch import save_file
from torch import nn
from typer.testing import CliRunner

from graphmerge.adapters.rank_patterns import rank_pattern
from graphmerge.cli.app import app
from graphmerge.testing.merging import merge
from graphmerge.testing.stored_models import write_model

ROWS = {"out": 3, "a.out": 5, "a.b.out": 9, "other": 9, "c.other": 4}
"""Rows of each module's weight, which are its rank."""


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        for name, rows in ROWS.items():
            *parents, last = name.split(".")
            place = self
            for parent in parents:
                if not hasattr(place, parent):
                    place.add_module(parent, nn.Module())
                place = getattr(place, parent)
            place.add_module(last, nn.Linear(12, rows, bias=False))


@pytest.fixture
def weights(tmp_path):
    torch.manual_seed(0)
    tensors = {f"{name}.weight": torch.randn(rows, 12) for name, rows in ROWS.items()}
    write_model(tmp_path / "base", tensors, config={})
    return tensors


def run(*arguments):
    result = CliRunner().invoke(app, [*map(str, arguments)])
    assert result.exit_code == 0, result.output


def require_merged(tmp_path, base, wanted):
    """That PEFT and graphmerge make the wanted weights of the base and an adapter."""
    recipe = {"merge_method": "passthrough", "models": [{"model": "base+made"}]}
    model = Model()
    model.load_state_dict(base)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        by_peft = PeftModel.from_pretrained(model, tmp_path / "made").merge_and_unload()
    for got in (merge(recipe, tmp_path / "merged").tensors(), by_peft.state_dict()):
        for name, tensor in wanted.items():
            torch.testing.assert_close(got[name], tensor, atol=1e-5, rtol=1e-5, msg=name)


def test_extracted(tmp_path, weights):
    tuned = {name: tensor + torch.randn(tensor.shape) for name, tensor in weights.items()}
    write_model(tmp_path / "tuned", tuned, config={})
    run("extract-lora", tmp_path / "tuned", tmp_path / "base", tmp_path / "made", "--rank", 9)
    require_merged(tmp_path, weights, tuned)


def write_adapter(folder, factors):
    folder.mkdir()
    tensors = {
        f"base_model.model.{name}.lora_{part}.weight": tensor
        for name, pair in factors.items()
        for part, tensor in zip("AB", pair, strict=True)
    }
    save_file(tensors, folder / "adapter_model.safetensors")
    config = {"peft_type": "LORA", "r": 2, "lora_alpha": 2}
    (folder / "adapter_config.json").write_text(json.dumps(config))


def test_merged(tmp_path, weights):
    every = {name: (torch.randn(2, 12), torch.randn(rows, 2)) for name, rows in ROWS.items()}
    write_adapter(tmp_path / "first", every)
    some = {name: every[name] for name in ("a.out", "other")}
    write_adapter(tmp_path / "second", some)
    run("merge-lora", tmp_path / "made", tmp_path / "first", tmp_path / "second")
    wanted = {}
    for name, (a, b) in every.items():
        times = 2 if name in some else 1
        wanted[f"{name}.weight"] = weights[f"{name}.weight"] + times * (b @ a)
    require_merged(tmp_path, weights, wanted)


def test_only_what_another_key_would_match_is_listed():
    ranks = {"x.out": 8, "out": 4, "about": 8, "x.y": 2, "z.x.y": 2, "y": 8}
    assert list(rank_pattern(ranks, 8).items()) == [
        ("x.out", 8),
        ("z.x.y", 2),
        ("out", 4),
        ("x.y", 2),
    ]
