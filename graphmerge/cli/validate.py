"""`graphmerge validate`: check a recipe against the headers of its models."""

from __future__ import annotations

from graphmerge.cli import options
from graphmerge.cli.say import say
from graphmerge.pipeline import compile_recipe
from graphmerge.reporting.wording import counted


def validate(recipe: options.RecipePath, plugin: options.Plugins = None) -> None:
    """Check RECIPE and the headers of its models; every problem is named."""
    options.load_plugins(plugin)
    compiled = compile_recipe(recipe)
    graph = compiled.build.graph
    for warning in graph.warnings:
        say(f"warning: {warning}", err=True)
    for note in graph.notes:
        say(f"note: {note}")
    models = len(compiled.models) - len(compiled.recipe.statistics())
    say(
        f"{recipe}: valid; {compiled.recipe.methods} of {counted(models, 'model')} "
        f"into {counted(len(graph.outputs), 'tensor')}"
    )
