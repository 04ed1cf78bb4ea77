"""`graphmerge push`: upload a finished output to the Hub."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from graphmerge import hub
from graphmerge.cli import options
from graphmerge.cli.say import say
from graphmerge.cli.verify import verified
from graphmerge.errors import InputError, Problem
from graphmerge.output import read_manifest

if TYPE_CHECKING:
    from graphmerge.output import Manifest

_Repository = Annotated[
    str, typer.Argument(metavar="ORGANISATION/NAME", help="Repository.", show_default=False)
]


def push(
    out: options.OutPath,
    repository: _Repository,
    private: Annotated[
        bool, typer.Option("--private", help="Make it private; refuse one that is public.")
    ] = False,
    revision: Annotated[
        str | None,
        typer.Option(
            metavar="BRANCH", help="Branch, made if there is none.", show_default="the default one"
        ),
    ] = None,
    message: Annotated[
        str | None, typer.Option(help="Message of the commit.", show_default="how OUT was made")
    ] = None,
) -> None:
    """Upload the model or adapter in OUT to the Hub, if every tensor is as it was written."""
    if not hub.is_repository(repository):
        raise InputError(Problem("not a repository", got=repository, wanted="ORGANISATION/NAME"))
    manifest = read_manifest(out)
    verified(out, manifest)
    url = hub.push(
        out.resolve(),
        repository,
        private=private,
        revision=revision,
        message=message or _message(manifest),
    )
    say(f"pushed {out} to {url}")


def _message(manifest: Manifest) -> str:
    if manifest.command:
        return f"Made by graphmerge {manifest.method}"
    return f"Merge by {manifest.method} (graphmerge)"
