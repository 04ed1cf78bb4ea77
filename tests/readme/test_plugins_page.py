"""Every block of docs/plugins.md does what the page says, in the order of the page."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from console_blocks import commands

from graphmerge.testing.checkpoints import write_base, write_fine_tune
from graphmerge.testing.llama_shapes import TINY
from graphmerge.testing.stored_models import weights_digest

tomllib = pytest.importorskip("tomllib")  # Python 3.11
PAGE = Path(__file__).parents[2] / "docs" / "plugins.md"
TEXT = PAGE.read_text()
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SAVED = re.compile(r"[Ss]ave\s+this\s+as\s+`([^`]+)`:\n\n\Z")


@pytest.fixture(scope="module")
def author(tmp_path_factory):
    """A folder with tiny checkpoints in which the whole page has been done; its outputs."""
    folder = tmp_path_factory.mktemp("author")
    write_base(folder / "demo" / "base", TINY, seed=0)
    for seed, name in enumerate(("code", "chat"), start=1):
        write_fine_tune(folder / "demo" / name, folder / "demo" / "base", seed=seed, scale=0.002)
    for block in BLOCK.finditer(TEXT):
        saved = SAVED.search(TEXT[: block.start()])
        run_block(folder, block[1], block[2], saved and saved[1])
    return folder


def run_block(folder, language, content, name):
    if name:
        (folder / name).write_text(content)
    elif language == "console":
        for command in commands(f"```console\n{content}```"):
            check(["bash", "-c", command.text], folder)
    elif language == "python":
        check([sys.executable, "-W", "error", "-c", content], folder)
    else:
        assert language == "toml"
        assert tomllib.loads(content)["project"]["entry-points"]["graphmerge.methods"]


def check(command, folder):
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path}
    result = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, (command, result.stderr)


def test_every_block_runs(author):
    assert (author / "my-mean" / "graphmerge.json").exists()
    assert (author / "my-ties" / "graphmerge.json").exists()


def test_my_ties_is_ties(author):
    """The composed method of the page gives the bytes of the built-in one."""
    recipe = (author / "my_ties.yml").read_text().replace("my_ties", "ties")
    (author / "ties.yml").write_text(recipe)
    check(["graphmerge", "run", "ties.yml", "ties", "--memory-budget", "1GiB"], author)
    assert weights_digest(author / "ties") == weights_digest(author / "my-ties")


def test_links_lead_somewhere():
    links = re.findall(r"\]\(([^)]+)\)", TEXT)
    assert links
    assert [link for link in links if not (PAGE.parent / link).exists()] == []
