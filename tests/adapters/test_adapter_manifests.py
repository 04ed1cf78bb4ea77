"""Adapters that are made have a manifest and a model card, as merged models have."""

import json
import shlex
import subprocess
import sys

import numpy as np
import pytest
import yaml
from safetensors import safe_open
from safetensors.numpy import save_file
from typer.testing import CliRunner

from graphmerge.calibration import calibrated
from graphmerge.checkpoint import fingerprint
from graphmerge.cli.app import app
from graphmerge.output import read_manifest
from graphmerge.places import load_named, load_named_adapter
from graphmerge.schedule.executors import Executor
from graphmerge.testing.adapters import write_adapter
from graphmerge.testing.checkpoints import write_base, write_fine_tune
from graphmerge.testing.llama_shapes import TINY
from graphmerge.testing.stored_models import flip_byte, weights_digest

WEIGHTS = "adapter_model.safetensors"
MERGE = "merge-lora out first second --method svd --weight=0.1 --weight=0.30000000000000004"
EXTRACT = "extract-lora tuned base out --rank 2 --modules 'layers.0.*(q|up)_proj'"
COMMANDS = pytest.mark.parametrize("command", [MERGE, EXTRACT])


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A working directory with a fine-tune of a base model and two adapters of it."""
    monkeypatch.chdir(tmp_path)
    write_base(tmp_path / "base", TINY, seed=0)
    write_fine_tune(tmp_path / "tuned", tmp_path / "base", seed=1, scale=0.01)
    for seed, name in enumerate(("first", "second"), start=1):
        write_adapter(tmp_path / name, tmp_path / "base", rank=2, seed=seed)
    return tmp_path


def run(command):
    return CliRunner().invoke(app, shlex.split(command))


def made(here, command, *more):
    result = run(" ".join((command, *more)))
    assert result.exit_code == 0, result.output
    return read_manifest(here / "out")


@COMMANDS
def test_an_adapter_verifies_until_a_byte_of_it_changes(here, command):
    manifest = made(here, command)
    with safe_open(here / "out" / WEIGHTS, "np") as stored:
        assert manifest.tensors.keys() == set(stored.keys())
    told = run("verify out")
    assert told.exit_code == 0, told.output
    assert f"out: {len(manifest.tensors)} tensors intact" in told.stdout
    flip_byte(here / "out" / WEIGHTS)
    told = run("verify out")
    assert told.exit_code == 2
    assert "changed tensor: base_model.model." in told.stderr
    (here / "out" / WEIGHTS).unlink()
    assert f"missing file: {WEIGHTS}" in run("verify out").stderr


@COMMANDS
def test_the_command_in_the_manifest_makes_the_same_adapter(here, command):
    manifest = made(here, command)
    assert manifest.recipe == ""
    digest = weights_digest(here / "out")
    program, again = manifest.command.split(maxsplit=1)
    assert program == "graphmerge"
    result = run(f"{again} --overwrite")
    assert result.exit_code == 0, result.output
    assert weights_digest(here / "out") == digest
    assert read_manifest(here / "out").tensors == manifest.tensors


def test_inputs_are_told_with_their_fingerprints(here):
    models = {name: load_named(name) for name in ("tuned", "base")}
    adapters = {name: load_named_adapter(name).checkpoint for name in ("first", "second")}
    for command, inputs in ((MERGE, adapters), (EXTRACT, models)):
        found = {one.reference: one for one in made(here, command, "--overwrite").inputs}
        assert found.keys() == inputs.keys()
        for name, checkpoint in inputs.items():
            assert found[name].fingerprint == fingerprint(checkpoint)
            assert (found[name].path, found[name].revision) == (name, None)


def test_what_was_done_is_told(here):
    manifest = made(here, EXTRACT)
    errors = manifest.parameters["relative_errors"]
    assert list(errors) == [f"model.layers.0.{m}_proj" for m in ("mlp.up", "self_attn.q")]
    assert all(0 < error < 1 for error in errors.values())
    assert "left out, although it has changed: model.norm.weight" in manifest.warnings
    assert 0 < manifest.predicted_peak_bytes <= manifest.budget_bytes
    merged = made(here, MERGE, "--overwrite")
    weights = [0.1, 0.30000000000000004]
    assert merged.parameters == {"method": "svd", "weights": weights, "rank": None}
    assert merged.predicted_peak_bytes is None
    size = sum(t.shape[0] * t.shape[1] * 4 for t in merged.tensors.values())
    assert merged.written_bytes == size


def front_matter(here):
    return yaml.safe_load((here / "out" / "README.md").read_text().split("---\n")[1])


def set_config(here, adapters, **settings):
    for name in adapters:
        file = here / name / "adapter_config.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | settings))


def test_the_card_of_an_adapter_names_base_library_and_tags(here):
    set_config(
        here,
        ["first", "second"],
        base_model_name_or_path="acme/base",
        task_type="CAUSAL_LM",
        revision="v2",
    )
    (here / "first" / "README.md").write_text("---\nlicense: mit\n---\n")
    made(here, MERGE)
    assert front_matter(here) == {
        "base_model": "acme/base",
        "base_model_relation": "adapter",
        "library_name": "peft",
        "tags": ["base_model:adapter:acme/base", "lora", "graphmerge"],
    }
    text = (here / "out" / "README.md").read_text()
    assert "A LoRA adapter of [acme/base](https://huggingface.co/acme/base) at `v2`, made" in text
    assert 'AutoModelForCausalLM.from_pretrained("acme/base", revision="v2", dtype' in text
    assert 'PeftModel.from_pretrained(model, "out")' in text
    assert "- `first`: weight 0.1\n- `second`: weight 0.3\n" in text
    assert "| `first` | mit |\n| `second` | not stated |" in text
    assert f"```console\n$ graphmerge {MERGE}\n```\n" in text
    (here / "second" / "README.md").write_text("---\nlicense: mit\n---\n")
    made(here, MERGE, "--overwrite")
    assert front_matter(here)["license"] == "mit"


def test_a_local_base_is_named_without_its_folder(here):
    """The Hub refuses a card whose base_model is a path."""
    for command in (MERGE, EXTRACT):
        made(here, command, "--overwrite")
        assert front_matter(here) == {"library_name": "peft", "tags": ["lora", "graphmerge"]}
        text = (here / "out" / "README.md").read_text()
        assert "A LoRA adapter of `base`, made with graphmerge by" in text
        assert str(here) not in text
    assert 'LlamaForCausalLM.from_pretrained("base", dtype="auto")' in text
    assert "- `tuned`: the fine-tune\n- `base`: its base\n" in text


@COMMANDS
def test_the_card_can_be_left_out(here, command):
    made(here, command, "--no-write-model-card")
    assert {path.name for path in (here / "out").iterdir()} == {
        "adapter_config.json",
        "graphmerge.json",
        WEIGHTS,
    }


def test_adapters_that_do_not_fit_are_refused_by_their_names(here):
    set_config(here, ["second"], base_model_name_or_path="acme/other", fan_in_fan_out=True)
    told = run(MERGE)
    assert told.exit_code == 2
    (base, transposed) = told.stderr.splitlines()
    assert "the adapters are not of one base model @ second: got 'acme/other'; wanted" in base
    assert "fan_in_fan_out @ second: got True; wanted False, as the first one has" in transposed


def test_models_that_do_not_fit_are_refused_by_their_names(here):
    for model, name in (("tuned", "lone"), ("base", "other.lone")):
        numbers = {f"{name}.{number}": np.zeros(2, np.float32) for number in range(15)}
        save_file(numbers, here / model / "more.safetensors")
        (here / model / "model.safetensors").rename(here / model / "part.safetensors")
    told = run(EXTRACT)
    assert told.exit_code == 2
    first, *_, twentieth, last = told.stderr.splitlines()
    why = "(give the base that the fine-tune was made from)"
    assert first == f"error: tensor lone.0 is in one model only @ tuned {why}"
    assert "tensor other.lone.12 is in one model only @ base" in twentieth
    assert last == "error: 10 more problems"
    for model in ("tuned", "base"):
        (here / model / "more.safetensors").unlink()
    told = run(EXTRACT.replace("tuned", "base").replace("layers.0", "nowhere"))
    assert "no matrix takes part @ base: got nowhere.*(q|up)_proj" in told.stderr


def test_extraction_takes_no_more_memory_than_its_manifest_predicts(here, monkeypatch):
    """In a process of its own, of whose memory much is that of the matrices."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(here / "cache"))
    calibrated(Executor.COPY)  # what is assumed elsewhere is larger
    random = np.random.default_rng(0)
    for name in ("wide", "other"):
        (here / name).mkdir()
        matrix = random.standard_normal((512, 4096), np.float32)
        save_file({"l.weight": matrix}, here / name / "model.safetensors")
    command = "extract-lora wide other out --rank 64 --memory-budget 1GiB"
    arguments = [sys.executable, "-m", "graphmerge.cli", *shlex.split(command)]
    subprocess.run(arguments, cwd=here, check=True, stdout=subprocess.DEVNULL)
    manifest = read_manifest(here / "out")
    assert manifest.budget_bytes == 2**30
    assert manifest.measured_peak_bytes <= manifest.predicted_peak_bytes < 2**28
    assert manifest.measured_peak_bytes > 0.6 * manifest.predicted_peak_bytes
