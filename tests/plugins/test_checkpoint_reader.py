"""Files of other formats are models, once there is a reader of their directory."""

import json
import subprocess
import sys

import pytest
import torch
from plugin_recipes import recipe

import graphmerge as gm
from graphmerge.testing.merging import merge
from graphmerge.testing.stored_models import same_bytes, weights_digest, write_model

READER = '''
import json
import math

import graphmerge as gm
from graphmerge.checkpoint.values import Checkpoint, TensorEntry
from graphmerge.spec import DType, TensorSpec


@gm.checkpoint_reader(".toy")
def read_toy(path):
    """A line of JSON with dtype and shape of every tensor, then their bytes in that order."""
    with path.open("rb") as file:
        directory = json.loads(file.readline())
        position = file.tell()
    tensors = {}
    for name, (dtype, shape) in directory.items():
        spec = TensorSpec(tuple(shape), DType(dtype))
        tensors[name] = TensorEntry(name, spec, path, position)
        position += spec.nbytes
    return Checkpoint(path, tensors, config={}, files=(path,), side_files=())
'''
NAMES = {torch.float32: "F32", torch.bfloat16: "BF16", torch.float16: "F16"}


def write_toy(path, tensors):
    directory = {name: (NAMES[x.dtype], list(x.shape)) for name, x in tensors.items()}
    raw = b"".join(x.contiguous().view(torch.uint8).numpy().tobytes() for x in tensors.values())
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(json.dumps(directory).encode() + b"\n" + raw)


@pytest.fixture
def two_formats(tmp_path, monkeypatch):
    """The same models as one.toy, toys/weights.toy and as safetensors in plain-one, plain-two."""
    monkeypatch.chdir(tmp_path)
    for number, name in enumerate(("one", "two")):
        drawn = torch.randn(6, 70, generator=torch.Generator().manual_seed(number))
        tensors = {"a": drawn, "b": drawn[:3].bfloat16(), "c": drawn[3].half()}
        write_model(tmp_path / f"plain-{name}", tensors)
        write_toy(tmp_path / ("one.toy" if name == "one" else "toys/weights.toy"), tensors)
    (tmp_path / "toy_reader.py").write_text(READER)
    return tmp_path


TOYS = ("one.toy", {"weight": 0.3}), ("toys", {"weight": 0.6})
PLAIN = ("plain-one", {"weight": 0.3}), ("plain-two", {"weight": 0.6})


def test_a_file_and_a_folder_with_one_are_planned(folder, two_formats):
    folder.write("recipe.yml", recipe("linear", *TOYS))
    result = folder.invoke("plan", "recipe.yml", "--plugin", "toy_reader.py")
    assert result.exit_code == 0, result.stderr
    assert "output  3 tensors" in result.stdout


def test_without_the_reader_it_is_no_model(folder, two_formats):
    folder.write("recipe.yml", recipe("linear", *TOYS))
    result = folder.invoke("plan", "recipe.yml")
    assert result.exit_code == 2
    assert "not a safetensors or torch file" in result.stderr


def test_stored_tensors_are_read_where_the_reader_says(folder, two_formats):
    gm.checkpoint_reader(".toy")(reader_function(two_formats))
    toy, plain = gm.load("one.toy"), gm.load("plain-one")
    for name in ("a", "b", "c"):
        assert same_bytes(toy.tensor(name), plain.tensor(name))


def reader_function(root):
    namespace = {}
    exec(READER.replace('@gm.checkpoint_reader(".toy")\n', ""), namespace)
    return namespace["read_toy"]


def test_a_merge_gives_the_bytes_of_the_same_models_as_safetensors(two_formats):
    gm.checkpoint_reader(".toy")(reader_function(two_formats))
    merge(recipe("linear", *PLAIN), two_formats / "from-plain")
    merge(recipe("linear", *TOYS), two_formats / "from-toys")
    assert weights_digest(two_formats / "from-plain") == weights_digest(two_formats / "from-toys")


def test_a_folder_with_both_formats_is_read_as_safetensors(folder, two_formats):
    gm.checkpoint_reader(".toy")(reader_function(two_formats))
    (two_formats / "plain-one" / "weights.toy").write_bytes(b"no directory")
    assert gm.load("plain-one").tensor("a").shape == (6, 70)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"no json\n", "the reader fails: JSONDecodeError: Expecting value"),
        (b'{"a": ["F33", [2]]}\n', "the reader fails: ValueError: 'F33' is not a valid DType"),
    ],
)
def test_a_reader_that_fails_is_named_with_the_file(folder, two_formats, content, message):
    (two_formats / "one.toy").write_bytes(content)
    folder.write("recipe.yml", recipe("linear", *TOYS))
    result = folder.invoke("plan", "recipe.yml", "--plugin", "toy_reader.py")
    assert result.exit_code == 2
    assert message in result.stderr
    assert "one.toy, read by function read_toy in" in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_reader_must_return_a_checkpoint(tmp_path, two_formats):
    gm.checkpoint_reader(".toy")(lambda path: {"a": path})
    with pytest.raises(gm.CheckpointError, match=r"returns no checkpoint @ .*got dict"):
        gm.load("one.toy")


WRONG = {
    "file": (
        "spec, path, position)",
        "spec, str(path), position)",
        "'a'].file @ one.toy, read by function read_toy in {reader}: got 'one.toy'; wanted a path",
    ),
    "offset": (
        "spec, path, position)",
        "spec, path, position / 1)",
        "'a'].offset @ one.toy, read by function read_toy in {reader}: got 68.0; wanted an int, at",
    ),
    "negative": ("spec, path, position)", "spec, path, -1)", "got -1; wanted an int, at least 0"),
    "name": ("TensorEntry(name,", "TensorEntry(None,", "wrong tensors['a'].name @ "),
    "spec": ("spec, path, position)", "(dtype, shape), path, position)", "'a'].spec @ "),
    "shape": ("tuple(shape)", "[x / 1 for x in shape]", "'a'].spec.shape @ "),
    "entry": ("TensorEntry(name, spec,", "(name, spec,", "wrong tensors['a'] @ "),
    "key": ("tensors[name] =", "tensors[None] =", "wrong tensors[None] @ "),
    "path": ("Checkpoint(path,", "Checkpoint(str(path),", "wrong path @ "),
    "lone-file": ("files=(path,)", "files=path", "wrong files @ "),
    "files": ("files=(path,)", "files=(str(path),)", "wanted a tuple of pathlib.Path, one or more"),
    "no-files": ("files=(path,)", "files=()", "wrong files @ "),
    "side-files": ("side_files=()", "side_files=('a',)", "wrong side_files @ "),
    "config": ("config={}", "config={'a': {1}}", "wrong config['a'] @ "),
    "config-key": ("config={}", "config={1: 2}", "wrong config[1] @ "),
    "exit": ("tensors = {}", "raise SystemExit(0)", "the reader fails: SystemExit: 0 @ "),
}
"""What of the reader is replaced, by what, and what is said of it."""


@pytest.mark.parametrize("name", WRONG)
def test_a_checkpoint_with_a_wrong_field_is_refused_with_its_reader(folder, two_formats, name):
    right, wrong, message = WRONG[name]
    assert right in READER
    reader = folder.write("toy_reader.py", READER.replace(right, wrong))
    folder.write("recipe.yml", recipe("linear", TOYS[0], PLAIN[1]))
    result = folder.invoke("run", "recipe.yml", "out", "--plugin", "toy_reader.py")
    assert result.exit_code == 2, result.output
    assert message.format(reader=reader) in result.stderr
    assert "one.toy, read by function read_toy in" in result.stderr
    assert result.stderr.startswith("error: the reader ")
    assert result.stderr.count("\n") == 1


def test_ctrl_c_in_a_reader_interrupts(folder, two_formats):
    folder.write("toy_reader.py", READER.replace("tensors = {}", "raise KeyboardInterrupt"))
    folder.write("recipe.yml", recipe("linear", *TOYS))
    assert folder.invoke("plan", "recipe.yml", "--plugin", "toy_reader.py").exit_code == 130


@pytest.mark.parametrize("suffix", ["toy", ".tar.toy", ""])
def test_a_suffix_that_no_file_has_is_refused(suffix):
    with pytest.raises(gm.CheckpointError, match=r"wanted one such as '\.npt'"):
        gm.checkpoint_reader(suffix)


@pytest.mark.parametrize("suffix", [".safetensors", ".bin", ".toy"])
def test_a_suffix_has_one_reader(suffix):
    gm.checkpoint_reader(".toy")(lambda path: None)
    with pytest.raises(gm.CheckpointError, match="have a reader already"):
        gm.checkpoint_reader(suffix)(lambda path: None)


def test_inspect_reads_other_formats_with_the_plugin(two_formats):
    """In a process of its own: here the reader is registered already."""
    command = [sys.executable, "-m", "graphmerge.cli", "inspect", "one.toy"]
    with_plugin = [*command, "--plugin", "toy_reader.py"]
    told = subprocess.run(with_plugin, capture_output=True, text=True, check=True).stdout
    assert told.startswith("one.toy: 3 tensors")
    refused = subprocess.run(command, capture_output=True, text=True, check=False)
    assert refused.returncode == 2


def test_the_reader_of_an_installed_package_is_imported_when_a_model_needs_it(
    folder, two_formats, install
):
    install("toy-format", {"toy": "toy_format"}, group="graphmerge.readers", toy_format=READER)
    folder.write("plain.yml", recipe("linear", *PLAIN))
    folder.write("toys.yml", recipe("linear", *TOYS))
    assert folder.invoke("plan", "plain.yml").exit_code == 0
    assert "toy_format" not in sys.modules
    result = folder.invoke("plan", "toys.yml")
    assert result.exit_code == 0, result.stderr
    assert "toy_format" in sys.modules
    assert folder.invoke("inspect", "toys").exit_code == 0
    assert same_bytes(gm.load("toys").tensor("a"), gm.load("plain-two").tensor("a"))


def test_plugins_lists_readers(folder, install):
    install("toy-format", {"toy": "toy_format"}, group="graphmerge.readers", toy_format=READER)
    result = folder.invoke("plugins")
    assert result.exit_code == 0, result.stderr
    lines = [line.split() for line in result.stdout.splitlines()]
    assert ["reader", ".toy", "toy-format", "1.2", "toy_format", "ok"] in lines


UNUSABLE = {
    "import": (
        {"toy": "toy_format"},
        "import no_such_library",
        "No module named 'no_such_library'",
    ),
    "promise": ({"toy": "toy_format"}, "", "promises a reader of .toy files and does not register"),
    "safetensors": (
        {"safetensors": "toy_format"},
        "",
        "reads .safetensors files itself",
    ),
}


@pytest.mark.parametrize("name", UNUSABLE)
def test_a_package_whose_reader_cannot_be_used_is_named(folder, two_formats, install, name):
    points, module, message = UNUSABLE[name]
    install("toy-format", points, group="graphmerge.readers", toy_format=module)
    listed = folder.invoke("plugins")
    assert listed.exit_code == 2
    assert message in listed.stderr
    assert "toy-format 1.2" in listed.stderr
    folder.write("plain.yml", recipe("linear", *PLAIN))
    assert folder.invoke("plan", "plain.yml").exit_code == 0
    if "toy" in points:
        folder.write("toys.yml", recipe("linear", *TOYS))
        refused = folder.invoke("plan", "toys.yml")
        assert refused.exit_code == 2
        assert message in refused.stderr


def test_two_packages_with_a_reader_for_the_same_files_clash(folder, two_formats, install):
    for package in ("one-format", "two-format"):
        module = package.replace("-", "_")
        install(package, {"toy": module}, group="graphmerge.readers", **{module: READER})
    folder.write("toys.yml", recipe("linear", *TOYS))
    refused = folder.invoke("plan", "toys.yml")
    assert refused.exit_code == 2
    assert "several packages bring a reader of .toy files @ one-format 1.2, two-format 1.2" in (
        refused.stderr
    )
