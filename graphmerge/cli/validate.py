"""`graphmerge validate`: check a recipe against the headers of its models."""

from __future__ import annotations

import typer

from graphmerge.cli import options
from graphmerge.cli.wording import counted
from graphmerge.pipeline import compile_recipe


def validate(recipe: options.RecipePath) -> None:
    """Check RECIPE and the headers of its models; every problem is named."""
    compiled = compile_recipe(recipe)
    graph = compiled.build.graph
    for warning in graph.warnings:
        typer.echo(f"warning: {warning}", err=True)
    typer.echo(
        f"{recipe}: valid; {compiled.method.name} of {counted(len(compiled.models), 'model')} "
        f"into {counted(len(graph.outputs), 'tensor')}"
    )
