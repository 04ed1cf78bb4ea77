"""Expressions to recipes and back."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from graphmerge.errors import GraphError, Problem
from graphmerge.expressions.arguments import as_path
from graphmerge.expressions.expression import Expression, expression, placeholder
from graphmerge.expressions.loading import as_expression, stored
from graphmerge.recipe.graph_section import load_recipe_graph, parse_recipe_graph, renamed
from graphmerge.recipe.values import (
    Entry,
    ModelReference,
    Module,
    Recipe,
    RecipeGraph,
    Slice,
    Source,
)
from graphmerge.recipe.writing import write_recipe

if TYPE_CHECKING:
    from collections.abc import Mapping

    from graphmerge.build.models import Model
    from graphmerge.expressions.loading import Input


def to_recipe(value: Input) -> str:
    """The YAML recipe of an expression; `from_recipe` gives the same graph again.

    Relative paths of models stay as they were given.

    Raises:
        GraphError: two checkpoints would have the same name in it.
        RecipeError: a parameter is a function.
    """
    given = as_expression(value, "value of to_recipe")
    stored_models(given)
    return write_recipe(recipe_graph(given))


def from_recipe(recipe: str | Path) -> Expression:
    """The expression of a recipe: of a file (a path), or of YAML text.

    Raises:
        InputError: the recipe or one of its models is not right.
    """
    path = as_path(recipe, "recipe of from_recipe")
    if isinstance(recipe, Path) or "\n" not in recipe:
        return _expression(load_recipe_graph(path), path.parent)
    return _expression(parse_recipe_graph(recipe, recipe_folder=Path.cwd()), Path.cwd())


def recipe_graph(value: Expression) -> RecipeGraph:
    """The recipe graph of an expression, its entries named by what they do and numbered.

    That of a checkpoint copies it.
    """
    order = _postorder(value)
    derived = [item for item in order if item._recipe is not None]
    if not derived:
        part = Slice((Source(value._model.reference),))
        copied = Recipe("passthrough", (Module(None, (part,), is_whole_model=True),))
        return RecipeGraph((Entry("", copied),), "")
    taken = {str(item._model.reference) for item in order if item._recipe is None}
    names = _names(derived, taken)
    references = {
        item: ModelReference(names[item]) if item in names else item._model.reference
        for item in order
    }
    entries = tuple(
        Entry(names[item], renamed(item._recipe, _placeholders(item, references)))
        for item in derived
        if item._recipe is not None
    )
    if len(entries) == 1 and not entries[0].recipe.is_operation:
        entries = (Entry("", entries[0].recipe),)
    return RecipeGraph(entries, entries[-1].name)


def stored_models(value: Expression) -> dict[ModelReference, Model]:
    """The checkpoints that an expression is made from.

    Raises:
        GraphError: relative paths, taken from different folders, name different ones alike.
    """
    found: dict[ModelReference, Model] = {}
    for model in (item._model for item in _postorder(value) if item._recipe is None):
        first = found.setdefault(model.reference, model)
        if first.checkpoint.path.resolve() != model.checkpoint.path.resolve():
            places = f"{first.checkpoint.path.resolve()} and {model.checkpoint.path.resolve()}"
            what = f"two checkpoints are called {model.label!r}"
            raise GraphError(Problem(what, repr(value), places, hint="load one by its full path"))
    return found


def _placeholders(
    item: Expression, references: Mapping[Expression, ModelReference]
) -> dict[ModelReference, ModelReference]:
    return {placeholder(i): references[value] for i, value in enumerate(item._inputs)}


def _postorder(root: Expression) -> list[Expression]:
    """Every expression below, inputs before users, each once."""
    order: dict[Expression, None] = {}
    stack = [(root, False)]
    while stack:
        value, expanded = stack.pop()
        if value in order:
            continue
        if expanded:
            order[value] = None
        else:
            stack.append((value, True))
            stack.extend((part, False) for part in reversed(value._inputs))
    return list(order)


def _names(derived: list[Expression], taken: set[str]) -> dict[Expression, str]:
    names: dict[Expression, str] = {}
    numbers: dict[str, int] = {}
    for value in derived:
        assert value._recipe is not None, "only what a recipe makes has a name"
        kind = value._recipe.merge_method
        name = ""
        while not name or name in taken:
            numbers[kind] = numbers.get(kind, 0) + 1
            name = f"{kind}-{numbers[kind]}"
        names[value] = name
    return names


def _expression(recipes: RecipeGraph, folder: Path) -> Expression:
    made: dict[ModelReference, Expression] = {
        reference: stored(reference, folder) for reference in recipes.stored()
    }
    for entry in recipes.needed():
        inputs = entry.references()
        names = {reference: placeholder(index) for index, reference in enumerate(inputs)}
        recipe = renamed(entry.recipe, names)
        text = entry.name or f"merge({entry.recipe.merge_method!r}, {[str(i) for i in inputs]})"
        parts = tuple(made[reference] for reference in inputs)
        made[ModelReference(entry.name)] = expression(recipe, parts, text)
    return made[ModelReference(recipes.output)]
