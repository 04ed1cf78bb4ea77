"""Adapters that are extracted from fine-tunes: nearest in norm, loaded by PEFT, merged back."""

import json
import warnings

import numpy as np
import pytest
import torch
from adapter_models import merged_by_peft, write_adapter, write_gpt2, write_llama
from peft import PeftModel
from safetensors.torch import load_file, save_file
from transformers import GPT2Config, GPT2ForSequenceClassification
from typer.testing import CliRunner

from graphmerge.adapters.nearest_factors import factorised
from graphmerge.cli.app import app
from graphmerge.testing.merging import merge
from graphmerge.testing.stored_models import read_model, write_model


def run(*arguments):
    return CliRunner().invoke(app, ["extract-lora", *map(str, arguments)])


def passthrough(model):
    return {"merge_method": "passthrough", "models": [{"model": model}]}


@pytest.mark.parametrize("write", [write_llama, write_gpt2])
def test_a_fine_tune_of_low_rank_comes_back(tmp_path, write):
    base = write(tmp_path / "base")
    targets = ["down_proj", "q_proj"] if write is write_llama else ["c_attn", "c_proj"]
    write_adapter(tmp_path / "made", base, target_modules=targets, r=3, fan_in_fan_out=True)
    merge(passthrough("base+made"), tmp_path / "tuned")
    result = run(tmp_path / "tuned", base, tmp_path / "found", "--rank", 3)
    assert result.exit_code == 0, result.output
    wanted = read_model(tmp_path / "tuned")
    got = merge(passthrough("base+found"), tmp_path / "back").tensors()
    by_peft = merged_by_peft(base, tmp_path / "found")
    for name, tensor in wanted.items():
        torch.testing.assert_close(got[name], tensor, atol=1e-6, rtol=1e-5, msg=name)
        torch.testing.assert_close(by_peft[name], tensor, atol=1e-6, rtol=1e-5, msg=name)


def test_heads_of_models_that_store_layers_transposed(tmp_path):
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=96, n_positions=16, n_embd=32, n_layer=1, n_head=4, num_labels=3, pad_token_id=0
    )
    model = GPT2ForSequenceClassification(config)
    model.save_pretrained(tmp_path / "base")
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for module in (model.score, model.transformer.h[0].attn.c_proj):
            module.weight.add_(torch.randn(module.weight.shape, generator=generator))
    model.save_pretrained(tmp_path / "tuned")
    options = ("--rank", 32, "--modules", r"score|c_proj")
    result = run(tmp_path / "tuned", tmp_path / "base", tmp_path / "found", *options)
    assert result.exit_code == 0, result.output
    wanted = read_model(tmp_path / "tuned")
    got = merge(passthrough("base+found"), tmp_path / "back").tensors()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        loaded = GPT2ForSequenceClassification.from_pretrained(tmp_path / "base")
        by_peft = PeftModel.from_pretrained(loaded, tmp_path / "found").merge_and_unload()
    for name, tensor in wanted.items():
        for found in (got, by_peft.state_dict()):
            torch.testing.assert_close(found[name], tensor, atol=2e-5, rtol=1e-5, msg=name)


def noise(rows, columns, rank):
    return np.random.default_rng(1).standard_normal((rows, columns))


def skewed(rows, columns, rank):
    change = noise(rows, columns, rank)
    left, values, right = np.linalg.svd(change, full_matrices=False)
    return (left * values * np.arange(1, len(values) + 1) ** -0.5) @ right


def of_less_rank(rows, columns, rank):
    return noise(rows, rank - 1, rank) @ noise(rank - 1, columns, rank)


@pytest.mark.parametrize(
    ("shape", "rank", "most"),
    [
        ((20, 33), 4, 1 + 1e-9),
        ((33, 20), 4, 1 + 1e-9),
        ((260, 400), 4, 1.001),
        ((500, 260), 8, 1.001),
    ],
)
@pytest.mark.parametrize("made", [noise, skewed, of_less_rank])
def test_factors_are_the_best_of_their_rank(shape, rank, most, made):
    change = made(*shape, rank)
    a, b, error = factorised(change, rank)
    values = np.linalg.svd(change, compute_uv=False)
    best, whole = np.sqrt((values[rank:] ** 2).sum()), np.linalg.norm(change)
    rest = np.linalg.norm(change - b @ a)
    rounding = 1e-12 * whole
    assert rest <= most * best + rounding
    assert error == pytest.approx(rest / whole, rel=1e-9, abs=1e-12)
    assert np.linalg.norm(a, axis=1) == pytest.approx(np.linalg.norm(b, axis=0), abs=1e-5)
    again = factorised(change, rank)
    assert (a == again[0]).all()
    assert not factorised(np.zeros(shape), rank)[1].any()


def test_what_is_left_out_is_told(tmp_path):
    base = write_llama(tmp_path / "base")
    write_llama(tmp_path / "tuned")
    path = tmp_path / "tuned" / "model.safetensors"
    tensors = load_file(path)
    tensors["model.norm.weight"] += 1
    tensors["model.layers.0.mlp.up_proj.weight"] += 1
    save_file(tensors, path, metadata={"format": "pt"})
    result = run(tmp_path / "tuned", base, tmp_path / "out", "--modules", "q_proj", "--rank", 99)
    assert "left out, although it has changed: model.norm.weight" in result.output
    assert "left out, although it has changed: model.layers.0.mlp.up_proj.weight" in result.output
    assert "q_proj: rank 32, relative error 0" in result.output
    assert json.loads((tmp_path / "out" / "adapter_config.json").read_text())["r"] == 99
    assert run(tmp_path / "tuned", base, tmp_path / "out").exit_code == 2
    small = run(tmp_path / "tuned", base, tmp_path / "small", "--memory-budget", "10MiB")
    assert small.exit_code == 3
    assert not (tmp_path / "small").exists()


def test_quantised_models_are_refused_with_the_way_out(tmp_path):
    codes = torch.zeros(4, 4).to(torch.float8_e4m3fn)
    tensors = {"l.weight": codes, "l.weight_scale": torch.ones(1)}
    write_model(tmp_path / "m", tensors, config={"quantization_config": {"quant_method": "fp8"}})
    told = run(tmp_path / "m", tmp_path / "m", tmp_path / "out")
    assert told.exit_code == 2
    assert "merge_method: passthrough" in told.output


@pytest.mark.parametrize(
    ("tuned", "shown"), [(1e200, "1e+200"), (-1e39, "1e+39"), (1.7e308, "inf")]
)
def test_a_change_that_float32_has_no_room_for_is_an_error(tmp_path, tuned, shown):
    base = -tuned if shown == "inf" else 0.0
    for folder, number in (("tuned", tuned), ("base", base)):
        tensor = torch.zeros(4, 6, dtype=torch.float64)
        tensor[1, 2] = number
        write_model(tmp_path / folder, {"l.weight": tensor}, config={})
    result = run(tmp_path / "tuned", tmp_path / "base", tmp_path / "out", "--rank", 2)
    assert result.exit_code == 2
    (line,) = result.stderr.splitlines()
    file = tmp_path / "tuned" / "model.safetensors"
    assert f"float32 has no room for @ {file}, tensor l.weight: got {shown}" in line
    assert not (tmp_path / "out").exists()


def test_infinity_in_a_fine_tune_is_an_error(tmp_path):
    base = write_llama(tmp_path / "base")
    tensors = read_model(base)
    name = next(name for name in tensors if "down_proj" in name)
    tensors[name][0, 0] = float("inf")
    (tmp_path / "tuned").mkdir()
    (tmp_path / "tuned" / "config.json").write_text((base / "config.json").read_text())
    save_file(tensors, tmp_path / "tuned" / "model.safetensors")
    result = run(tmp_path / "tuned", base, tmp_path / "out", "--rank", 3)
    assert result.exit_code == 2
    assert "the tensor has NaN or infinity" in result.stderr
    assert f"tensor {name}" in result.stderr
