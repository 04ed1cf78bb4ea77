"""Recipes back to YAML: what `parse_recipe_graph` reads into the same values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml

from graphmerge.errors import Problem, RecipeError
from graphmerge.recipe.values import Conditional, PerTensor

if TYPE_CHECKING:
    from collections.abc import Mapping

    from graphmerge.recipe.values import (
        ModelReference,
        Module,
        ParameterValue,
        Recipe,
        RecipeGraph,
        Slice,
        Source,
    )


def write_recipe(recipes: RecipeGraph) -> str:
    """The YAML of a recipe, or of a `graph:` where there are several entries.

    Raises:
        RecipeError: a parameter is a function, for which YAML has no form.
    """
    entries = recipes.needed()
    if len(entries) == 1 and not entries[0].recipe.is_operation:
        return _dump(_recipe(entries[0].recipe))
    graph = {
        entry.name: _operation(entry.recipe) if entry.recipe.is_operation else _recipe(entry.recipe)
        for entry in entries
    }
    return _dump({"graph": graph, "output": recipes.output})


def _dump(content: Mapping[str, Any]) -> str:
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True)


def _recipe(recipe: Recipe) -> dict[str, Any]:
    content: dict[str, Any] = {"merge_method": recipe.merge_method}
    if [module.name for module in recipe.modules] == [None]:
        content |= _module(recipe.modules[0])
    else:
        content["modules"] = {str(module.name): _module(module) for module in recipe.modules}
    if recipe.base_model:
        content["base_model"] = _reference(recipe.base_model)
    return content | _parameters(recipe.parameters) | _dtypes(recipe)


def _dtypes(recipe: Recipe) -> dict[str, Any]:
    given = {"dtype": recipe.dtype, "out_dtype": recipe.out_dtype}
    return {key: dtype.torch_name for key, dtype in given.items() if dtype}


def _operation(recipe: Recipe) -> dict[str, Any]:
    (module,) = recipe.modules
    (part,) = module.slices
    content: dict[str, Any] = {
        "op": recipe.merge_method,
        "inputs": [_reference(source.model) for source in part.sources],
    }
    weights = [source.parameters.get("weight") for source in part.sources]
    if any(weights):
        content["weights"] = [_value(weight) if weight else 1.0 for weight in weights]
    for name, value in recipe.parameters.items():
        if name == "other" and all(candidate.value is True for candidate in value):
            content["tensors"] = [candidate.filter or "*" for candidate in value]
        else:
            content[name] = _value(value)
    if recipe.out_dtype:
        content["dtype"] = recipe.out_dtype.torch_name
    return content


def _module(module: Module) -> dict[str, Any]:
    if module.is_whole_model:
        content: dict[str, Any] = {"models": [_source(s) for s in module.slices[0].sources]}
    else:
        content = {"slices": [_slice(part) for part in module.slices]}
    return content | _parameters(module.parameters)


def _slice(part: Slice) -> dict[str, Any]:
    content: dict[str, Any] = {"sources": [_source(source) for source in part.sources]}
    if part.base_model:
        content["base_model"] = _reference(part.base_model)
    return content | _parameters(part.parameters)


def _source(source: Source) -> dict[str, Any]:
    content: dict[str, Any] = {"model": _reference(source.model)}
    if source.layer_range:
        content["layer_range"] = list(source.layer_range)
    return content | _parameters(source.parameters)


def _reference(reference: ModelReference) -> Any:
    if reference.override_architecture is None:
        return str(reference)
    base = str(reference)
    return {"model": base, "override_architecture": reference.override_architecture}


def _parameters(parameters: Mapping[str, ParameterValue]) -> dict[str, Any]:
    values = {name: _value(value) for name, value in parameters.items()}
    return {"parameters": values} if values else {}


def _value(value: ParameterValue) -> Any:
    if len(value) == 1 and value[0].filter is None:
        return _points(value[0])
    return [{"filter": candidate.filter or "*", "value": _points(candidate)} for candidate in value]


def _points(candidate: Conditional) -> Any:
    value = candidate.value
    if isinstance(value, PerTensor):
        what = f"the function {value.name} cannot be written into a recipe"
        raise RecipeError(Problem(what, hint="give numbers, a gradient, or filters instead"))
    return list(value) if isinstance(value, tuple) else value
