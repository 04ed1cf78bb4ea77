"""What docs/checkpoint-formats.md says is so."""

import re
import shlex
from pathlib import Path

import pytest
from console_blocks import commands, missing_lines
from typer.testing import CliRunner

from graphmerge.checkpoint import read_checkpoint
from graphmerge.checkpoint.shards import TORCH_SUFFIXES
from graphmerge.cli.app import app
from graphmerge.testing.checkpoints import write_base
from graphmerge.testing.llama_shapes import TINY
from graphmerge.testing.scaled_checkpoints import write_block_scaled

PAGE = (Path(__file__).parents[2] / "docs" / "checkpoint-formats.md").read_text()


@pytest.fixture
def reader(tmp_path, monkeypatch):
    """A folder with the model that the page speaks of, and its recipe."""
    write_base(tmp_path / "models" / "plain", TINY, seed=0)
    write_block_scaled(tmp_path / "models" / "quantised", tmp_path / "models" / "plain")
    (name,) = re.findall(r"Save this as `([^`]+)`", PAGE)
    (recipe,) = re.findall(r"^```yaml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    (tmp_path / name).write_text(recipe)
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("reader")
def test_every_command_prints_what_the_page_shows():
    for command in commands(PAGE):
        result = CliRunner().invoke(app, shlex.split(command.text)[1:])
        assert result.exit_code == 0, (command.text, result.output)
        assert missing_lines(command.output, result.stdout) == [], (command.text, result.stdout)
    config = read_checkpoint(Path("plain")).config
    assert "quantization_config" not in config


def test_every_end_of_torch_files_is_on_the_page():
    for suffix in TORCH_SUFFIXES:
        assert f"`{suffix}`" in PAGE
