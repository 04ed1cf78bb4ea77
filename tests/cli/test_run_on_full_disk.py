import pytest


@pytest.mark.parametrize("small_disk", ["64k"], indirect=True)
def test_a_full_disk_is_named_and_nothing_is_published(folder, small_disk):
    result = folder.invoke("run", "ties.yml", small_disk / "out")
    assert result.exit_code == 1
    assert "the disk is full @ " in result.stderr
    assert not (small_disk / "out").exists()
