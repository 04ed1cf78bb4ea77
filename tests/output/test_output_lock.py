import os
import signal
import subprocess
import sys

import pytest

from graphmerge.errors import OutputError
from graphmerge.output.lock import LOCK_NAME, lock_partial

HOLD = """
import sys
from pathlib import Path
from graphmerge.output.lock import lock_partial
with lock_partial(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the lock until its input is closed."""
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"held\n"
        yield process
        process.stdin.close()


def test_a_lock_held_by_another_process_is_refused_with_its_number(holder, tmp_path):
    message = f"another run is writing this output @ .*: got process {holder.pid} "
    with pytest.raises(OutputError, match=message), lock_partial(tmp_path):
        pass


def test_a_killed_process_holds_nothing(holder, tmp_path):
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    with lock_partial(tmp_path):
        assert (tmp_path / LOCK_NAME).read_text() == str(os.getpid())


def test_it_can_be_taken_again(tmp_path):
    for _ in range(2):
        with lock_partial(tmp_path):
            pass


def test_a_lock_file_that_was_published_meanwhile_is_no_lock(tmp_path, monkeypatch):
    """The other run renames the folder between our open and our lock."""
    partial = tmp_path / "out.partial"
    partial.mkdir()
    opened = os.open

    def open_and_publish(*arguments):
        descriptor = opened(*arguments)
        partial.rename(tmp_path / "out")
        return descriptor

    monkeypatch.setattr(os, "open", open_and_publish)
    with pytest.raises(OutputError, match="has just finished this output"), lock_partial(partial):
        pass
