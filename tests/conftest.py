"""Settings and fixtures of all tests."""

import os
import subprocess

import pytest
from hypothesis import settings

# before numpy is imported: tests run side by side, and threads that wait for one another spin
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ["HF_HUB_OFFLINE"] = "1"  # a mistyped path must not be looked for on the Hub
settings.register_profile("untimed", deadline=None)  # a busy machine is no reason to fail
settings.load_profile("untimed")


@pytest.fixture
def small_disk(tmp_path, request):
    """A file system of 1 MiB, or of another size that a test asks for as an indirect parameter."""
    path = tmp_path / "small"
    path.mkdir()
    size = getattr(request, "param", "1m")
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(path)]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"mounting a small disk needs root: {error}")
    yield path
    subprocess.run(["umount", str(path)], check=True)


@pytest.fixture
def free_memory(monkeypatch):
    """Inputs are kept wherever there is room, even those of a few large units."""
    monkeypatch.setattr("graphmerge.schedule.worth.TOUCHED_BYTES_PER_SECOND", float("inf"))
