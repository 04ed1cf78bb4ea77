import os

import pytest
from attrs import evolve

from graphmerge.errors import MachineError, OutputError
from graphmerge.output.journal import JOURNAL_NAME, Journal, JournalIdentity
from graphmerge.output.lock import LOCK_NAME

IDENTITY = JournalIdentity(
    recipe_digest="r1",
    seed=0,
    inputs={"base": "f1", "expert": "f2"},
    layout_digest="l1",
    numerics_version="1",
)
FINISHED = {"model.embed": "aa", "naïve\nname": "bb", "layers.0": "cc"}


def written(folder, finished=FINISHED):
    with Journal.open(folder, IDENTITY) as journal:
        for name, checksum in finished.items():
            journal.append({name: checksum})
    return (folder / JOURNAL_NAME).read_bytes()


def reopened(folder):
    with Journal.open(folder, IDENTITY) as journal:
        return dict(journal.finished)


def test_finished_tensors_are_there_after_opening_again(tmp_path):
    written(tmp_path)
    assert reopened(tmp_path) == FINISHED


def test_a_batch_is_the_same_as_single_lines(tmp_path):
    with Journal.open(tmp_path, IDENTITY) as journal:
        journal.append(FINISHED)
        assert journal.finished == FINISHED
    assert reopened(tmp_path) == FINISHED


def test_torn_at_every_byte_it_opens_and_goes_on(tmp_path):
    data = written(tmp_path)
    lines = [i for i, byte in enumerate(data, start=1) if byte == ord("\n")]
    for length in range(len(data) + 1):
        (tmp_path / JOURNAL_NAME).write_bytes(data[:length])
        whole = max(0, sum(end <= length for end in lines) - 1)
        with Journal.open(tmp_path, IDENTITY) as journal:
            assert dict(journal.finished) == dict(list(FINISHED.items())[:whole])
            journal.append({"next": "dd"})
        assert reopened(tmp_path)["next"] == "dd"
        assert len(reopened(tmp_path)) == whole + 1


def test_zeros_after_a_power_cut_count_as_torn(tmp_path):
    data = written(tmp_path)
    (tmp_path / JOURNAL_NAME).write_bytes(
        data + bytes(100) + b"\n" + b'{"name": "x", "checksum": "y"}\n'
    )
    assert reopened(tmp_path) == FINISHED
    assert (tmp_path / JOURNAL_NAME).read_bytes() == data


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"recipe_digest": "r2"}, "got another recipe "),
        ({"inputs": {"base": "f1", "expert": "f9"}}, r"got other inputs \(expert\) "),
        ({"inputs": {"base": "f1", "new": "f2"}}, r"got other inputs \(expert, new\) "),
        ({"numerics_version": "2"}, "got another version of graphmerge "),
        ({"seed": 1}, r"got another seed \(0\) \("),
        ({"format_version": 3}, "got another version of graphmerge "),
        ({"layout_digest": "l2"}, "got another layout of the output files "),
        ({"recipe_digest": "r2", "layout_digest": "l2"}, "another recipe, another layout"),
    ],
)
def test_the_journal_of_another_merge_is_refused(tmp_path, changes, message):
    data = written(tmp_path)
    with pytest.raises(OutputError, match=message) as caught:
        Journal.open(tmp_path, evolve(IDENTITY, **changes))
    assert str(tmp_path) in str(caught.value)
    assert "--overwrite" in str(caught.value)
    assert (tmp_path / JOURNAL_NAME).read_bytes() == data


def test_with_overwrite_another_merge_is_discarded_with_its_files(tmp_path):
    written(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"old")
    (tmp_path / "templates").mkdir()
    (tmp_path / "templates" / "a.jinja").write_bytes(b"old")
    (tmp_path / LOCK_NAME).write_bytes(b"held")
    with Journal.open(tmp_path, evolve(IDENTITY, recipe_digest="r2"), overwrite=True) as journal:
        assert journal.finished == {}
    assert {path.name for path in tmp_path.iterdir()} == {JOURNAL_NAME, LOCK_NAME}


def test_with_overwrite_the_same_merge_is_continued(tmp_path):
    written(tmp_path)
    with Journal.open(tmp_path, IDENTITY, overwrite=True) as journal:
        assert journal.finished == FINISHED


def test_shards_without_a_journal_are_not_trusted(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"old")
    with Journal.open(tmp_path, IDENTITY):
        assert not (tmp_path / "model.safetensors").exists()


@pytest.mark.parametrize("durable", [True, False])
def test_only_a_durable_journal_waits_for_the_disk(tmp_path, monkeypatch, durable):
    synced = []
    monkeypatch.setattr(os, "fsync", synced.append)
    with Journal.open(tmp_path, IDENTITY, durable=durable) as journal:
        journal.append({"a": "aa"})
    assert len(synced) == (2 if durable else 0)


def test_a_journal_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / JOURNAL_NAME).mkdir()
    with pytest.raises(MachineError, match=r"journal\.jsonl.*Is a directory"):
        Journal.open(tmp_path, IDENTITY)
