"""Checkpoints as expressions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from graphmerge.compilation import open_stored
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


def as_expression(value: Input) -> Expression:
    """An expression as it is, a checkpoint by its headers."""
    return value if isinstance(value, Expression) else load(value)
