"""Check a recipe's parameters against what its method has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graphmerge.errors import Problem
from graphmerge.recipe.coercion import coerce, wanted
from graphmerge.recipe.cursor import child_path, show
from graphmerge.recipe.suggestions import suggest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from graphmerge.recipe.signature import MethodSignature, ParameterSpec
    from graphmerge.recipe.values import Module, ParameterValue, Recipe


def check_parameters(recipe: Recipe, method: MethodSignature) -> list[Problem]:
    """Everything wrong with the names and values of the recipe's parameters.

    A required parameter that is missing is found later, by `evaluate`: only then is it known for
    which tensors it is wanted.
    """
    shared = [("$", recipe.parameters)]
    single: list[tuple[str, Mapping[str, ParameterValue]]] = []
    for module in recipe.modules:
        path = "$" if module.name is None else child_path("$.modules", module.name)
        shared.append((path, module.parameters))
        shared.extend(
            (f"{path}.slices[{i}]", part.parameters) for i, part in enumerate(module.slices)
        )
        single.extend(_source_parameters(module, path))
    problems = [
        found for path, section in shared for found in _check_section(section, path, method)
    ]
    for path, section in single:
        problems += _check_section(section, path, method)
        problems += _check_per_model(section, path, method)
    return problems


def _source_parameters(
    module: Module, path: str
) -> Iterator[tuple[str, Mapping[str, ParameterValue]]]:
    """Parameters of every single source, with their places."""
    for i, part in enumerate(module.slices):
        sources = f"{path}.models" if module.is_whole_model else f"{path}.slices[{i}].sources"
        for j, source in enumerate(part.sources):
            yield f"{sources}[{j}]", source.parameters


def _check_section(
    section: Mapping[str, ParameterValue], path: str, method: MethodSignature
) -> Iterator[Problem]:
    known = {parameter.name: parameter for parameter in method.parameters}
    for name, value in section.items():
        where = child_path(f"{path}.parameters", name)
        if name in known:
            yield from _check_value(known[name], value, where)
        else:
            names = f"a parameter of {method.name}: {', '.join(known)}" if known else ""
            what = f"{method.name} has no parameter {name!r}"
            yield Problem(what, where, wanted=names, hint=suggest(name, known))


def _check_value(parameter: ParameterSpec, value: ParameterValue, where: str) -> Iterator[Problem]:
    for candidate in value:
        points = candidate.value if isinstance(candidate.value, tuple) else (candidate.value,)
        for point in points:
            if coerce(parameter, point) is None:
                what = f"wrong value of parameter {parameter.name!r}"
                yield Problem(what, where, got=show(point), wanted=wanted(parameter))


def _check_per_model(
    section: Mapping[str, ParameterValue], path: str, method: MethodSignature
) -> Iterator[Problem]:
    for parameter in method.parameters:
        if parameter.name in section and not parameter.per_model:
            yield Problem(
                f"{parameter.name!r} is a parameter of the whole merge, not of one model",
                child_path(f"{path}.parameters", parameter.name),
                hint="move it to $.parameters",
            )
