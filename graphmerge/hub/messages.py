"""What the two processes say to each other, a line of JSON each.

The merging process asks, one request after the other. The answer is any number of events, the last
of them `Done` or `Failed`.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, TypeAlias, get_args

from graphmerge.errors import Problem  # noqa: TC001 - cattrs reads the types of the fields
from graphmerge.frozen_classes import frozen

if TYPE_CHECKING:
    from cattrs.preconf.json import JsonConverter


@frozen
class Open:
    """Make a folder that a repository can be planned from; the answer is an `Opened`."""

    repository: str
    """`organisation/name`."""
    revision: str | None
    """Branch, tag or commit; None for the default branch."""
    commit: str | None
    """The commit to use, where it is known."""
    views: str
    """Where folders of repositories are made."""
    fetches_weights: bool
    """Whether weights may be downloaded that say only as a whole what is in them."""


@frozen
class Opened:
    """What was made."""

    commit: str
    """The commit."""
    folder: str
    """The folder: links into the cache, and stand-ins for what is not there."""


@frozen
class WantedFile:
    """A file to download."""

    repository: str
    """`organisation/name`."""
    commit: str
    """The commit."""
    name: str
    """Its path in the repository."""
    path: str
    """Its stand-in, which becomes a link to it."""
    size_bytes: int
    """Its size."""


@frozen
class Download:
    """Download files into the cache."""

    files: tuple[WantedFile, ...]
    """The files."""


@frozen
class Push:
    """Upload a folder; the answer is the URL of the commit."""

    folder: str
    """The folder."""
    repository: str
    """`organisation/name`; made if there is none."""
    private: bool
    """Whether it must be private."""
    revision: str | None
    """Branch, made if there is none; None for the default branch."""
    message: str
    """Message of the commit."""


@frozen
class Progressed:
    """Bytes were downloaded; fewer than none where some have to be downloaded again."""

    size_bytes: int
    """How many."""


@frozen
class Noted:
    """Something that the user should know, such as why it takes long."""

    text: str
    """What it is."""


@frozen
class Done:
    """The request was fulfilled."""

    value: Any = None
    """What was asked for, if anything."""


@frozen
class Failed:
    """The request was not fulfilled."""

    exit_code: int
    """1 for the machine or the network, 2 for the user's input."""
    problems: tuple[Problem, ...]
    """Why."""


Message: TypeAlias = Open | Download | Push | Progressed | Noted | Done | Failed
_KINDS: dict[str, type[Any]] = {kind.__name__: kind for kind in get_args(Message)}


def to_line(message: Message) -> str:
    """A message as a line."""
    converter = _converter()
    return converter.dumps([type(message).__name__, converter.unstructure(message)]) + "\n"


def from_line(line: str) -> Any:
    """The message of a line."""
    converter = _converter()
    name, content = converter.loads(line, list[Any])
    return converter.structure(content, _KINDS[name])


@cache
def _converter() -> JsonConverter:
    from cattrs.preconf.json import make_converter  # noqa: PLC0415 - merges of folders need none

    return make_converter()
