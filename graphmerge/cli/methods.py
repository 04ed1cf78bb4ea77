"""`graphmerge methods`: the merge methods and their parameters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from graphmerge.cli import options
from graphmerge.cli.console import stdout_console
from graphmerge.errors import InputError, Problem
from graphmerge.methods.base import BaseRule, Group
from graphmerge.methods.registry import METHODS
from graphmerge.plugins.readers import installed_plugins
from graphmerge.recipe.signature import REQUIRED
from graphmerge.recipe.suggestions import suggest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from graphmerge.methods.base import Method
    from graphmerge.recipe.signature import ParameterSpec

_BASE = {
    BaseRule.NONE: "not needed",
    BaseRule.OPTIONAL: "optional",
    BaseRule.REQUIRED: "needed",
}

_COLUMNS = {"method": 0, "models": 100, "base": 100, "use it when": 0, "paper": 140}
"""Columns of the overview, and the least width of the terminal for each."""


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
    console = stdout_console(wraps=True)
    if name is None:
        console.print(_overview(console.width))
        return
    if name not in METHODS:
        wanted = "one of " + ", ".join(METHODS)
        raise InputError(
            Problem("unknown merge method", "NAME", name, wanted, suggest(name, METHODS))
        )
    for line in _description(METHODS[name]):
        console.print(line, soft_wrap=True)


def _overview(width: int) -> Table:
    """Every method by group; narrow terminals get fewer columns, so that few lines are wrapped."""
    columns = [column for column, least in _COLUMNS.items() if width >= least]
    table = Table(*columns, box=None, pad_edge=False)
    for group in Group:
        listed = [method for method in METHODS.values() if method.group is group]
        if listed:
            table.add_row()
            table.add_row(f"{group.value}:", style="bold")
        for method in listed:
            cells = _cells(method)
            table.add_row(*(cells[column] for column in columns))
    return table


def _cells(method: Method) -> dict[str, str]:
    return {
        "method": method.name,
        "models": _count(method),
        "base": method.base.value,
        "use it when": method.use_when or method.summary,
        "paper": method.paper,
    }


def _description(method: Method) -> Iterator[str]:
    yield f"{method.name}: {method.summary}"
    yield f"use it when  {method.use_when}"
    yield f"formula      {method.formula}"
    yield f"paper        {method.paper}"
    yield f"base model   {_BASE[method.base]}"
    yield f"models       {_models(method)}"
    yield "parameters" if method.parameters else "parameters   none"
    for parameter in method.parameters:
        yield f"  {parameter.name}  ({_kind(parameter)}) {parameter.doc}"


def _models(method: Method) -> str:
    count = _count(method)
    return f"{count}, the base included" if method.base is BaseRule.REQUIRED else count


def _count(method: Method) -> str:
    least, most = method.least_models, method.most_models
    span = str(least) if least == most else f"{least} to {most}"
    return f"{least} or more" if most is None else span


def _kind(parameter: ParameterSpec) -> str:
    scope = "for each model" if parameter.per_model else "for the merge"
    default = parameter.default
    given = "required" if default is REQUIRED else f"default {str(default).lower()}"
    return f"{parameter.kind.__name__}, {scope}, {given}"
