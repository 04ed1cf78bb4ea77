import os
from pathlib import Path

import pytest

from graphmerge.errors import MachineError, OutputError
from graphmerge.output.journal import JOURNAL_NAME, Journal, JournalIdentity
from graphmerge.output.lock import LOCK_NAME, lock_partial
from graphmerge.output.publish import prepare, publish, refuse_output_inside_inputs

IDENTITY = JournalIdentity(
    recipe_digest="r", seed=0, inputs={}, layout_digest="l", numerics_version="1"
)


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


def work(out, *, overwrite=False, durable=False):
    """A whole run, with `new` as the only content."""
    partial = prepare(out, overwrite=overwrite)
    with lock_partial(partial), Journal.open(partial, IDENTITY, overwrite=overwrite):
        (partial / "config.json").write_text("new")
        publish(partial, out, overwrite=overwrite, durable=durable)


def old_model(out):
    out.mkdir()
    (out / "config.json").write_text("old")
    (out / "stale.safetensors").write_text("old")


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("durable", [True, False])
def test_the_output_appears_without_journal_and_lock(tmp_path, out, durable):
    work(out, durable=durable)
    assert names(out) == ["config.json"]
    assert names(tmp_path) == ["out"]


def test_parents_are_made(tmp_path):
    work(tmp_path / "a" / "b" / "out")
    assert names(tmp_path / "a" / "b" / "out") == ["config.json"]


def test_an_empty_folder_may_be_the_output(out):
    out.mkdir()
    work(out)
    assert names(out) == ["config.json"]


def test_a_link_to_a_folder_is_followed(tmp_path, out):
    (tmp_path / "real").mkdir()
    out.symlink_to(tmp_path / "real")
    assert prepare(out, overwrite=False) == tmp_path / "real.partial"
    work(out)
    assert out.is_symlink()
    assert names(tmp_path / "real") == ["config.json"]


def test_an_output_in_use_is_refused(out):
    old_model(out)
    with pytest.raises(OutputError, match=r"not empty @ .*/out \(replace it with --overwrite"):
        prepare(out, overwrite=False)


def test_an_output_that_came_into_use_meanwhile_is_refused(out):
    partial = prepare(out, overwrite=False)
    old_model(out)
    with pytest.raises(OutputError, match="not empty"):
        publish(partial, out, overwrite=False, durable=False)
    assert partial.exists()


def test_overwrite_replaces_every_file(tmp_path, out):
    old_model(out)
    work(out, overwrite=True)
    assert names(out) == ["config.json"]
    assert (out / "config.json").read_text() == "new"
    assert names(tmp_path) == ["out"]


def test_overwrite_does_not_delete_a_folder_that_is_no_model(out):
    out.mkdir()
    (out / "thesis.txt").write_text("the only copy")
    with pytest.raises(OutputError, match=r"--overwrite replaces models only @ .*/out"):
        prepare(out, overwrite=True)


def test_overwrite_is_no_advice_for_a_folder_that_is_no_model(out):
    out.mkdir()
    (out / "thesis.txt").write_text("the only copy")
    with pytest.raises(OutputError, match=r"not empty @ .*/out \(empty it, or name another"):
        prepare(out, overwrite=False)


@pytest.mark.parametrize("within", [".", "deeper"])
def test_the_working_directory_is_not_replaced_under_the_user(out, within, monkeypatch):
    (out / within).mkdir(parents=True, exist_ok=True)
    monkeypatch.chdir(out / within)
    with pytest.raises(OutputError, match="the output is the working directory, or around it"):
        prepare(out, overwrite=False)


def test_a_name_that_is_too_long_is_told(tmp_path):
    with pytest.raises(MachineError, match="File name too long"):
        prepare(tmp_path / ("x" * 300), overwrite=False)


def test_a_file_is_no_output_folder(out):
    out.write_text("a file")
    with pytest.raises(OutputError, match=r"the output is a file @ .*/out: got|is a file"):
        prepare(out, overwrite=True)


def test_a_mount_point_is_refused_early():
    with pytest.raises(OutputError, match="mount point"):
        prepare(Path("/proc"), overwrite=False)


def test_a_folder_of_the_user_is_not_taken_for_unfinished_work(out):
    partial = out.with_name("out.partial")
    partial.mkdir()
    (partial / "mine.txt").write_text("mine")
    with pytest.raises(OutputError, match=r"did not make is in the way @ .*/out\.partial"):
        prepare(out, overwrite=True)


def test_unfinished_work_is_kept(out):
    partial = prepare(out, overwrite=False)
    (partial / LOCK_NAME).touch()
    (partial / "model.safetensors").write_text("half")
    assert prepare(out, overwrite=False) == partial
    assert (partial / "model.safetensors").read_text() == "half"


def test_a_parent_that_is_a_file_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(MachineError, match=r"out\.partial.*Not a directory"):
        prepare(tmp_path / "file" / "out", overwrite=False)


def test_killed_before_the_rename_the_work_can_be_continued(out, monkeypatch):
    partial = prepare(out, overwrite=False)
    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises(MachineError, match=r"out.*Input/output error"):
        work(out)
    assert names(partial) == [LOCK_NAME, "config.json", JOURNAL_NAME]
    monkeypatch.undo()
    work(out)
    assert names(out) == ["config.json"]


def test_when_the_second_rename_fails_the_old_output_comes_back(tmp_path, out, monkeypatch):
    old_model(out)
    rename = Path.rename
    monkeypatch.setattr(
        Path, "rename", lambda a, b: fail() if a.name == "out.partial" else rename(a, b)
    )
    with pytest.raises(MachineError, match="Input/output error"):
        work(out, overwrite=True)
    assert (out / "config.json").read_text() == "old"
    assert names(tmp_path) == ["out", "out.partial"]


def test_an_old_output_left_aside_by_a_killed_run_is_removed(tmp_path, out):
    old_model(tmp_path / ".out.graphmerge-replaced")
    work(out)
    assert names(tmp_path) == ["out"]


def test_durable_waits_for_every_file_and_folder(tmp_path, out, monkeypatch):
    synced = []
    fsync = os.fsync

    def record(descriptor):
        synced.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", record)
    work(out, durable=True)
    assert {"config.json", "out.partial", "out", tmp_path.name} <= set(synced)


@pytest.mark.parametrize(
    ("output", "source"),
    [
        ("model", "model"),
        ("model/merged", "model"),
        ("models", "models/a"),
        ("models", "models/a/model.safetensors"),
        ("x/../model", "model"),
        ("a", "a.partial"),
    ],
)
def test_an_output_that_shares_a_folder_with_an_input_is_refused(tmp_path, output, source):
    with pytest.raises(OutputError, match=f"an input share a folder @ {tmp_path / source}"):
        refuse_output_inside_inputs(tmp_path / output, [tmp_path / "other", tmp_path / source])


def test_an_output_beside_its_inputs_is_allowed(tmp_path):
    inputs = [tmp_path / "models" / "a", tmp_path / "models" / "b.safetensors"]
    refuse_output_inside_inputs(tmp_path / "models" / "merged", inputs)


def fail(*_):
    raise OSError(5, "Input/output error")
