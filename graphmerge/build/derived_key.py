"""What a model that a merge makes is known by: its random masks depend on it."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from enum import Enum
from typing import TYPE_CHECKING, Any

import attrs
import xxhash

from graphmerge.recipe.values import ModelReference, PerTensor

if TYPE_CHECKING:
    from graphmerge.build.matching import Models
    from graphmerge.recipe.values import Recipe

_SAME_MASKS = ("task-vector", "scale", "where", "cast")
"""Operations that keep entries in their places: their result gets the masks of their first input.
So does `sparsify`, but a second one draws anew."""
_NOT_OF_TENSORS = ("chat_template",)
"""Keys of a recipe on which no tensor depends."""


def derived_key(recipe: Recipe, models: Models) -> str:
    """What says how a model is made: by which recipe from which models, whatever they are called.

    It is a hash of what the recipe says that is not the default, so that keys which later versions
    know change nothing. An operation that keeps entries in their places has the key of its first
    input, so that a mask for the task vector of a model is the same wherever it is drawn.

    Args:
        recipe: The recipe.
        models: Every model that it speaks of, its first input first.
    """
    if recipe.is_operation and recipe.merge_method in _SAME_MASKS:
        return next(iter(models.values())).key
    said = _said(recipe, {reference: model.key for reference, model in models.items()})
    for key in _NOT_OF_TENSORS:
        said.pop(key, None)
    return xxhash.xxh3_64_hexdigest(json.dumps(said, sort_keys=True).encode())


def _said(value: Any, keys: Mapping[ModelReference, str]) -> Any:
    """A value of a recipe as JSON has it, of objects only what is not the default."""
    if isinstance(value, ModelReference):
        return {"model": keys.get(value, str(value))}
    if isinstance(value, PerTensor):
        return {"function": value.name}
    if attrs.has(type(value)):
        fields = (one for one in attrs.fields(type(value)) if one.eq)
        given = {one.name: getattr(value, one.name) for one in fields if not _is_left(one, value)}
        return _said(given, keys)
    if isinstance(value, Mapping):
        return {name: _said(part, keys) for name, part in value.items()}
    if isinstance(value, tuple):
        return [_said(part, keys) for part in value]
    if isinstance(value, Enum):
        return value.value
    if type(value) is int and value.bit_length() < sys.float_info.max_exp:  # else no float has it
        return float(value)
    return value


def _is_left(one: attrs.Attribute[Any], value: Any) -> bool:
    """Whether a field has its default: whether it is said does not matter then."""
    default: Any = one.default
    if type(default) is attrs.Factory:
        default = default.factory()
    return bool(getattr(value, one.name) == default)
