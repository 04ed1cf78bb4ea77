"""What files a repository has, by the Hub or by what its cache has."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import httpx
from attrs import field
from huggingface_hub import constants
from huggingface_hub.errors import OfflineModeIsEnabled
from huggingface_hub.file_download import repo_folder_name
from huggingface_hub.hf_api import RepoFile

from graphmerge.errors import InputError, Problem
from graphmerge.frozen_classes import frozen

if TYPE_CHECKING:
    from collections.abc import Mapping

    from huggingface_hub import HfApi


@frozen
class Listing:
    """The files of a commit."""

    repository: str
    """`organisation/name`."""
    commit: str
    """The commit."""
    sizes_bytes: Mapping[str, int] = field(hash=False)
    """Size of every file, by its path in the repository."""
    is_cache_alone: bool = False
    """Whether the Hub was not asked, so that there may be more files."""

    def __str__(self) -> str:
        return f"{self.repository}@{self.commit}"


def list_files(api: HfApi, repository: str, revision: str | None, commit: str | None) -> Listing:
    """The files of a revision; those of the cache where the Hub cannot be reached.

    Raises:
        InputError: the Hub cannot be reached, and the cache has nothing.
        Exception: whatever huggingface_hub raises.
    """
    found = commit or api.resolve_revision(repository, revision=revision).resolved
    try:
        entries = api.list_repo_tree(repository, revision=found, recursive=True)
        sizes = {
            one.path: one.size
            for one in entries
            if isinstance(one, RepoFile) and _is_inside(one.path)
        }
        return Listing(repository, found, sizes)
    except (httpx.TransportError, OfflineModeIsEnabled):
        cached = _cached(repository, found)
        if not cached:
            raise
        return Listing(repository, found, cached, is_cache_alone=True)


def _cached(repository: str, commit: str) -> dict[str, int]:
    folder = repo_folder_name(repo_id=repository, repo_type="model")
    snapshot = Path(constants.HF_HUB_CACHE) / folder / "snapshots" / commit
    files = (path for path in snapshot.rglob("*") if path.is_file())
    return {path.relative_to(snapshot).as_posix(): path.stat().st_size for path in files}


def _is_inside(name: str) -> bool:
    """Whether a path stays in its folder."""
    return ".." not in name.split("/") and not name.startswith("/") and "\\" not in name


def incomplete(listing: Listing, got: str) -> InputError:
    """The error for a model of which the cache has a part, and the Hub is out of reach."""
    hint = "run it again with the Hub in reach (without HF_HUB_OFFLINE): the rest is downloaded"
    what = "the cache has only a part of the model"
    return InputError(Problem(what, str(listing), got, hint=hint))
