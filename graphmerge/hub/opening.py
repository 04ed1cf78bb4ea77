"""Make a folder that a repository can be planned from, out of as few bytes as will do."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import asdict, evolve
from huggingface_hub import HfApi, hf_hub_url

from graphmerge.checkpoint.adapter import adapter_weights, is_adapter
from graphmerge.checkpoint.adapter_config import ADAPTER_CONFIG
from graphmerge.checkpoint.components import MODULES, PIPELINE, component_folders
from graphmerge.checkpoint.shards import (
    SAFETENSORS,
    TORCH_SUFFIXES,
    find_component_shards,
    find_shards,
)
from graphmerge.errors import CheckpointError, InputError, Problem
from graphmerge.hub.downloading import download
from graphmerge.hub.listing import incomplete, list_files
from graphmerge.hub.messages import Open, Opened, WantedFile
from graphmerge.hub.ranges import fetch_header
from graphmerge.hub.view import View
from graphmerge.units import format_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from graphmerge.hub.channel import Channel

_AT_ONCE = 8
"""Connections for small things."""
_PARTS = (PIPELINE, MODULES)
_CONFIGS = ("config.json", ADAPTER_CONFIG, *_PARTS)


def open_repository(request: Open, channel: Channel) -> dict[str, str]:
    """The commit and the folder of a repository: an `Opened`.

    Raises:
        InputError: the repository holds no model that can be planned.
        Exception: whatever huggingface_hub raises.
    """
    listing = list_files(HfApi(), request.repository, request.revision, request.commit)
    folder = Path(request.views) / listing.commit[:12] / request.repository
    view = View(listing, folder)
    view.lay_out()
    try:
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            list(pool.map(view.fetch, _small_files(view)))
            files = [file.relative_to(folder).as_posix() for file in _weights(folder)]
            missing = [name for name in files if view.is_missing(name)]
            headers = [name for name in missing if name.endswith(SAFETENSORS)]
            list(pool.map(lambda name: _write_header(view, name), headers))
    except CheckpointError as error:
        if listing.is_cache_alone:
            raise incomplete(listing, error.problems[0].what) from error
        raise InputError(*(_named(one, view) for one in error.problems)) from error
    _require(view, [name for name in missing if name not in headers], request, channel)
    return asdict(Opened(listing.commit, str(folder)))


def _small_files(view: View) -> list[str]:
    """The files that say which files hold the weights, and what these are."""
    names = view.listing.sizes_bytes
    depth = 1 if any(part in names for part in _PARTS) else 0
    return [
        name
        for name in names
        if name.count("/") <= depth
        and (name.split("/")[-1] in _CONFIGS or (".index." in name and name.endswith(".json")))
    ]


def _weights(folder: Path) -> tuple[Path, ...]:
    """The weight files that will be read for their headers.

    Raises:
        CheckpointError: there are none, or some are missing.
    """
    adapter = adapter_weights(folder)
    added = (adapter,) if (folder / ADAPTER_CONFIG).is_file() and adapter.is_file() else ()
    if added and is_adapter(folder):
        return added
    parts = component_folders(folder)
    if not parts:
        return (*added, *find_shards(folder).files)
    found = (find_component_shards(folder / part)[1].files for part in parts)
    return (*added, *(file for files in found for file in files))


def _write_header(view: View, name: str) -> None:
    listing = view.listing
    url = hf_hub_url(listing.repository, name, revision=listing.commit)
    header = fetch_header(url, listing.sizes_bytes[name])
    with (view.folder / name).open("r+b") as stream:
        stream.write(header)


def _require(view: View, names: Sequence[str], request: Open, channel: Channel) -> None:
    """Download weights that are known only as a whole, or refuse to.

    Raises:
        InputError: they must not be downloaded.
    """
    if not names:
        return
    listing = view.listing
    sizes = {name: listing.sizes_bytes[name] for name in names}
    if not request.fetches_weights:
        kind = "torch" if Path(names[0]).suffix in TORCH_SUFFIXES else Path(names[0]).suffix
        what = f"the model has {kind} files only, which must be downloaded to be planned"
        got = f"{len(names)} files, {format_bytes(sum(sizes.values()))}"
        hint = (
            "`graphmerge run` downloads them; or do it now, for all commands: "
            f"hf download {listing.repository} --revision {listing.commit}"
        )
        raise InputError(Problem(what, str(listing), got, hint=hint))
    channel.note(f"downloading {format_bytes(sum(sizes.values()))} of {listing.repository}")
    wanted = (
        WantedFile(listing.repository, listing.commit, name, str(view.folder / name), size)
        for name, size in sizes.items()
    )
    download(tuple(wanted), channel)


def _named(problem: Problem, view: View) -> Problem:
    """A problem that names the repository instead of the folder."""
    return evolve(problem, where=problem.where.replace(str(view.folder), str(view.listing)))
