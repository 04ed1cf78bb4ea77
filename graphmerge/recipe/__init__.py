"""Recipes: YAML text to frozen values, checked against a method, evaluated per tensor."""

from graphmerge.recipe.check import ParameterCheck, check_parameters
from graphmerge.recipe.graph_section import load_recipe_graph, parse_recipe_graph
from graphmerge.recipe.lookup import evaluate, layer_fraction
from graphmerge.recipe.parse import parse_recipe
from graphmerge.recipe.references import parse_reference, resolve_local
from graphmerge.recipe.signature import REQUIRED, MethodSignature, ParameterSpec, Required
from graphmerge.recipe.suggestions import suggest
from graphmerge.recipe.values import (
    Conditional,
    Entry,
    ModelReference,
    Module,
    ParameterValue,
    PerTensor,
    Recipe,
    RecipeGraph,
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
    "Entry",
    "MethodSignature",
    "ModelReference",
    "Module",
    "ParameterCheck",
    "ParameterSpec",
    "ParameterValue",
    "PerTensor",
    "Recipe",
    "RecipeGraph",
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
    "load_recipe_graph",
    "parse_recipe",
    "parse_recipe_graph",
    "parse_reference",
    "resolve_local",
    "suggest",
]
