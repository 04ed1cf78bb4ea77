import json
import os
import re
import subprocess
from importlib.metadata import entry_points

import pytest

from graphmerge.methods.registry import METHODS


def test_validate_counts_what_it_has_checked(folder):
    result = folder.invoke("validate", "ties.yml")
    assert result.exit_code == 0
    assert result.stdout == "ties.yml: valid; ties of 3 models into 39 tensors\n"


def test_inspect_shows_layers_and_embeddings(folder):
    result = folder.invoke("inspect", "base")
    assert result.exit_code == 0
    assert "base: 39 tensors, 113 KiB in 1 file" in result.stdout
    assert "layers      model.layers. has 4" in result.stdout
    assert "embeddings  lm_head.weight, model.embed_tokens.weight" in result.stdout
    assert "num_hidden_layers=4" in result.stdout
    assert re.search(
        r"model\.layers\.\{0\.\.3\}\.mlp\.up_proj\.weight +4  BF16\[64, 32\]", result.stdout
    )


def test_inspect_as_json(folder):
    content = json.loads(folder.invoke("inspect", "base", "--json").stdout)
    assert content["dtypes"] == {"BF16": 39}
    assert content["layers"][0]["count"] == 4
    assert content["tensors"]["model.norm.weight"]["shape"] == [32]
    assert content["data_bytes"] == sum(
        tensor["data_bytes"] for tensor in content["tensors"].values()
    )


def test_inspect_of_no_checkpoint_is_an_error(folder):
    result = folder.invoke("inspect", "nowhere")
    assert result.exit_code == 2
    assert "no such model @ nowhere" in result.stderr


def test_verify_accepts_what_run_wrote_and_names_what_changed(folder):
    folder.invoke("run", "ties.yml", "out")
    intact = folder.invoke("verify", "out")
    assert intact.exit_code == 0
    assert intact.stdout == "out: 39 tensors intact, 113 KiB read\n"

    with (folder.path / "out" / "model.safetensors").open("r+b") as stream:
        stream.seek(-1, 2)
        last = stream.read(1)
        stream.seek(-1, 2)
        stream.write(bytes([last[0] ^ 1]))
    (folder.path / "out" / "stale.safetensors").touch()
    damaged = folder.invoke("verify", "out")
    assert damaged.exit_code == 2
    assert re.search(r"^changed tensor: \S+$", damaged.stderr, re.MULTILINE)
    assert "extra file: stale.safetensors" in damaged.stderr
    assert damaged.stderr.endswith("out: damaged\n")
    assert damaged.stdout == ""


def test_verify_needs_a_manifest(folder):
    result = folder.invoke("verify", "base")
    assert result.exit_code == 2
    assert "no graphmerge.json @ base" in result.stderr


def test_methods_lists_every_method(folder):
    result = folder.invoke("methods")
    assert result.exit_code == 0
    for name in METHODS:
        assert re.search(f"^{name} ", result.stdout, re.MULTILINE)


@pytest.mark.parametrize("columns", [80, 120, 160])
def test_the_list_of_methods_is_wrapped_to_the_terminal_and_loses_no_word(
    folder, monkeypatch, columns
):
    monkeypatch.setenv("COLUMNS", str(columns))
    lines = folder.invoke("methods").stdout.splitlines()
    assert max(len(line.rstrip()) for line in lines) in range(columns - 20, columns + 1)
    words = " ".join(lines).split()
    for method in METHODS.values():
        assert method.name in words
        assert set((method.use_when or method.summary).split()) <= set(words)


@pytest.mark.parametrize("name", METHODS)
def test_a_method_is_described_whole(folder, name):
    result = folder.invoke("methods", name)
    method = METHODS[name]
    assert result.exit_code == 0
    for text in (method.summary, method.formula, method.use_when, method.paper):
        assert text in result.stdout
    for parameter in method.parameters:
        assert f"  {parameter.name}  (" in result.stdout
        assert parameter.doc in result.stdout


def test_an_unknown_method_has_a_suggestion(folder):
    result = folder.invoke("methods", "tise")
    assert result.exit_code == 2
    assert "did you mean 'ties'?" in result.stderr


def test_calibrate_measures_once(folder, uncalibrated):
    first = folder.process("calibrate", env=uncalibrated)
    assert first.returncode == 0, first.stderr
    line = r"reserved by (copy|native|torch): [\d.]+ MiB, and [\d.]+ MiB for each worker"
    assert all(re.fullmatch(line, found) for found in first.stdout.splitlines())
    assert len(first.stdout.splitlines()) == 3
    assert folder.process("calibrate", env=uncalibrated).stdout == first.stdout
    assert "measured on this machine" in folder.process("plan", "ties.yml", env=uncalibrated).stdout


def test_the_hidden_measurement_prints_a_number_only(folder):
    result = folder.process("calibrate", "--executor", "native", "--workers", 2)
    assert result.returncode == 0
    assert 50 * 2**20 < int(result.stdout) < 2 * 2**30
    assert result.stderr == ""


def test_a_reader_that_goes_away_is_no_error(folder):
    process = subprocess.Popen(
        folder.command("plan", "ties.yml", "--verbose"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder.path,
    )
    process.stdout.close()
    errors = process.stderr.read()
    process.stderr.close()
    process.wait(timeout=60)
    assert errors == ""


def test_planning_and_help_import_no_torch(folder):
    script = (
        "import sys\n"
        "from graphmerge.cli.app import app\n"
        "assert 'torch' not in sys.modules, 'importing the command line'\n"
        "try:\n"
        "    app(sys.argv[1:])\n"
        "except SystemExit as end:\n"
        "    assert end.code in (0, None), end.code\n"
        "assert 'torch' not in sys.modules, sys.argv\n"
    )
    light = [("plan", "ties.yml", "--dry-run"), ("plan", "ties.yml", "--json"),
             ("validate", "ties.yml"), ("inspect", "base"), ("show", "ties.yml")]  # fmt: skip
    if not entry_points(group="graphmerge.methods"):  # to list what plug-ins bring loads them
        light.append(("methods",))
    for arguments in light:
        command = [folder.command()[0], "-c", script, *arguments]
        result = subprocess.run(
            command, cwd=folder.path, capture_output=True, text=True, check=False
        )
        assert result.returncode == 0, result.stderr


def test_names_in_any_alphabet_are_printed_in_any_encoding(folder):
    (folder.path / "base").rename(folder.path / "模型")
    folder.write("copy.yml", {"merge_method": "passthrough", "models": [{"model": "模型"}]})
    environment = {**os.environ, "PYTHONIOENCODING": "latin-1"}
    for command in (("plan", "copy.yml"), ("inspect", "模型"), ("run", "copy.yml", "out")):
        result = folder.process(*command, env=environment)
        assert result.returncode == 0, result.stderr
        assert "Traceback" not in result.stderr
    assert r"\u6a21\u578b" in folder.process("inspect", "模型", env=environment).stdout
