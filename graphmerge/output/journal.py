"""Which tensors of an unfinished output are done: one line of JSON each, after a line of identity.

A line is written after the bytes that it speaks of. When the process is killed, the page cache
keeps both, so that order is enough. When the machine dies it is enough only with `durable`; without
it, `intact_tensors` tells which of the finished tensors really are on the disk.
"""

from __future__ import annotations

import json
import os
import shutil
import threading
from json.encoder import encode_basestring_ascii as _quoted
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from attrs import asdict, field

from graphmerge.errors import OutputError, Problem
from graphmerge.frozen_classes import frozen
from graphmerge.output.failures import resolved, write_errors
from graphmerge.output.lock import LOCK_NAME

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

JOURNAL_NAME = "journal.jsonl"
"""Name of the journal in the unfinished folder."""
JOURNAL_FORMAT_VERSION = 2
"""Raised when lines change their meaning; journals of other versions are not continued."""


@frozen
class JournalIdentity:
    """What an unfinished output must share with a run that continues it."""

    recipe_digest: str
    """Digest of the recipe with what functions in it give; of all that changes the bytes of the
    output but the fields below."""
    seed: int
    """Seed of random masks."""
    inputs: Mapping[str, str] = field(hash=False)
    """Fingerprint of the files of each input, by model reference."""
    layout_digest: str
    """`ShardLayout.digest` of the output."""
    numerics_version: str
    """Changes whenever the same recipe and inputs give other bytes."""
    commits: Mapping[str, str] = field(factory=dict, hash=False)
    """Commit of each model of the Hub, by `organisation/name@revision`."""
    format_version: int = JOURNAL_FORMAT_VERSION
    """Version of the journal's format."""


class Journal:
    """The journal of one output, open for appending; safe to append to from many threads."""

    def __init__(
        self, descriptor: int, path: Path, finished: dict[str, str], *, durable: bool
    ) -> None:
        self._descriptor = descriptor
        self._path = path
        self._finished = finished
        self._durable = durable
        self._lock = threading.Lock()

    @classmethod
    def open(
        cls,
        folder: Path,
        identity: JournalIdentity,
        *,
        overwrite: bool = False,
        durable: bool = False,
    ) -> Journal:
        """Continue the journal in `folder`, or empty the folder (but for the lock) and start one.

        Args:
            folder: The unfinished output; this process must hold its lock.
            identity: What this run is going to write.
            overwrite: Discard the unfinished output of another merge instead of refusing it.
            durable: Wait for the disk after each append.

        Raises:
            OutputError: the unfinished output is of another merge.
            MachineError: the journal cannot be read or written.
        """
        path = folder / JOURNAL_NAME
        with write_errors(path):
            records, end = _read(path)
            differences = list(_differences(records[0], identity)) if records else []
            if differences and not overwrite:
                raise OutputError(_foreign(folder, differences))
            is_new = bool(differences) or not records
            if is_new:
                clear_unfinished(folder)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
            os.ftruncate(descriptor, 0 if is_new else end)
            finished = {} if is_new else {line["name"]: line["checksum"] for line in records[1:]}
            journal = cls(descriptor, path, finished, durable=durable)
            if is_new:
                journal._write(json.dumps(asdict(identity)) + "\n")
        return journal

    @property
    def finished(self) -> Mapping[str, str]:
        """Checksum of every finished tensor, by name."""
        return MappingProxyType(self._finished)

    def append(self, checksums: Mapping[str, str]) -> None:
        """Note tensors as finished. Their bytes must be written (if durable: synced) already.

        Args:
            checksums: Checksum of each tensor, by name.

        Raises:
            MachineError: the journal cannot be written.
        """
        lines = (
            f'{{"name": {_quoted(name)}, "checksum": {_quoted(checksum)}}}\n'
            for name, checksum in checksums.items()
        )
        with self._lock, write_errors(self._path):
            self._write("".join(lines))
            self._finished.update(checksums)

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    def _write(self, lines: str) -> None:
        view = memoryview(lines.encode())
        while view:
            view = view[os.write(self._descriptor, view) :]
        if self._durable:
            os.fsync(self._descriptor)


def unfinished_commits(out: Path) -> Mapping[str, str]:
    """The commits of the models of the Hub that an unfinished output is made from.

    Args:
        out: Where the finished output will be.

    Returns:
        Commits by `organisation/name@revision`; none where nothing is unfinished.

    Raises:
        MachineError: the journal cannot be read.
    """
    path = partial_of(resolved(out)) / JOURNAL_NAME
    with write_errors(path):
        records, _ = _read(path)
    commits = records[0].get("commits") if records else None
    return commits if isinstance(commits, dict) else {}


def partial_of(out: Path) -> Path:
    """The folder that an output is made in."""
    return out.parent / f"{out.name}.partial"


def _read(path: Path) -> tuple[list[dict[str, Any]], int]:
    """The records up to the first torn line, and the length in bytes of their lines."""
    data = path.read_bytes() if path.exists() else b""
    records: list[dict[str, Any]] = []
    end = 0
    for line in data.split(b"\n")[:-1]:
        record = _parse(line)
        if record is None or (records and set(record) != {"name", "checksum"}):
            break
        records.append(record)
        end += len(line) + 1
    return records, end


def _parse(line: bytes) -> dict[str, Any] | None:
    try:
        record = json.loads(line)
    except ValueError:
        return None
    return record if isinstance(record, dict) else None


def _differences(found: dict[str, Any], identity: JournalIdentity) -> Iterator[str]:
    versions = ("format_version", "numerics_version")
    wanted = asdict(identity)
    if any(found.get(key) != wanted[key] for key in versions):
        yield "another version of graphmerge"
    if found.get("recipe_digest") != identity.recipe_digest:
        yield "another recipe"
    if found.get("seed", identity.seed) != identity.seed:
        yield f"another seed ({found['seed']})"
    inputs = found["inputs"] if isinstance(found.get("inputs"), dict) else {}
    references = sorted(inputs.keys() | identity.inputs.keys())
    changed = [name for name in references if inputs.get(name) != identity.inputs.get(name)]
    if changed:
        yield f"other inputs ({', '.join(changed)})"
    if found.get("layout_digest") != identity.layout_digest:
        yield "another layout of the output files"


def _foreign(folder: Path, differences: list[str]) -> Problem:
    return Problem(
        "the unfinished output is of another merge",
        str(folder),
        got=", ".join(differences),
        hint="discard it with --overwrite or by deleting that folder, or write to another folder",
    )


def clear_unfinished(folder: Path) -> None:
    """Remove everything from an unfinished output but its lock.

    Raises:
        OSError: something cannot be removed.
    """
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path.name != LOCK_NAME:
            path.unlink()
