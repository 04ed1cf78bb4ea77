"""`graphmerge show`: draw the graph of a recipe, repeated layers folded."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import typer
from attrs import asdict
from rich.tree import Tree

from graphmerge.cli import options
from graphmerge.cli.console import stdout_console
from graphmerge.cli.say import say, visible
from graphmerge.errors import InputError, Problem
from graphmerge.output.failures import write_errors
from graphmerge.pipeline import Compiled, compile_recipe
from graphmerge.reporting.dot import dot_text
from graphmerge.reporting.drawing import Drawing, FoldedNode, Group, fold_graph
from graphmerge.reporting.wording import counted

LONGEST_LINE = 100_000
"""Letters after which a tree wraps lines: never, so that names stay whole for searches."""
JSON_FORMAT_VERSION = 1
"""Raised when a field changes its meaning or goes away."""


def show(
    recipe: options.RecipePath,
    dot: Annotated[
        Path | None, typer.Option("--dot", metavar="FILE", help="Write it for Graphviz.")
    ] = None,
    svg: Annotated[
        Path | None, typer.Option("--svg", metavar="FILE", help="Write it as an SVG picture.")
    ] = None,
    as_json: options.Json = False,
    plugin: options.Plugins = None,
) -> None:
    """Draw how RECIPE is computed; layers and matrices that are computed alike are drawn once."""
    if sum((dot is not None, svg is not None, as_json)) > 1:
        raise InputError(Problem("more than one format", "--dot, --svg, --json", wanted="one"))
    options.load_plugins(plugin)
    compiled = compile_recipe(recipe)
    for warning in compiled.build.graph.warnings:
        say(f"warning: {warning}", err=True)
    drawing = fold_graph(compiled.build.graph)
    title = f"{compiled.recipe.origin}: {compiled.recipe.methods}"
    if as_json:
        typer.echo(json.dumps(_content(compiled, drawing), indent=2))
    elif dot is not None:
        _write(dot, dot_text(drawing, title), drawing)
    elif svg is not None:
        from graphmerge.reporting.svg import svg_text  # noqa: PLC0415 - networkx is slow to import

        _write(svg, svg_text(drawing, title), drawing)
    else:
        console = stdout_console()
        console.width = LONGEST_LINE
        for group in drawing.groups:
            console.print(_tree(group))


def _write(file: Path, text: str, drawing: Drawing) -> None:
    with write_errors(file):
        file.write_bytes(text.encode("utf-8", "replace"))
    say(f"wrote {file}: {counted(len(drawing.nodes), 'node')}")


def _content(compiled: Compiled, drawing: Drawing) -> dict[str, Any]:
    """What --json prints."""
    return {
        "format_version": JSON_FORMAT_VERSION,
        "recipe": compiled.recipe.origin,
        "methods": compiled.recipe.methods,
        "groups": [
            {
                "output": group.output,
                "patterns": [asdict(pattern) for pattern in group.patterns],
                "tensors": group.tensors,
                "reason": group.reason,
            }
            for group in drawing.groups
        ],
        "nodes": [asdict(node) for node in drawing.nodes],
        "edges": [
            {"from": edge.source, "to": edge.target, "position": edge.position}
            for edge in drawing.edges
        ],
    }


def _tree(group: Group) -> Tree:
    """How a group is computed; a node that is used twice is drawn once in full, with its id."""
    nodes = {node.id: node for node in group.nodes}
    inputs: dict[str, list[str]] = {name: [] for name in nodes}
    for edge in group.edges:
        inputs[edge.target].append(edge.source)
    uses = Counter(edge.source for edge in group.edges)
    tree = Tree("\n  ".join(map(visible, group.heading())))
    drawn: set[str] = set()
    stack = [(tree, group.output)]
    while stack:
        parent, name = stack.pop()
        label = _label(nodes[name]) + (f"  = {name}" if uses[name] > 1 else "")
        if name in drawn:
            parent.add(f"{name} (above)")
            continue
        drawn.add(name)
        branch = parent.add(visible(label))
        stack.extend((branch, value) for value in reversed(inputs[name]))
    return tree


def _label(node: FoldedNode) -> str:
    settings = f"({node.settings})" if node.settings else ""
    return f"{node.kind}{settings}  {node.spec}  {node.space}"
