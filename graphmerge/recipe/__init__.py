"""Recipes: YAML text to frozen values, checked against a method, evaluated per tensor."""

from graphmerge.recipe.check import ParameterCheck, check_parameters
from graphmerge.recipe.lookup import evaluate, layer_fraction
from graphmerge.recipe.parse import load_recipe, parse_recipe
from graphmerge.recipe.references import parse_reference, resolve_local
from graphmerge.recipe.signature import REQUIRED, MethodSignature, ParameterSpec, Required
from graphmerge.recipe.suggestions import suggest
from graphmerge.recipe.values import (
    Conditional,
    ModelReference,
    Module,
    ParameterValue,
    Recipe,
    Scalar,
    Slice,
    Source,
    TokenizerSettings,
    TokenKind,
    TokenSource,
)

__all__ = [
    "REQUIRED",
    "Conditional",
    "MethodSignature",
    "ModelReference",
    "Module",
    "ParameterCheck",
    "ParameterSpec",
    "ParameterValue",
    "Recipe",
    "Required",
    "Scalar",
    "Slice",
    "Source",
    "TokenKind",
    "TokenSource",
    "TokenizerSettings",
    "check_parameters",
    "evaluate",
    "layer_fraction",
    "load_recipe",
    "parse_recipe",
    "parse_reference",
    "resolve_local",
    "suggest",
]
