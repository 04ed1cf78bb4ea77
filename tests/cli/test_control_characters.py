"""Names from files cannot command the terminal: what it would obey is printed as an escape."""

import json
import logging

import pytest
import torch
from safetensors.torch import save_file

from graphmerge.cli.say import SayingHandler, visible

NAME = "model.norm.weight"
HOSTILE = "a.norm\x1b[31m\x07\u202e\nerror: weight"
SHOWN = r"a.norm\x1b[31m\x07\u202e\nerror: weight"
MODEL = "second\x1b[32m"
"""A folder with a hostile name."""
OBEYED = {"\x1b", "\x07", "\u202e"}
WEIGHTED = {
    "merge_method": "linear",
    "models": [{"model": "first", "parameters": {"weight": 1.0}}, {"model": MODEL}],
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
    (folder.path / "second").rename(folder.path / MODEL)
    for model in ("first", MODEL):
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
    assert not OBEYED & set(said)
    assert "\nerror: weight" not in said


def test_no_name_reaches_the_terminal_in_a_drawing(folder):
    model = folder.path / MODEL
    model.mkdir()
    save_file({HOSTILE: torch.ones(3)}, model / "model.safetensors")
    folder.write("copy.yml", {"merge_method": "passthrough", "models": [{"model": MODEL}]})
    said = folder.invoke("show", "copy.yml").stdout
    assert SHOWN in said
    assert r"load-tensor(second\x1b[32m)" in said
    assert not OBEYED & set(said)


def test_no_name_reaches_the_terminal_in_an_error(folder):
    rename(folder.path / "base")
    said = folder.invoke("plan", "ties.yml").stderr
    assert f"first has no tensor {SHOWN}" in said
    assert not OBEYED & set(said)


def test_no_name_reaches_the_terminal_where_a_file_is_damaged(hostile):
    hostile.invoke("run", "linear.yml", "out")
    file = hostile.path / "out" / "model.safetensors"
    data = bytearray(file.read_bytes())
    start = 8 + int.from_bytes(data[:8], "little")
    entry = json.loads(data[8:start])[HOSTILE]
    data[start + entry["data_offsets"][0]] ^= 1
    file.write_bytes(data)
    said = hostile.invoke("verify", "out").stderr
    assert SHOWN in said
    assert not OBEYED & set(said)


def test_no_name_reaches_the_terminal_from_a_log(capsys):
    logger = logging.getLogger("graphmerge.test")
    logger.addHandler(SayingHandler())
    logger.warning("note: %s", HOSTILE)
    assert capsys.readouterr().err == f"note: {SHOWN}\n"


def test_what_can_be_shown_is_not_changed():
    assert visible("Grüße,\u3000模型 → 😀") == "Grüße,\u3000模型 → 😀"
    assert visible("a\rb\udc80\x85\t\u2028") == r"a\rb\udc80\x85\t\u2028"
