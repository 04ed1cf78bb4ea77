"""Options of mergekit-yaml that `graphmerge run` does not need: accepted, with a note."""

from __future__ import annotations

import inspect
from functools import wraps
from typing import TYPE_CHECKING, Annotated, Any

import typer

from graphmerge.cli.say import say
from graphmerge.frozen_classes import frozen

if TYPE_CHECKING:
    from collections.abc import Callable

PANEL = "Accepted as mergekit-yaml has them, without effect"
"""Where the help lists them."""


@frozen
class Habit:
    """An option without effect."""

    declaration: str
    """As typer takes it: `--cuda/--no-cuda`."""
    why: str
    """Why it has no effect."""
    kind: type = bool
    """Type of its value; an int that is no value but a count has its default 0."""
    idle: object = False
    """The value that asks for nothing, and so needs no note."""

    @property
    def name(self) -> str:
        """Name of the parameter that holds its value."""
        return self.declaration.split("/")[0].removeprefix("--").replace("-", "_")

    def note(self, value: object) -> str:
        """What the user is told who gave it."""
        on, _, off = self.declaration.partition("/")
        return f"note: {off if value is False else on} has no effect: {self.why}"

    def parameter(self) -> inspect.Parameter:
        """The parameter of a command that accepts it."""
        option = typer.Option(
            self.declaration,
            *(["-v"] if self.name == "verbose" else []),
            help=f"{self.why[0].upper()}{self.why[1:]}.",
            show_default=False,
            rich_help_panel=PANEL,
            count=self.kind is int and self.idle == 0,
        )
        kind: Any = self.kind if self.idle is not None else self.kind | None
        return inspect.Parameter(
            self.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=self.idle,
            annotation=Annotated[kind, option],
        )


HABITS = (
    Habit(
        "--allow-crimes/--no-allow-crimes",
        "tensors are compared by name and shape, and names of architectures are not",
    ),
    Habit("--trust-remote-code/--no-trust-remote-code", "no code of a model is ever run"),
    Habit("--lazy-unpickle/--no-lazy-unpickle", "torch files are always read lazily"),
    Habit("--low-cpu-memory/--no-low-cpu-memory", "use --memory-budget to say how much to take"),
    Habit("--read-to-gpu/--no-read-to-gpu", "use --device to say where to compute"),
    Habit("--multi-gpu/--no-multi-gpu", "use --device to say where to compute"),
    Habit("--async-write/--no-async-write", "reading, computing and writing always overlap"),
    Habit("--write-threads", "use --workers to say how many threads there are", int, None),
    Habit("--clone-tensors/--no-clone-tensors", "every tensor of the output is stored in full"),
    Habit(
        "--safe-serialization/--no-safe-serialization",
        "outputs are always safetensors",
        idle=True,
    ),
    Habit("--lora-merge-cache", "adapters are added while they are read", str, None),
    Habit("--lora-merge-dtype", "adapters are added in float32 or better", str, None),
    Habit("--transformers-cache", "set HF_HOME to say where downloads are", str, None),
    Habit("--verbose", "use `graphmerge plan --verbose` to see every tensor", int, 0),
)


def accept_habits(command: Callable[..., None]) -> Callable[..., None]:
    """The command with every one of `HABITS` as an option; what is given is told, unless quiet."""

    @wraps(command)
    def accepting(**values: Any) -> None:
        given = [(habit, values.pop(habit.name)) for habit in HABITS]
        for habit, value in given:
            if value != habit.idle and not values.get("quiet"):
                say(habit.note(value), err=True)
        command(**values)

    own = inspect.signature(command, eval_str=True)  # typer evaluates only what it looks up itself
    everything = [*own.parameters.values(), *(habit.parameter() for habit in HABITS)]
    keyword_only = [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in everything]
    accepting.__signature__ = own.replace(parameters=keyword_only)  # type: ignore[attr-defined]
    accepting.__annotations__ = {one.name: one.annotation for one in everything}
    return accepting
