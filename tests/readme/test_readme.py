import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from console_blocks import commands, missing_lines

from graphmerge.methods.registry import BUILT_IN
from graphmerge.testing.checkpoints import write_base, write_fine_tune
from graphmerge.testing.llama_shapes import TINY
from graphmerge.units import KIB

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
SAVED = re.compile(r"Save this as `([^`]+)`.*?^```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PYTHON = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture
def new_user(tmp_path, monkeypatch):
    """A folder as `make demo` leaves it, with tiny checkpoints, and the recipe of the README."""
    write_base(tmp_path / "demo" / "base", TINY, seed=0, max_shard_bytes=64 * KIB)
    for seed, name in enumerate(("code", "chat"), start=1):
        write_fine_tune(
            tmp_path / "demo" / name, tmp_path / "demo" / "base", seed=seed, scale=0.002
        )
    for name, content in SAVED.findall(README):
        (tmp_path / name).write_text(content)
    shutil.copytree(ROOT / "recipes", tmp_path / "recipes")
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


def test_every_command_works_and_prints_what_the_readme_shows(new_user):
    for command in commands(README):
        is_make = command.text.startswith("make ")
        result = subprocess.run(
            ["bash", "-c", command.text + (" --dry-run" if is_make else "")],
            cwd=ROOT if is_make else new_user,
            capture_output=True,
            text=True,
            check=False,
        )
        assert result.returncode == 0, (command.text, result.stderr)
        assert missing_lines(command.output, result.stdout) == [], (command.text, result.stdout)


def test_every_python_example_runs(new_user):
    examples = PYTHON.findall(README)
    assert len(examples) == 3
    for example in examples:
        command = [sys.executable, "-W", "error", "-c", example]
        result = subprocess.run(command, cwd=new_user, capture_output=True, text=True, check=False)
        assert result.returncode == 0, (example, result.stderr)
    assert (new_user / "merged-in-python" / "model.safetensors").exists()


def test_the_set_up_is_two_commands():
    first, second = commands(README)[:2]
    assert [first.text, second.text] == ["make demo", "make test"]


def test_the_table_of_methods_is_that_of_the_registry():
    rows = re.findall(r"^\| `(\w+)` \| (.*?) \| (.*?) \|$", README, re.MULTILINE)
    assert rows == [(method.name, method.summary, method.use_when) for method in BUILT_IN.values()]


def test_links_lead_somewhere():
    links = re.findall(r"\]\(([^)]+)\)", README)
    assert links
    assert [link for link in links if not (ROOT / link.partition("#")[0]).exists()] == []


@pytest.mark.parametrize(
    ("shown", "output", "missing"),
    [
        (("4 tensors, 98.8 MiB in 1 shard",), "39 tensors, 113 KiB in 2 shards", []),
        (("peak 95%", "end"), "peak 7%\nend", []),
        (("a", "b"), "b\na", ["b"]),
        (("node cast 4, ...",), "node cast 44, load 7", []),
        (("ties: valid",), "ties: invalid", ["ties: valid"]),
        (("...", "end"), "a\nb\nend", []),
    ],
)
def test_numbers_may_differ_and_words_may_not(shown, output, missing):
    assert missing_lines(shown, output) == missing
