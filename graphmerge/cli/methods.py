"""`graphmerge methods`: the merge methods and their parameters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from graphmerge.cli import options
from graphmerge.cli.console import stdout_console
from graphmerge.errors import InputError, Problem
from graphmerge.methods.base import BaseRule
from graphmerge.methods.registry import METHODS
from graphmerge.plugins import installed_plugins
from graphmerge.recipe.signature import REQUIRED
from graphmerge.recipe.suggestions import suggest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from graphmerge.methods.base import Method
    from graphmerge.recipe.signature import ParameterSpec


def methods(
    name: Annotated[
        str | None,
        typer.Argument(metavar="[NAME]", help="Show all about this method.", show_default=False),
    ] = None,
    plugin: options.Plugins = None,
) -> None:
    """List the merge methods, those of plug-ins included, or show all about one."""
    options.load_plugins(plugin)
    installed_plugins()  # those that fail are named by `graphmerge plugins`
    console = stdout_console()
    if name is None:
        console.print(_overview())
        return
    if name not in METHODS:
        wanted = "one of " + ", ".join(METHODS)
        raise InputError(
            Problem("unknown merge method", "NAME", name, wanted, suggest(name, METHODS))
        )
    for line in _description(METHODS[name]):
        console.print(line, soft_wrap=True)


def _overview() -> Table:
    table = Table("method", "what it does", "use it when", box=None, pad_edge=False)
    for method in METHODS.values():
        table.add_row(method.name, method.summary, method.use_when)
    return table


def _description(method: Method) -> Iterator[str]:
    yield f"{method.name}: {method.summary}"
    yield f"use it when  {method.use_when}"
    yield f"formula      {method.formula}"
    yield f"paper        {method.paper}"
    yield f"base model   {'needed' if method.base is BaseRule.REQUIRED else 'not needed'}"
    yield f"models       {_models(method)}"
    yield "parameters" if method.parameters else "parameters   none"
    for parameter in method.parameters:
        yield f"  {parameter.name}  ({_kind(parameter)}) {parameter.doc}"


def _models(method: Method) -> str:
    least, most = method.least_models, method.most_models
    span = str(least) if least == most else f"{least} to {most}"
    count = f"{least} or more" if most is None else span
    return f"{count}, the base included" if method.base is BaseRule.REQUIRED else count


def _kind(parameter: ParameterSpec) -> str:
    scope = "for each model" if parameter.per_model else "for the merge"
    default = parameter.default
    given = "required" if default is REQUIRED else f"default {str(default).lower()}"
    return f"{parameter.kind.__name__}, {scope}, {given}"
