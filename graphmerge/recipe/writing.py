"""Recipes back to YAML: what `parse_recipe_graph` reads into the same values."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import yaml

from graphmerge.errors import Problem, RecipeError
from graphmerge.recipe.sections import WHOLE_MODEL
from graphmerge.recipe.values import Conditional, PerTensor, TokenKind

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
        TokenizerSettings,
        TokenSource,
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
    template = recipes.final.chat_template if recipes.final.is_operation else None
    return _dump(
        {"graph": graph, "output": recipes.output}
        | ({"chat_template": template} if template is not None else {})
    )


class _Dumper(yaml.SafeDumper):
    """Quotes texts that recipes read as numbers and YAML 1.1 does not, such as `08` and `-.5`."""


_Dumper.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?[0-9.]+(?:[eE][-+]?[0-9]+)?\Z"),
    list("-+.0123456789"),
)


def _dump(content: Mapping[str, Any]) -> str:
    return yaml.dump(content, Dumper=_Dumper, sort_keys=False, allow_unicode=True)


def _recipe(recipe: Recipe) -> dict[str, Any]:
    content: dict[str, Any] = {"merge_method": recipe.merge_method}
    first = recipe.modules[0]
    if first.name is None and not first.parameters:
        content |= _module(first)
    else:
        content["modules"] = {
            module.name or WHOLE_MODEL: _module(module) for module in recipe.modules
        }
    if recipe.base_model:
        content["base_model"] = _reference(recipe.base_model)
    content |= _parameters(recipe.parameters) | _dtypes(recipe)
    if recipe.tokenizer:
        content["tokenizer"] = _tokenizer(recipe.tokenizer)
    if recipe.embeddings != "auto":
        content["embeddings"] = recipe.embeddings
    if recipe.chat_template is not None:
        content["chat_template"] = recipe.chat_template
    return content


def _tokenizer(settings: TokenizerSettings) -> dict[str, Any]:
    source = settings.source
    content: dict[str, Any] = {"source": source if isinstance(source, str) else _reference(source)}
    if settings.tokens:
        content["tokens"] = {token: _token(given) for token, given in settings.tokens.items()}
    if settings.pad_to_multiple_of:
        content["pad_to_multiple_of"] = settings.pad_to_multiple_of
    return content


def _token(given: TokenSource) -> dict[str, Any]:
    model = _reference(given.model) if given.model else None
    if given.kind is TokenKind.MODEL:
        source = model
    else:
        named = {"model": model, "token": given.token, "token_id": given.token_id}
        source = {"kind": given.kind.value} | {k: v for k, v in named.items() if v is not None}
    return {"source": source} | ({"force": True} if given.force else {})


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
        content["weights"] = [_value(weight or ()) for weight in weights]
    for name, value in recipe.parameters.items():
        if name == "other" and all(candidate.value is True for candidate in value):
            content["tensors"] = [candidate.filter or "*" for candidate in value]
        else:
            content[name] = _value(value)
    return content | _dtypes(recipe)


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
    if source.statistics:
        content["statistics"] = _reference(source.statistics)
    return content | _parameters(source.parameters)


def _reference(reference: ModelReference) -> Any:
    """A text, or a mapping where the text would say something else."""
    parts = [part for part in (reference, reference.lora) if part]
    has_marks = any(mark in f"{part.path}{part.revision}" for part in parts for mark in "@+")
    if not has_marks and reference.override_architecture is None:
        return str(reference)
    content: dict[str, Any] = {"model": _part(reference)}
    if reference.lora:
        content["lora"] = _part(reference.lora)
    if reference.override_architecture is not None:
        content["override_architecture"] = reference.override_architecture
    return content


def _part(reference: ModelReference) -> dict[str, Any]:
    revision = {"revision": reference.revision} if reference.revision else {}
    return {"path": reference.path} | revision


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
