"""Checkpoints as expressions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from graphmerge.compilation import open_stored
from graphmerge.expressions.arguments import as_list, as_path, wrong_argument
from graphmerge.expressions.expression import Expression
from graphmerge.recipe.references import parse_reference

if TYPE_CHECKING:
    from graphmerge.recipe.values import ModelReference

Input: TypeAlias = "Expression | str | Path"
"""An expression, or where a checkpoint is."""


def load(model: str | Path) -> Expression:
    """A checkpoint, by its headers; a relative path starts at the working directory.

    Args:
        model: A folder or file, as recipes name it.

    Raises:
        InputError: there is no such checkpoint, or its headers are not right.
        MachineError: a file cannot be read.
    """
    folder = Path.cwd()
    as_path(model, "model of load")
    reference = parse_reference(str(model), recipe_folder=folder)
    return stored(reference, folder)


def stored(reference: ModelReference, folder: Path) -> Expression:
    """The checkpoint of a reference; relative paths may start in the folder, too.

    Its files are found again wherever the working directory is by then.
    """
    model = open_stored(reference, folder, absolute=True)
    name = Path(reference.path).name or str(reference)
    adapter = f"+{Path(reference.lora.path).name}" if reference.lora else ""
    return Expression(None, (), model, name + adapter)


def as_expression(value: object, where: str) -> Expression:
    """An expression as it is, a checkpoint by its headers: what every function takes for a model.

    Args:
        value: The argument.
        where: Which one of which function.

    Raises:
        InputError: it is neither, or there is no such checkpoint.
    """
    if isinstance(value, Expression):
        return value
    if isinstance(value, (str, Path)):
        return load(value)
    wanted = "an expression, or where a checkpoint is, as text or as a Path"
    raise wrong_argument(value, where, wanted)


def as_expressions(values: object, where: str) -> list[Expression]:
    """A list of what `as_expression` takes. Raises InputError as it does."""
    items = as_list(values, where, "a list of models")
    return [as_expression(item, f"{where}, item {index}") for index, item in enumerate(items)]
