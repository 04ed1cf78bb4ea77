import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from console_blocks import commands, missing_lines

import graphmerge as gm
from graphmerge.methods.operations import OPERATIONS
from graphmerge.testing.checkpoints import write_base, write_fine_tune
from graphmerge.testing.llama_shapes import TINY
from graphmerge.testing.stored_models import weights_digest

PAGE = Path(__file__).parents[2] / "docs" / "python.md"
TEXT = PAGE.read_text()
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SAVED = re.compile(r"Save this as `([^`]+)`:\n\n```yaml\n")
END = "-- end of block"


@pytest.fixture(scope="module")
def reader(tmp_path_factory):
    """A folder as `make demo` leaves it, with tiny checkpoints, and the recipes of the page."""
    folder = tmp_path_factory.mktemp("reader")
    write_base(folder / "demo" / "base", TINY, seed=0)
    for seed, name in enumerate(("code", "chat"), start=1):
        write_fine_tune(folder / "demo" / name, folder / "demo" / "base", seed=seed, scale=0.002)
    for name, recipe in zip(SAVED.findall(TEXT), blocks("yaml"), strict=True):
        (folder / name).write_text(recipe)
    return folder


def blocks(language):
    return [content for kind, content in BLOCK.findall(TEXT) if kind == language]


def shown_outputs():
    """What the page shows after each Python block; nothing where it shows none."""
    found = []
    for kind, content in BLOCK.findall(TEXT):
        if kind == "python":
            found.append(())
        elif kind == "text":
            found[-1] = tuple(content.splitlines())
    return found


def test_every_block_is_of_a_kind_that_is_run():
    assert {kind for kind, _ in BLOCK.findall(TEXT)} == {"python", "text", "yaml", "console"}
    assert len(SAVED.findall(TEXT)) == len(blocks("yaml"))


def test_the_python_blocks_run_one_after_the_other(reader):
    code = f"\nprint({END!r})\n".join(blocks("python"))
    command = [sys.executable, "-W", "error", "-c", code]
    result = subprocess.run(command, cwd=reader, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    for shown, output in zip(shown_outputs(), result.stdout.split(END), strict=True):
        assert missing_lines(shown, output) == [], output
    written = {path.parent.name for path in reader.glob("*/graphmerge.json")}
    assert {"merged", "stacked", "skilled-in-fp16"} <= written


def test_every_command_works_and_prints_what_the_page_shows(reader):
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    for command in commands(TEXT):
        result = subprocess.run(
            ["bash", "-c", command.text],
            cwd=reader,
            env={**os.environ, "PATH": path},
            capture_output=True,
            text=True,
            check=False,
        )
        assert result.returncode == 0, (command.text, result.stderr)
        assert missing_lines(command.output, result.stdout) == [], (command.text, result.stdout)


@pytest.mark.parametrize("name", SAVED.findall(TEXT))
def test_every_recipe_merges_from_python_too(reader, name, monkeypatch):
    monkeypatch.chdir(reader)
    made = gm.from_recipe(name)
    again = gm.from_recipe(gm.to_recipe(made))
    digests = set()
    for place, expression in enumerate((made, again)):
        out = reader / f"{name}-{place}"
        expression.save(out, overwrite=True)
        digests.add(weights_digest(out))
    assert len(digests) == 1


def rows_of_table(heading):
    table = TEXT.split(f"| {heading} |", 1)[1].split("\n\n", 1)[0]
    return re.findall(r"^\| (.*?) \| (.*?) \|(?: (.*?) \|)?$", table, re.MULTILINE)


def test_the_table_of_operations_is_that_of_the_registry():
    listed = {row[0].strip("`"): row[2] for row in rows_of_table("operation")}
    assert set(listed) == set(OPERATIONS)
    for name, parameters in listed.items():
        known = {spec.name for spec in OPERATIONS[name].parameters}
        in_yaml = {{"weight": "weights", "other": "tensors"}.get(key, key) for key in known}
        assert set(re.findall(r"`(\w+)`", parameters)) - {"out_dtype"} == in_yaml, name


def test_every_expression_of_the_table_is_one(reader, monkeypatch):
    monkeypatch.chdir(reader)
    base, code, chat = (gm.load(f"demo/{name}") for name in ("base", "code", "chat"))
    a, b = code - base, chat - base
    names = {"gm": gm, "model": code, "base": base, "delta": a, "a": a, "b": b}
    names |= {"first": code, "second": chat, "value": code, "other": chat}
    names |= {"values": [code, chat], "deltas": [a, b]}
    rows = rows_of_table("expression")
    assert len(rows) == 10
    for cell, *_ in rows:
        for text in re.findall(r"`([^`]+)`", cell):
            made = eval(text.replace("[...]", "[1, 2]"), names)
            assert isinstance(made, gm.Expression), text


def test_links_lead_somewhere():
    links = re.findall(r"\]\(([^)]+)\)", TEXT)
    assert [link for link in links if not (PAGE.parent / link).exists()] == []
