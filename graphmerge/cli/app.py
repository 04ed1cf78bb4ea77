"""The `graphmerge` command: its commands, and what becomes of errors."""

from __future__ import annotations

import os
import sys
from importlib.metadata import version
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from graphmerge.cli import exit_codes
from graphmerge.cli.calibrate import calibrate
from graphmerge.cli.inspect import inspect
from graphmerge.cli.methods import methods
from graphmerge.cli.plan import plan
from graphmerge.cli.plugins import plugins
from graphmerge.cli.run import run
from graphmerge.cli.show import show
from graphmerge.cli.validate import validate
from graphmerge.cli.verify import verify
from graphmerge.errors import GraphmergeError

if TYPE_CHECKING:
    from collections.abc import Callable


class _Commands(TyperGroup):
    """Ends a command that failed with a message instead of a traceback."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command.

        Raises:
            Exit: the command failed, with the exit code of the failure.
        """
        try:
            return super().invoke(ctx)
        except GraphmergeError as error:
            for problem in error.problems:
                typer.echo(f"error: {problem}", err=True)
            raise typer.Exit(error.exit_code) from None
        except KeyboardInterrupt:
            typer.echo("interrupted", err=True)
            raise typer.Exit(exit_codes.INTERRUPTED) from None
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(exit_codes.BROKEN_PIPE) from None


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"graphmerge {version('graphmerge')}")
        raise typer.Exit


_Version = Annotated[
    bool,
    typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version."),
]


@app.callback()
def _root(_version: _Version = False) -> None:
    """Merge model checkpoints by a recipe, in a memory budget that is known beforehand."""


_COMMANDS: tuple[Callable[..., None], ...] = (
    plan,
    run,
    verify,
    validate,
    show,
    inspect,
    methods,
    plugins,
    calibrate,
)
for _command in _COMMANDS:
    app.command()(_command)


def main() -> None:
    """Entry point of the `graphmerge` script."""
    app()
