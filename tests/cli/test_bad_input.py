"""Whatever is wrong with the input is one message on stderr, an exit code, and no traceback."""

import json
import os
import re

import pytest

from graphmerge.checkpoint.reading import read_checkpoint

WEIGHTS = "first/model.safetensors"


def truncated_file(folder):
    path = folder.path / WEIGHTS
    os.truncate(path, path.stat().st_size - 1)


def corrupt_header(folder):
    with (folder.path / WEIGHTS).open("r+b") as stream:
        stream.seek(8)
        stream.write(b"no json")


def missing_tensor(folder):
    _edit_header(folder, lambda header: header.pop("model.norm.weight"))


def other_shape(folder):
    def turn(header):
        entry = header["model.layers.1.mlp.up_proj.weight"]
        entry["shape"] = entry["shape"][::-1]

    _edit_header(folder, turn)


def unknown_method(folder):
    folder.write("ties.yml", (folder.path / "ties.yml").read_text().replace("ties", "tise", 1))


def unknown_key(folder):
    folder.write("ties.yml", (folder.path / "ties.yml").read_text() + "dtyp: bfloat16\n")


def unknown_parameter(folder):
    folder.write("ties.yml", (folder.path / "ties.yml").read_text().replace("weight", "weigth", 1))


def enormous_parameter(folder):
    text = (folder.path / "ties.yml").read_text()
    folder.write("ties.yml", re.sub(r"weight: [\d.]+", f"weight: {10**400}", text, count=1))


def missing_model(folder):
    (folder.path / "first").rename(folder.path / "elsewhere")


def missing_recipe(folder):
    (folder.path / "ties.yml").unlink()


def no_yaml(folder):
    folder.write("ties.yml", "merge_method: [ties")


def _edit_header(folder, edit):
    """Change the header of the first fine-tune; its data stays as long as it was."""
    path = folder.path / WEIGHTS
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    tensors = {name: entry for name, entry in header.items() if name != "__metadata__"}
    edit(tensors)
    ranges = [entry["data_offsets"] for entry in tensors.values()]
    kept = b"".join(data[8 + length + start : 8 + length + end] for start, end in ranges)
    position = 0
    for entry in tensors.values():
        start, end = entry["data_offsets"]
        entry["data_offsets"] = [position, position + end - start]
        position += end - start
    text = json.dumps(tensors).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + kept)


CASES = {
    truncated_file: (2, "model.safetensors"),
    corrupt_header: (2, "model.safetensors"),
    missing_tensor: (2, "first has no tensor model.norm.weight"),
    other_shape: (2, "shapes differ @ tensor model.layers.1.mlp.up_proj.weight"),
    unknown_method: (2, "unknown merge method 'tise' @ $.merge_method"),
    unknown_key: (2, "did you mean 'dtype'?"),
    unknown_parameter: (2, "did you mean 'weight'?"),
    enormous_parameter: (2, "wanted a finite number"),
    missing_model: (2, "no such local folder @ first"),
    missing_recipe: (2, "ties.yml"),
    no_yaml: (2, "ties.yml"),
}


@pytest.mark.parametrize("damage", CASES, ids=lambda damage: damage.__name__)
@pytest.mark.parametrize("command", ["plan", "run", "validate"])
def test_a_message_and_an_exit_code(folder, damage, command):
    damage(folder)
    code, message = CASES[damage]
    result = folder.invoke(command, "ties.yml", *(["out"] if command == "run" else []))
    assert result.exit_code == code, result.output
    assert message in result.stderr
    assert result.stderr.startswith("error: ")
    assert result.stdout == ""
    assert not (folder.path / "out").exists()


def test_a_process_prints_no_traceback(folder):
    unknown_method(folder)
    result = folder.process("run", "ties.yml", "out")
    assert result.returncode == 2
    assert result.stderr.count("\n") == 1
    assert "Traceback" not in result.stderr


def test_every_problem_of_a_recipe_has_a_line(folder):
    unknown_key(folder)
    folder.write("ties.yml", (folder.path / "ties.yml").read_text() + "out_dtype: bf17\n")
    lines = folder.invoke("validate", "ties.yml").stderr.splitlines()
    assert len(lines) == 2
    assert all(line.startswith("error: ") for line in lines)


def test_missing_models_are_told_with_the_other_mistakes(folder):
    for name in ("first", "second"):
        (folder.path / name).rename(folder.path / f"moved-{name}")
    recipe = (folder.path / "ties.yml").read_text()
    folder.write("ties.yml", recipe.replace("weight", "weigth", 1).replace("0.5", "half"))
    told = folder.invoke("validate", "ties.yml")
    assert told.exit_code == 2
    starts = [line.split(" @ ")[0] for line in told.stderr.splitlines()]
    assert starts == [
        "error: no such local folder",
        "error: no such local folder",
        "error: ties has no parameter 'weigth'",
        *["error: wrong value of parameter 'density'", "error: wrong value of parameter 'weight'"],
        "error: wrong value of parameter 'density'",
    ]
    folder.write("ties.yml", recipe.replace("ties", "tise"))
    starts = [line[:26] for line in folder.invoke("plan", "ties.yml").stderr.splitlines()]
    assert starts == ["error: no such local folde"] * 2 + ["error: unknown merge metho"]


@pytest.mark.parametrize(
    ("count", "last"),
    [(49, "error: unknown key"), (50, "error: 1 more problem"), (52, "error: 3 more problems")],
)
def test_many_problems_are_counted(folder, count, last):
    unknown_key(folder)
    keys = "".join(f"zz{number}: 1\n" for number in range(count))
    folder.write("ties.yml", (folder.path / "ties.yml").read_text() + keys)
    lines = folder.invoke("validate", "ties.yml").stderr.splitlines()
    assert len(lines) == min(count + 1, 51)
    assert lines[-1].startswith(last)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_an_unreadable_file_is_the_machines_fault(folder):
    (folder.path / WEIGHTS).chmod(0)
    result = folder.invoke("plan", "ties.yml")
    assert result.exit_code == 1
    assert WEIGHTS in result.stderr


def test_an_output_folder_in_use_is_refused(folder):
    (folder.path / "out").mkdir()
    (folder.path / "out" / "notes.txt").write_text("mine")
    result = folder.invoke("run", "ties.yml", "out")
    assert result.exit_code == 2
    assert "the output folder is not empty" in result.stderr
    assert (folder.path / "out" / "notes.txt").read_text() == "mine"
    forced = folder.invoke("run", "ties.yml", "out", "--overwrite")
    assert forced.exit_code == 2
    assert (folder.path / "out" / "notes.txt").exists()


@pytest.mark.parametrize(
    "command",
    [
        ("verify", "NAME"),
        ("push", "NAME", "someone/model"),
        ("extract-lora", "first", "base", "NAME"),
        ("plan", "ties.yml", "--plugin", "NAME.py"),
    ],
    ids=lambda command: command[0],
)
def test_a_name_that_is_too_long_is_the_machines_fault(folder, command):
    long = [part.replace("NAME", "x" * 300) for part in command]
    result = folder.invoke(*long)
    assert result.exit_code == 1
    assert re.fullmatch(r"error: .*(F|f)ile name too long.*\n", result.stderr), result.stderr


def test_an_output_inside_an_input_is_refused(folder):
    result = folder.invoke("run", "ties.yml", "base/out")
    assert result.exit_code == 2
    assert len(read_checkpoint(folder.path / "base").tensors) == 39


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--memory-budget", "lots", "not a size @ --memory-budget: got 'lots'"),
        ("--memory-budget", "0", "not a size @ --memory-budget: got '0'"),
        ("--memory-budget", "-1GiB", "not a size @ --memory-budget"),
        ("--gpu-memory-budget", "2Gib!", "not a size @ --gpu-memory-budget"),
        ("--gpu-memory-budget", "2GiB", "no GPU is used @ --gpu-memory-budget: got 2GiB (add"),
        ("--out-shard-size", "none", "not a size @ --out-shard-size: got 'none'"),
        ("--device", "tpu", "unknown device @ --device: got tpu; wanted cpu, cuda or cuda:N"),
        ("--tile-elements", "1000", "wrong tile size: got 1000; wanted a multiple of 65536"),
    ],
)
def test_nonsense_in_an_option_is_named(folder, option, value, message):
    for command in (("plan", "ties.yml"), ("run", "ties.yml", "out")):
        result = folder.invoke(*command, option, value)
        assert result.exit_code == 2
        assert message in result.stderr


@pytest.mark.parametrize("workers", ["0", "257", "1000000"])
def test_a_number_of_workers_has_limits(folder, workers):
    result = folder.invoke("plan", "ties.yml", "--workers", workers)
    assert result.exit_code == 2
    said = re.sub(r"[\s│]+", " ", result.stderr)
    assert f"{workers} is not in the range 1<=x<=256" in said


def test_no_gpu_is_the_machines_fault(folder):
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    result = folder.invoke("run", "ties.yml", "out", "--device", "cuda")
    assert result.exit_code == 1
    assert "no CUDA device here @ --device" in result.stderr


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_pipe_in_a_model_is_not_waited_for(folder, name):
    pipe = folder.path / "first" / name
    pipe.unlink(missing_ok=True)
    os.mkfifo(pipe)
    result = folder.process("inspect", "first", timeout=60)
    assert result.returncode == 2
    wanted = f"error: a pipe, device or socket in place of a file @ first/{name}"
    assert result.stderr.strip() == wanted
