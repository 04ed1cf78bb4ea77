"""Names from files cannot command the terminal: what it would obey is printed as an escape."""

import json

import pytest
import torch
from safetensors.torch import save_file

from graphmerge.cli.say import visible

NAME = "model.norm.weight"
HOSTILE = "a.norm\x1b[31m\x07\u202eweight"
SHOWN = r"a.norm\x1b[31m\x07\u202eweight"
WEIGHTED = {
    "merge_method": "linear",
    "models": [{"model": "first", "parameters": {"weight": 1.0}}, {"model": "second"}],
    "parameters": {"weight": 1.0},
}


def rename(path):
    """Give a tensor its hostile name, and NaN for a value."""
    data = (path / "model.safetensors").read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    entry = header.pop(NAME)
    text = json.dumps({HOSTILE: entry, **header}).encode()
    weights = bytearray(data[8 + length :])
    start = entry["data_offsets"][0]
    weights[start : start + 2] = b"\xff\xff"
    (path / "model.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + weights)


@pytest.fixture
def hostile(folder):
    for model in ("first", "second"):
        rename(folder.path / model)
    folder.write("linear.yml", WEIGHTED)
    return folder


@pytest.mark.parametrize(
    "command",
    [
        ("plan", "linear.yml", "--verbose"),
        ("plan", "linear.yml", "--explain", HOSTILE),
        ("inspect", "first"),
        ("run", "linear.yml", "out"),
    ],
    ids=" ".join,
)
def test_no_name_reaches_the_terminal_as_it_is(hostile, command):
    result = hostile.invoke(*command)
    said = result.stdout + result.stderr
    assert SHOWN in said
    assert not {"\x1b", "\x07", "\u202e"} & set(said)


def test_no_name_reaches_the_terminal_in_a_drawing(folder):
    model = folder.path / "single"
    model.mkdir()
    save_file({HOSTILE: torch.ones(3)}, model / "model.safetensors")
    folder.write("copy.yml", {"merge_method": "passthrough", "models": [{"model": "single"}]})
    said = folder.invoke("show", "copy.yml").stdout
    assert SHOWN in said
    assert "\x1b" not in said


def test_no_name_reaches_the_terminal_in_an_error(folder):
    rename(folder.path / "base")
    said = folder.invoke("plan", "ties.yml").stderr
    assert f"first has no tensor {SHOWN}" in said
    assert "\x1b" not in said


def test_what_can_be_shown_is_not_changed():
    assert visible("Grüße, 模型\t→\n") == "Grüße, 模型\t→\n"
    assert visible("a\rb\udc80\x85") == r"a\rb\udc80\x85"
