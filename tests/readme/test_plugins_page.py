"""Every block of docs/plugins.md does what the page says, in the order of the page."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from console_blocks import commands, missing_lines

from graphmerge.testing.checkpoints import write_base, write_fine_tune
from graphmerge.testing.llama_shapes import TINY
from graphmerge.testing.stored_models import weights_digest

PAGE = Path(__file__).parents[2] / "docs" / "plugins.md"
STEPS = Path(__file__).with_name("page_steps.py")
TEXT = PAGE.read_text()
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SAVED = re.compile(r"[Ss]ave\s+this\s+as\s+`([^`]+)`:\n\n\Z")
PACKAGE, FORMATS = map(TEXT.index, ("## A package", "## Other checkpoint formats"))
BUDGET = ("--memory-budget", "1GiB")


def new_author(folder):
    """A folder with the tiny checkpoints that the page speaks of."""
    write_base(folder / "demo" / "base", TINY, seed=0)
    for seed, name in enumerate(("code", "chat"), start=1):
        write_fine_tune(folder / "demo" / name, folder / "demo" / "base", seed=seed, scale=0.002)
    return folder


def steps(begin, end):
    """What a part of the page says: ("save", name, text), ("python", text), ("console", text)."""
    for block in BLOCK.finditer(TEXT, begin, end):
        saved = SAVED.search(TEXT[: block.start()])
        if saved:
            yield "save", saved[1], block[2]
        else:
            assert block[1] in ("python", "console")
            yield block[1], block[0] if block[1] == "console" else block[2]


@pytest.fixture(scope="module")
def author(tmp_path_factory):
    """A folder in which the whole page but for the package has been done, and what it is like."""
    folder = new_author(tmp_path_factory.mktemp("author"))
    todo, shown = [], []
    for kind, *arguments in (*steps(0, PACKAGE), *steps(FORMATS, len(TEXT))):
        if kind != "console":
            todo.append((kind, *arguments))
            continue
        for command in commands(*arguments):
            todo.append(shlex.split(command.text))
            shown.append(command.output)
    texts = {name: text for kind, name, text in (s for s in todo if s[0] == "save")}
    todo += [
        ("save", "ties.yml", texts["my_ties.yml"].replace("my_ties", "ties")),
        ("graphmerge", "run", "ties.yml", "ties", *BUDGET),
        ("save", "plain.yml", texts["toy.yml"].replace("code.toy", "demo/code")),
        ("graphmerge", "run", "plain.yml", "from-plain", *BUDGET),
        ("graphmerge", "plan", "clip.yml", *BUDGET),
    ]
    done = subprocess.run(
        [sys.executable, "-W", "error", STEPS, folder],
        input=json.dumps(todo),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    printed = json.loads(done.stdout)
    for lines, output in zip(shown, printed, strict=False):
        assert missing_lines(lines, output) == [], output
    (folder / "clip-plan.txt").write_text(printed[-1])
    return folder


def test_every_block_but_the_package_runs(author):
    for out in ("my-mean", "my-ties", "from-toy", "clipped"):
        assert (author / out / "graphmerge.json").exists()


def test_my_ties_is_ties(author):
    """The composed method of the page gives the bytes of the built-in one."""
    assert weights_digest(author / "ties") == weights_digest(author / "my-ties")


def test_the_other_format_gives_the_bytes_of_safetensors(author):
    assert weights_digest(author / "from-plain") == weights_digest(author / "from-toy")


def test_native_code_of_the_new_op_gives_the_bytes_of_its_kernel(author):
    assert weights_digest(author / "clipped") == weights_digest(author / "clipped-by-torch")
    assert "clip 78" in (author / "clip-plan.txt").read_text(), "two for each of 39 tensors"


@pytest.mark.slow  # installs, and measures the memory of a merge where nothing was measured before
def test_the_package_is_built_installed_and_tested(tmp_path):
    """In processes of their own, where pip installs into a folder and asks no index."""
    folder = new_author(tmp_path)
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(folder / "site"),
        "PIP_TARGET": str(folder / "site"),
        "PIP_NO_DEPS": "1",
        "PIP_NO_INDEX": "1",
        "PIP_NO_BUILD_ISOLATION": "0",  # pip reads this as "no isolation"
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    }
    for kind, *arguments in steps(PACKAGE, FORMATS):
        if kind == "save":
            (folder / arguments[0]).parent.mkdir(exist_ok=True)
            (folder / arguments[0]).write_text(arguments[1])
            continue
        for command in commands(*arguments):
            done = subprocess.run(
                ["bash", "-c", command.text],
                cwd=folder,
                env=environment,
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, (command.text, done.stdout, done.stderr)
            assert missing_lines(command.output, done.stdout) == [], done.stdout
    (wheel,) = (folder / "dist").iterdir()
    assert wheel.name == "my_merges-0.1.0-py3-none-any.whl"


def test_links_lead_somewhere():
    links = re.findall(r"\]\(([^)]+)\)", TEXT)
    assert links
    assert [link for link in links if not (PAGE.parent / link).exists()] == []
