"""Commands that write adapters leave a whole output or none, whatever happens to them."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from graphmerge.cli.app import app
from graphmerge.errors import MachineError, Problem
from graphmerge.output import ShardWriter
from graphmerge.output.journal import JOURNAL_NAME
from graphmerge.output.lock import LOCK_NAME
from graphmerge.testing.adapters import write_adapter
from graphmerge.testing.checkpoints import write_base, write_fine_tune
from graphmerge.testing.llama_shapes import TINY
from graphmerge.testing.stored_models import weights_digest

SCRIPT = Path(__file__).with_name("slow_command.py")
PATIENCE_SECONDS = 60


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    write_base(root / "base", TINY, seed=0)
    write_fine_tune(root / "tuned", root / "base", seed=1, scale=0.01)
    for seed in (1, 2):
        write_adapter(root / f"adapter{seed}", root / "base", rank=2, seed=seed)
    return root


def arguments(root, command, out):
    if command == "extract-lora":
        return [command, str(root / "tuned"), str(root / "base"), str(out), "--rank", "2"]
    return [command, str(out), str(root / "adapter1"), str(root / "adapter2")]


COMMANDS = pytest.mark.parametrize("command", ["extract-lora", "merge-lora"])


@COMMANDS
def test_a_killed_command_leaves_nothing_that_looks_finished(root, tmp_path, command):
    out, partial = tmp_path / "out", tmp_path / "out.partial"
    process = subprocess.Popen([sys.executable, SCRIPT, "0.02", *arguments(root, command, out)])
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not list(partial.glob("*.safetensors")):
        assert process.poll() is None, "the command ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not out.exists()
    assert not (partial / "adapter_config.json").exists()
    assert not (partial / "graphmerge.json").exists()
    for target in (out, tmp_path / "other"):
        result = CliRunner().invoke(app, arguments(root, command, target))
        assert result.exit_code == 0, result.output
    assert {file.name for file in out.iterdir()} == {
        "README.md",
        "adapter_config.json",
        "adapter_model.safetensors",
        "graphmerge.json",
    }
    assert weights_digest(out) == weights_digest(tmp_path / "other")
    assert not partial.exists()


@COMMANDS
def test_a_command_that_fails_leaves_nothing(root, tmp_path, command, monkeypatch):
    def fail(*_):
        raise MachineError(Problem("no space left"))

    monkeypatch.setattr(ShardWriter, "write", fail)
    result = CliRunner().invoke(app, arguments(root, command, tmp_path / "out"))
    assert result.exit_code == 1, result.output
    assert list(tmp_path.iterdir()) == []


@COMMANDS
def test_an_output_is_replaced_only_if_told_to(root, tmp_path, command):
    out = tmp_path / "out"
    for more, code in (([], 0), ([], 2), (["--overwrite"], 0)):
        result = CliRunner().invoke(app, [*arguments(root, command, out), *more])
        assert result.exit_code == code, result.output


@COMMANDS
def test_an_unfinished_merge_is_not_discarded(root, tmp_path, command):
    partial = tmp_path / "out.partial"
    partial.mkdir()
    for name in (LOCK_NAME, JOURNAL_NAME):
        (partial / name).touch()
    result = CliRunner().invoke(app, arguments(root, command, tmp_path / "out"))
    assert result.exit_code == 2
    assert "an unfinished merge is in the way" in result.output
    assert (partial / JOURNAL_NAME).exists()


def test_an_output_inside_an_input_is_refused(root):
    for command in ("extract-lora", "merge-lora"):
        inside = root / ("tuned" if command == "extract-lora" else "adapter1") / "out"
        result = CliRunner().invoke(app, arguments(root, command, inside))
        assert result.exit_code == 2
        assert "share a folder" in result.output
