"""What is installed, as the folders say in which installers put what they know of a package.

`importlib.metadata` knows all of it, and takes a tenth of the start of a command to import, for its
parser of e-mails. So it is asked only where folders do not answer.
"""

from __future__ import annotations

import re
import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from importlib.metadata import EntryPoint

_WHEEL = ".dist-info"


@cache
def installed_version(package: str) -> str:
    """The version of a package; `none` where it is not installed."""
    return _versions().get(_plain(package)) or _unusual_version(package)


@cache
def _versions() -> dict[str, str]:
    """Versions by the plain names of packages; of two that are installed that which is imported."""
    found: dict[str, str] = {}
    for folder in _folders():
        if folder.suffix == _WHEEL:
            name, _, version = folder.name.removesuffix(_WHEEL).partition("-")
            found.setdefault(_plain(name), version)
    return found


def _unusual_version(package: str) -> str:
    from importlib import metadata  # noqa: PLC0415 - see above

    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "none"


def entry_points(group: str) -> list[EntryPoint]:
    """What installed packages bring in an entry point group."""
    if not _may_be_brought(group):
        return []
    from importlib import metadata  # noqa: PLC0415 - as above

    return list(metadata.entry_points(group=group))


def _may_be_brought(group: str) -> bool:
    """Whether a package speaks of an entry point group, or is packed where folders say nothing."""
    packed = any(Path(place).is_file() for place in sys.path)
    return packed or any(group.encode() in _entry_points_text(folder) for folder in _folders())


def _entry_points_text(folder: Path) -> bytes:
    try:
        return (folder / "entry_points.txt").read_bytes()
    except OSError:
        return b""


def _folders() -> Iterator[Path]:
    """The folders of all packages, those of packages that are imported first before others."""
    return (folder for place in sys.path for folder in Path(place).glob("*.*-info"))


def _plain(name: str) -> str:
    """A name of a package, whose spellings are many."""
    return re.sub(r"[-_.]+", "-", name).lower()
