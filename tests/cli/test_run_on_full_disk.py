import subprocess

import pytest


@pytest.fixture
def small_disk(tmp_path):
    """A file system that is smaller than the output."""
    path = tmp_path / "small"
    path.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(path)]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"mounting a small disk needs root: {error}")
    yield path
    subprocess.run(["umount", str(path)], check=True)


def test_a_full_disk_is_named_and_nothing_is_published(folder, small_disk):
    result = folder.invoke("run", "ties.yml", small_disk / "out")
    assert result.exit_code == 1
    assert "the disk is full @ " in result.stderr
    assert not (small_disk / "out").exists()
