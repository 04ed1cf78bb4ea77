"""Which parameters a merge method has."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Literal, TypeAlias

from graphmerge.frozen_classes import frozen

if TYPE_CHECKING:
    from graphmerge.recipe.values import Scalar

Kind: TypeAlias = "type[float] | type[int] | type[bool] | type[str]"
"""What the values of a parameter are."""


class Required(Enum):
    """The type of `REQUIRED`."""

    REQUIRED = "required"


REQUIRED: Literal[Required.REQUIRED] = Required.REQUIRED
"""Stands in place of a default where the recipe must give the value."""


@frozen
class ParameterSpec:
    """One parameter of a method."""

    name: str
    """Its key in recipes."""
    kind: Kind
    """float, int, bool or str."""
    default: Scalar | Required
    """Value where the recipe gives none."""
    per_model: bool
    """Whether each input has its own value (`weight`), or the method has one (`normalize`)."""
    doc: str
    """What it does, in one sentence."""
    choices: tuple[str, ...] = ()
    """All allowed values of a str parameter, where empty allows any. For a bool one: values that it
    has beside true and false."""


@frozen
class MethodSignature:
    """A method as the checks of a recipe see it."""

    name: str
    """Its name in recipes."""
    parameters: tuple[ParameterSpec, ...]
    """All its parameters."""
