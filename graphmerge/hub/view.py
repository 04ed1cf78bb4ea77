"""A folder that stands for a repository: links into the cache, and stand-ins for the rest.

A stand-in has the size of its file and holds nothing, or the header of a safetensors file. It takes
no disk space, and everything that reads headers reads it like the file itself.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from huggingface_hub import hf_hub_download, try_to_load_from_cache

if TYPE_CHECKING:
    from graphmerge.hub.listing import Listing


class View:
    """The folder of one commit."""

    def __init__(self, listing: Listing, folder: Path) -> None:
        self.listing = listing
        self.folder = folder

    def lay_out(self) -> None:
        """Make a link or a stand-in of every file.

        Raises:
            OSError: the folder cannot be written.
        """
        for name, size_bytes in self.listing.sizes_bytes.items():
            path = self.folder / name
            if path.is_symlink() or path.exists():
                continue  # another revision that is the same commit
            path.parent.mkdir(parents=True, exist_ok=True)
            cached = try_to_load_from_cache(
                self.listing.repository, name, revision=self.listing.commit
            )
            if isinstance(cached, str):
                link(path, Path(cached))
            else:
                with path.open("xb") as stream:
                    stream.truncate(size_bytes)

    def is_missing(self, name: str) -> bool:
        """Whether there is only a stand-in."""
        return not (self.folder / name).is_symlink()

    def fetch(self, name: str) -> None:
        """Download a small file that is needed at once.

        Raises:
            Exception: whatever huggingface_hub raises.
        """
        if self.is_missing(name):
            listing = self.listing
            found = hf_hub_download(listing.repository, name, revision=listing.commit)
            link(self.folder / name, Path(found))


def link(path: Path, target: Path) -> None:
    """Make a path a link, whatever was there, in one step."""
    temporary = path.with_name(f".{path.name}.link")
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(target.absolute())
    temporary.replace(path)
