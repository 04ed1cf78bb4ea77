"""Adapters merged into an adapter: the sum of their products, exactly or at its best."""

import shutil

import numpy as np
import pytest
import torch
from adapter_models import merged_by_peft, write_adapter, write_llama
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from graphmerge.adapters.merging import How, merged_factors
from graphmerge.cli.app import app
from graphmerge.testing.merging import merge
from graphmerge.testing.stored_models import read_model, weights_digest

WEIGHTS = (0.7, -0.4)


def run(*arguments):
    return CliRunner().invoke(app, ["merge-lora", *map(str, arguments)])


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    base = write_llama(root / "base")
    write_adapter(root / "first", base, target_modules=["q_proj", "v_proj"], r=3)
    targets = ["q_proj", "down_proj"]
    write_adapter(root / "second", base, target_modules=targets, use_rslora=True, seed=2)
    return root


def by_task_arithmetic(models, tmp_path):
    """The same by adding up full task vectors."""
    listed = [
        {"model": f"{models}/base+{models}/{name}", "parameters": {"weight": weight}}
        for name, weight in zip(("first", "second"), WEIGHTS, strict=True)
    ]
    recipe = {"merge_method": "task_arithmetic", "base_model": f"{models}/base", "models": listed}
    return merge(recipe, tmp_path / "wanted").tensors()


@pytest.mark.parametrize("options", [["--method", "cat"], ["--method", "svd", "--rank", "7"]])
def test_merged_adapters_are_the_sum_of_their_changes(models, tmp_path, options):
    weights = [f"--weight={weight}" for weight in WEIGHTS]
    out = tmp_path / "out"
    result = run(out, models / "first", models / "second", *weights, *options)
    assert result.exit_code == 0, result.output
    assert "ranks 3 to 7" in result.output
    got = merged_by_peft(models / "base", out)
    for name, tensor in by_task_arithmetic(models, tmp_path).items():
        torch.testing.assert_close(got[name], tensor, atol=2e-6, rtol=1e-5, msg=name)
    assert not torch.equal(
        got["model.layers.0.mlp.down_proj.weight"],
        read_model(models / "base")["model.layers.0.mlp.down_proj.weight"],
    )


@pytest.mark.parametrize("options", [["--method", "cat"], ["--method", "svd"]])
def test_embeddings_are_merged_and_what_is_stored_of_the_base_is_kept(tmp_path, options):
    base = write_llama(tmp_path / "base")
    write_adapter(tmp_path / "first", base, target_modules=["embed_tokens", "q_proj"], r=3)
    write_adapter(tmp_path / "second", base, target_modules=["embed_tokens"], r=2, seed=2)
    weights = [f"--weight={weight}" for weight in WEIGHTS]
    rank = ["--rank", "5"] if "svd" in options else []
    both = (tmp_path / "first", tmp_path / "second")
    result = run(tmp_path / "out", *both, *weights, *options, *rank)
    assert result.exit_code == 0, result.output
    got = merged_by_peft(base, tmp_path / "out")
    for name, tensor in by_task_arithmetic(tmp_path, tmp_path).items():
        torch.testing.assert_close(got[name], tensor, atol=2e-6, rtol=1e-5, msg=name)
    stored = load_file(tmp_path / "out" / "adapter_model.safetensors")
    embedding = "model.embed_tokens.weight"
    kept = stored["base_model.model.model.embed_tokens.base_layer.weight"]
    assert torch.equal(kept, read_model(base)[embedding])
    assert not torch.equal(got[embedding], read_model(base)[embedding])


def test_adapters_whose_stored_bases_differ_are_refused(tmp_path):
    for seed, name in enumerate(("first", "second")):
        base = write_llama(tmp_path / f"base{seed}", seed=seed)
        write_adapter(tmp_path / name, base, target_modules=["embed_tokens"], r=3)
        config = tmp_path / name / "adapter_config.json"
        config.write_text(config.read_text().replace(f"base{seed}", "base"))
    result = run(tmp_path / "out", tmp_path / "first", tmp_path / "second")
    assert result.exit_code == 2
    assert "the adapters are of different bases @ tensor" in result.output
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("command", ["merge-lora", "merge"])
def test_adapters_of_torch_files_are_those_of_safetensors(models, tmp_path, command):
    """adapter_model.bin, as PEFT wrote it before it had safetensors."""
    for name in ("first", "second"):
        shutil.copytree(models / name, tmp_path / name)
        file = tmp_path / name / "adapter_model.safetensors"
        torch.save(load_file(file), file.with_name("adapter_model.bin"))
        file.unlink()
    digests = []
    for root in (models, tmp_path):
        out = tmp_path / f"{root.name}-out"
        if command == "merge-lora":
            result = run(out, root / "first", root / "second")
            assert result.exit_code == 0, result.output
        else:
            listed = [{"model": f"{models}/base+{root}/{name}"} for name in ("first", "second")]
            merge(
                {"merge_method": "model_stock", "base_model": f"{models}/base", "models": listed},
                out,
            )
        digests.append(weights_digest(out))
    assert digests[0] == digests[1]


def factors(seed, rank=4, rows=12, columns=9):
    random = np.random.default_rng(seed)
    return random.standard_normal((rank, columns)), random.standard_normal((rows, rank))


def test_svd_is_the_best_of_its_rank():
    pairs = [factors(0), factors(1)]
    whole = sum(w * b @ a for w, (a, b) in zip(WEIGHTS, pairs, strict=True))
    a, b = merged_factors(pairs, WEIGHTS, How.SVD, 3)
    values = np.linalg.svd(whole, compute_uv=False)
    best = np.sqrt((values[3:] ** 2).sum())
    assert np.linalg.norm(whole - b @ a) == pytest.approx(best, rel=1e-9)


def test_linear_is_the_formula():
    pairs = [factors(0), factors(1)]
    a, b = merged_factors(pairs, WEIGHTS, How.LINEAR, 4)
    np.testing.assert_allclose(a, 0.7**0.5 * pairs[0][0] - 0.4**0.5 * pairs[1][0])
    np.testing.assert_allclose(b, 0.7**0.5 * pairs[0][1] + 0.4**0.5 * pairs[1][1])


def test_what_cannot_be_merged_is_refused(models, tmp_path):
    base = models / "base"
    write_adapter(tmp_path / "bias", base, target_modules=["q_proj"], lora_bias=True)
    both = (models / "first", models / "second")
    told = run(tmp_path / "out", *both, "--method", "linear")
    assert told.exit_code == 2
    assert "linear needs equal ranks @ module model.layers.0.self_attn.q_proj" in told.output
    assert "whole tensors or biases" in run(tmp_path / "out", *both, tmp_path / "bias").output
    assert "not one weight" in run(tmp_path / "out", *both, "--weight", "1").output
    assert "only svd takes a rank" in run(tmp_path / "out", *both, "--rank", "3").output
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("weight", ["nan", "inf", "-inf", "1e+39"])
def test_a_weight_must_be_finite(models, tmp_path, weight):
    result = run(tmp_path / "out", models / "first", f"--weight={weight}")
    assert result.exit_code == 2
    assert (
        f"not a weight @ --weight: got {weight}; wanted a finite number of float32" in result.stderr
    )
    assert not (tmp_path / "out").exists()


def test_factors_beyond_float32_are_refused(models, tmp_path):
    shutil.copytree(models / "first", tmp_path / "first")
    file = tmp_path / "first" / "adapter_model.safetensors"
    save_file({name: 1e3 + factor for name, factor in load_file(file).items()}, file)
    result = run(tmp_path / "out", tmp_path / "first", "--weight=3e38")
    assert result.exit_code == 2
    assert "a number that float32 has no room for @ tensor base_model.model." in result.stderr
    assert "(use smaller weights)" in result.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("method", How)
def test_nan_in_an_adapter_is_an_error(models, tmp_path, method):
    shutil.copytree(models / "first", tmp_path / "first")
    file = tmp_path / "first" / "adapter_model.safetensors"
    factors = load_file(file)
    name = min(factors)
    factors[name][0, 0] = float("nan")
    save_file(factors, file)
    result = run(tmp_path / "out", tmp_path / "first", f"--method={method.value}")
    assert result.exit_code == 2
    assert f"the tensor has NaN or infinity @ {file}, tensor {name}" in result.stderr
    assert not (tmp_path / "out").exists()
