"""The `graphmerge` command: its commands, and what becomes of errors."""

from __future__ import annotations

import gc
import logging
import os
import sys
from contextlib import contextmanager
from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from graphmerge.cli import exit_codes
from graphmerge.cli.say import SayingHandler, say
from graphmerge.cli.streams import prepare_streams, write_nowhere
from graphmerge.collection import paused_collection
from graphmerge.errors import GraphmergeError, MachineError, shortened

if TYPE_CHECKING:
    from collections.abc import Iterator

_CONTEXT = {"help_option_names": ["-h", "--help"]}
_COMMANDS = (
    "plan",
    "run",
    "verify",
    "push",
    "validate",
    "show",
    "inspect",
    "extract-lora",
    "merge-lora",
    "methods",
    "plugins",
    "calibrate",
)
"""Commands in the order of the help; each is the function of its name in the module of its name,
which is imported when the command is used: a command does not wait for what others need."""
_SHOWN_PROBLEMS = 50
"""A model of the wrong kind can have a problem in each of 50,000 tensors."""


class _Commands(TyperGroup):
    """Imports commands late; ends one that failed with a message instead of a traceback."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Names of the commands."""
        return list(_COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """A command by its name; None if there is no such command."""
        if cmd_name not in _COMMANDS:
            return None
        name = cmd_name.replace("-", "_")
        with paused_collection():  # what is imported stays
            function = getattr(import_module(f"graphmerge.cli.{name}"), name)
        alone = typer.Typer(add_completion=False, context_settings=_CONTEXT)
        alone.command(cmd_name)(function)
        return typer.main.get_command(alone)

    def make_context(self, *arguments: Any, **options: Any) -> Any:
        """Read the command line; `--help` and `--version` print and end here.

        Raises:
            Exit: what was asked for is done, or could not be printed.
        """
        with _failures_told():
            return super().make_context(*arguments, **options)

    def invoke(self, ctx: Any) -> Any:
        """Run the command.

        Raises:
            Exit: the command failed, with the exit code of the failure.
        """
        with _failures_told():
            return super().invoke(ctx)


@contextmanager
def _failures_told() -> Iterator[None]:
    """Tell a failure by a message instead of a traceback.

    Raises:
        Exit: something failed, with the exit code of the failure.
    """
    try:
        yield
        sys.stdout.flush()
    except GraphmergeError as error:
        for problem in shortened(error.problems, most=_SHOWN_PROBLEMS):
            say(f"error: {problem}", err=True)
        raise typer.Exit(error.exit_code) from None
    except SystemExit as error:  # an op of a plug-in: the command would end as if it were done
        say(f"error: code of a plug-in ends the process: sys.exit({error.code!r})", err=True)
        raise typer.Exit(GraphmergeError.exit_code) from None
    except BrokenPipeError:
        write_nowhere(sys.stdout.fileno())
        raise typer.Exit(exit_codes.BROKEN_PIPE) from None
    except OSError as error:
        where = f" @ {error.filename}" if error.filename else ""
        say(f"error: {error.strerror or error}{where}", err=True)
        raise typer.Exit(MachineError.exit_code) from None
    except KeyboardInterrupt:
        say("interrupted", err=True)
        raise typer.Exit(exit_codes.INTERRUPTED) from None


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings=_CONTEXT,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        say(f"graphmerge {version('graphmerge')}")
        raise typer.Exit


_Version = Annotated[
    bool,
    typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version."),
]


@app.callback()
def _root(_version: _Version = False) -> None:
    """Merge model checkpoints by a recipe, in a memory budget that is known beforehand."""


def main() -> None:
    """Entry point of the `graphmerge` script."""
    prepare_streams()
    logging.getLogger("graphmerge").addHandler(SayingHandler())
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # numpy's threads would only wait, spinning
    try:
        app()
    finally:
        gc.freeze()  # else the interpreter looks for cycles in a large plan before it ends
