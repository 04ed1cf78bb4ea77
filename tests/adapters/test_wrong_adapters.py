"""Adapters that are wrong whatever their base is: one message, in `merge-lora` and in `run`."""

import json
import re

import pytest
import torch
from safetensors.torch import save_file
from typer.testing import CliRunner

from graphmerge.cli.app import app
from graphmerge.testing.stored_models import write_model

A = "base_model.model.l.lora_A.weight"
B = "base_model.model.l.lora_B.weight"
FITTING = "wanted A [rank, columns] and B [rows, rank]"
FLOATS = "wanted F16, BF16, F32 or F64"


def factors(a=(2, 6), b=(8, 2), dtype=torch.float32):
    return {A: torch.ones(a).to(dtype), B: torch.ones(b).to(dtype)}


def embedding(a):
    parts = ("base_model.model.l.lora_embedding_A", "base_model.model.l.lora_embedding_B")
    return dict(zip(parts, (torch.ones(a), torch.ones(8, 2)), strict=True))


def fault(folder, command, tensors, **config):
    """What a command says of a wrong adapter."""
    adapter = folder / "adapter"
    adapter.mkdir()
    save_file(tensors, adapter / "adapter_model.safetensors")
    config = {"peft_type": "LORA", "r": 2, "lora_alpha": 4} | config
    (adapter / "adapter_config.json").write_text(json.dumps(config))
    if command == "merge-lora":
        arguments = ["merge-lora", folder / "out", adapter, adapter]
    else:
        base = write_model(folder / "base", {"l.weight": torch.ones(8, 6)}, config={})
        recipe = folder / "recipe.yml"
        recipe.write_text(f"{{merge_method: passthrough, models: [{{model: {base}+{adapter}}}]}}")
        arguments = ["run", recipe, folder / "out"]
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 2, result.output
    assert not (folder / "out").exists()
    (line,) = result.stderr.splitlines()
    assert str(adapter) in line
    return line


def matches(line, told):
    """Whether a line has the parts of a text, between which `.*` stands, in their order."""
    return re.search(".*".join(map(re.escape, told.split(".*"))), line)


@pytest.mark.parametrize("command", ["run", "merge-lora"])
@pytest.mark.parametrize(
    ("tensors", "told"),
    [
        (factors(b=(8, 4)), f"{A}: got A [2, 6] and B [8, 4]; {FITTING}"),
        (factors(b=(8, 1, 2)), f"{A}: got A [2, 6] and B [8, 1, 2]; {FITTING}"),
        (factors(b=(8, 2, 2)), f"{A}: got A [2, 6] and B [8, 2, 2]; {FITTING}"),
        (factors(a=(2,)), f"{A}: got A [2] and B [8, 2]; {FITTING}"),
        (factors(b=(8,)), f"{A}: got A [2, 6] and B [8]; {FITTING}"),
        (factors((), ()), f"{A}: got A [] and B []; {FITTING}"),
        (embedding((2, 6, 1)), f"lora_embedding_A: got A [2, 6, 1] and B [8, 2]; {FITTING}"),
        (factors((0, 6), (8, 0)), f"the rank is not that of the config @ .*{A}: got 0; wanted 2"),
        (factors((1, 6), (8, 1)), f"the rank is not that of the config @ .*{A}: got 1; wanted 2"),
        (factors(dtype=torch.int32), f"{A}: got A I32[2, 6] and B I32[8, 2]; {FLOATS}"),
        (factors(dtype=torch.float8_e4m3fn), f"{A}: got A F8_E4M3[2, 6] and B .*; {FLOATS}"),
        ({}, "the adapter has no tensors @ .*adapter_model.safetensors"),
    ],
)
def test_factors_that_are_no_product_are_refused(tmp_path, command, tensors, told):
    assert matches(fault(tmp_path, command, tensors), told)


@pytest.mark.parametrize("command", ["run", "merge-lora"])
@pytest.mark.parametrize(
    ("config", "told"),
    [
        ({"lora_alpha": float("nan")}, "lora_alpha: got nan; wanted a finite number of float32"),
        ({"lora_alpha": float("-inf")}, "lora_alpha: got -inf; wanted a finite number of float32"),
        ({"lora_alpha": 1e39}, "lora_alpha: got 1e+39; wanted a finite number of float32"),
        ({"lora_alpha": 10**400}, f"lora_alpha: got 1{'0' * 39}; wanted a finite number"),
        ({"alpha_pattern": {"l": float("nan")}}, ", l: got nan; wanted a finite number of float32"),
        ({"rank_pattern": ["l"]}, "not a mapping of modules @ .*, rank_pattern: got ['l']"),
        ({"alpha_pattern": 3}, "not a mapping of modules @ .*, alpha_pattern: got 3"),
    ],
)
def test_settings_that_are_no_numbers_are_refused(tmp_path, command, config, told):
    assert matches(fault(tmp_path, command, factors(), **config), told)


def test_the_largest_alpha_is_none_too_large(tmp_path):
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    save_file(factors(), adapter / "adapter_model.safetensors")
    config = {"peft_type": "LORA", "r": 2, "lora_alpha": int(float.fromhex("0x1.fffffep+127"))}
    (adapter / "adapter_config.json").write_text(json.dumps(config))
    result = CliRunner().invoke(app, ["merge-lora", str(tmp_path / "out"), str(adapter)])
    assert result.exit_code == 0, result.output


def test_many_faults_are_counted(tmp_path):
    tensors = {
        name.replace(".l.", f".l{layer}."): factor
        for layer in range(30)
        for name, factor in factors((1, 6), (8, 1)).items()
    }
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    save_file(tensors, adapter / "adapter_model.safetensors")
    (adapter / "adapter_config.json").write_text('{"peft_type": "LORA", "r": 2}')
    result = CliRunner().invoke(app, ["merge-lora", str(tmp_path / "out"), str(adapter)])
    assert result.exit_code == 2
    assert len(result.stderr.splitlines()) == 21
    assert "10 more problems" in result.stderr
