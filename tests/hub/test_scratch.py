"""Temporary folders that killed processes leave are removed; those of living ones are not."""

import signal
import subprocess
import sys

import pytest

PROGRAM = """
import sys
from graphmerge.hub.scratch import scratch_folder
(scratch_folder() / "file").touch()
assert scratch_folder() is scratch_folder()
print(scratch_folder(), flush=True)
sys.stdin.read()
"""


@pytest.fixture
def start(tmp_path):
    """Starts a process that has a folder; it ends when its stdin is closed."""
    processes = []

    def begin():
        process = subprocess.Popen(
            [sys.executable, "-W", "error", "-c", PROGRAM],
            env={"TMPDIR": str(tmp_path)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        processes.append(process)
        return process, process.stdout.readline().strip()

    yield begin
    for process in processes:
        process.communicate()


def test_a_folder_goes_with_its_process(start, tmp_path):
    first, folder = start()
    assert [str(path) for path in tmp_path.iterdir()] == [folder]
    first.communicate()
    assert first.returncode == 0
    assert list(tmp_path.iterdir()) == []


def test_the_next_process_removes_what_killed_ones_have_left(start, tmp_path):
    (tmp_path / "graphmerge-views-of-another-kind").write_text("a file")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "graphmerge-views-link").symlink_to(tmp_path / "elsewhere")
    others = {path.name for path in tmp_path.iterdir()}
    killed, left = start()
    living, kept = start()
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert {str(path) for path in tmp_path.iterdir() if path.name not in others} == {left, kept}
    _, mine = start()
    assert {str(path) for path in tmp_path.iterdir() if path.name not in others} == {kept, mine}
    assert others < {path.name for path in tmp_path.iterdir()}
    assert living.poll() is None
