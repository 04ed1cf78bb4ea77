"""Where the files of a model reference are: a local path, or a repository of the Hub."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import evolve, field

from graphmerge.checkpoint.adapter import read_adapter
from graphmerge.checkpoint.card import card_files
from graphmerge.errors import GraphmergeError, InputError, Problem
from graphmerge.frozen_classes import frozen
from graphmerge.hub import download, is_repository, open_repository, told_as
from graphmerge.plugins.readers import read_any_checkpoint
from graphmerge.recipe.references import parse_reference, resolve_local

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractContextManager

    from graphmerge.checkpoint.adapter import Adapter
    from graphmerge.checkpoint.values import Checkpoint, HubOrigin
    from graphmerge.recipe.values import ModelReference


@frozen
class HubUse:
    """How models of the Hub are opened."""

    fetches_weights: bool = False
    """Whether weights may be downloaded that say only as a whole what is in them: torch files."""
    commits: Mapping[str, str] = field(factory=dict, hash=False)
    """Commits to use, by `organisation/name@revision`: those of the run that is continued."""


PLANNING = HubUse()
"""Nothing is downloaded but headers and small files."""
LOADING = HubUse(fetches_weights=True)
"""Weights will be read in any case."""


@frozen
class Place:
    """Where the files of a model are."""

    path: Path
    """The folder or file."""
    origin: HubOrigin | None = None
    """The commit that they are of; None for files of this machine."""

    def checkpoint(self) -> Checkpoint:
        """The model, by its headers.

        Raises:
            InputError: it is not what it should be.
            MachineError: a file cannot be read.
        """
        with self._told():
            return self._of_commit(read_any_checkpoint(self.path))

    def adapter(self) -> Adapter:
        """The adapter, by its headers.

        Raises:
            CheckpointError: it is none.
            MachineError: a file cannot be read.
        """
        with self._told():
            found = read_adapter(self.path)
        return evolve(found, checkpoint=self._of_commit(found.checkpoint))

    def _of_commit(self, found: Checkpoint) -> Checkpoint:
        return evolve(found, origin=self.origin) if self.origin else found

    def _told(self) -> AbstractContextManager[None]:
        return told_as(self.origin) if self.origin else nullcontext()


def find_place(reference: ModelReference, folder: Path, hub: HubUse = PLANNING) -> Place:
    """Where the files of a reference's model are; those of its adapter are elsewhere.

    A path that exists comes before a repository of the same name.

    Args:
        reference: As recipes have it.
        folder: Where relative paths may start, beside the working directory.
        hub: How models of the Hub are opened.

    Raises:
        InputError: there is neither a path nor a repository.
        MachineError: the Hub cannot be reached.
    """
    path = resolve_local(reference, folder)
    if path is not None:
        return Place(path)
    if not is_repository(reference.path):
        hint = "models of the Hub are called ORGANISATION/NAME"
        raise InputError(Problem("no such local folder", str(reference), hint=hint))
    commit = hub.commits.get(f"{reference.path}@{reference.revision or 'main'}")
    try:
        origin = open_repository(
            reference.path, reference.revision, commit=commit, fetches_weights=hub.fetches_weights
        )
    except GraphmergeError as error:
        raise type(error)(
            *(_no_folder(problem, reference) for problem in error.problems)
        ) from error
    return Place(origin.folder, origin)


def _no_folder(problem: Problem, reference: ModelReference) -> Problem:
    """Say that a path was not found, either: it may be that one was meant."""
    if "local folder" in problem.what:
        return problem
    hint = f"there is no local folder {reference.path} either"
    return evolve(problem, hint="; ".join(filter(None, (problem.hint, hint))))


def read_named(text: str) -> Checkpoint:
    """The checkpoint that a path or the name of a repository stands for, by its headers.

    Raises:
        InputError: there is none, or it is not what it should be.
        MachineError: a file cannot be read, or the Hub cannot be reached.
    """
    return _named(text, PLANNING).checkpoint()


def load_named(text: str) -> Checkpoint:
    """The same with weights and model card on this machine; those of the Hub are downloaded.

    Raises:
        InputError: there is none, or it is not what it should be.
        MachineError: a file cannot be read, the Hub cannot be reached, or the disk is full.
    """
    found = _named(text, LOADING).checkpoint()
    _download(found)
    return found


def load_named_adapter(text: str) -> Adapter:
    """The adapter that a path or a repository's name stands for, its files on this machine.

    Raises:
        InputError: there is none, or it is not what it should be.
        MachineError: a file cannot be read, the Hub cannot be reached, or the disk is full.
    """
    found = _named(text, LOADING).adapter()
    _download(found.checkpoint)
    return found


def _named(text: str, hub: HubUse) -> Place:
    reference = parse_reference(text, recipe_folder=None)
    if reference.lora is None and is_repository(reference.path):
        return find_place(reference, Path(), hub)
    return Place(Path(text))


def _download(checkpoint: Checkpoint) -> None:
    """Download weights and model card."""
    origin = checkpoint.origin
    if origin:
        files = (*checkpoint.files, *card_files(origin.folder))
        download((origin, file) for file in files)
