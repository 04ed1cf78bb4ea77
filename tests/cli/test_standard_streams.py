"""A disk that is full behind a stream, and streams that are closed, are no traceback."""

import os
import subprocess
from pathlib import Path

import pytest

FULL = Path("/dev/full")
pytestmark = pytest.mark.skipif(not FULL.exists(), reason="Linux has a disk that is always full")


def process(folder, arguments, *, stdout=subprocess.PIPE, stderr=subprocess.PIPE):
    command = folder.command(*arguments)
    return subprocess.run(command, cwd=folder.path, check=False, stdout=stdout, stderr=stderr)


@pytest.mark.parametrize(
    "arguments",
    [
        ("--version",),
        ("run", "--help"),
        ("plan", "ties.yml"),
        ("plan", "ties.yml", "--json"),
        ("plan", "ties.yml", "--explain", "model.norm.weight"),
        ("methods",),
        ("inspect", "base"),
    ],
)
def test_a_full_disk_behind_stdout_is_the_machines_fault(folder, arguments):
    with FULL.open("wb") as full:
        ended = process(folder, arguments, stdout=full)
    assert (ended.returncode, ended.stderr) == (1, b"error: the disk is full @ stdout\n")


@pytest.mark.parametrize("small_disk", ["64k"], indirect=True)
def test_a_disk_that_fills_while_a_long_plan_is_printed_is_named(folder, small_disk):
    with (small_disk / "ballast").open("wb") as ballast, (small_disk / "plan").open("wb") as lines:
        ballast.write(bytes(60 * 1024))
        ballast.flush()
        ended = process(folder, ("plan", "ties.yml", "--json"), stdout=lines)
    assert (ended.returncode, ended.stderr) == (1, b"error: the disk is full @ stdout\n")


def test_a_full_disk_behind_stderr_does_not_end_the_work(folder):
    with FULL.open("wb") as full:
        assert process(folder, ("run", "ties.yml", "out"), stderr=full).returncode == 0
        assert process(folder, ("plan", "nowhere.yml"), stderr=full).returncode == 2


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_closed_stream_is_no_error(folder, stream):
    number = {"stdout": 1, "stderr": 2}[stream]
    ended = subprocess.run(
        folder.command("methods"),
        cwd=folder.path,
        check=False,
        capture_output=True,
        preexec_fn=lambda: os.close(number),
    )
    assert (ended.returncode, ended.stderr) == (0, b"")
