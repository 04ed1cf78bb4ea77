"""Check a recipe's parameters against what its method has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import evolve

from graphmerge.errors import Problem
from graphmerge.frozen_classes import frozen
from graphmerge.recipe.coercion import coerce, wanted
from graphmerge.recipe.cursor import child_path, show
from graphmerge.recipe.signature import Required
from graphmerge.recipe.suggestions import suggest
from graphmerge.recipe.values import PerTensor

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

    from graphmerge.recipe.signature import MethodSignature, ParameterSpec
    from graphmerge.recipe.values import Conditional, Module, ParameterValue, Recipe


@frozen
class ParameterCheck:
    """What there is to say about the parameters of a recipe."""

    problems: tuple[Problem, ...]
    """What is wrong: names that no method has, values that a parameter cannot have."""
    warnings: tuple[Problem, ...]
    """What has no effect: parameters of other methods, or in places where nothing looks them up,
    and values behind one that fits the same tensors."""


@frozen
class _Section:
    """One `parameters:` mapping of a recipe."""

    path: str
    """Where it is, without `.parameters`."""
    values: Mapping[str, ParameterValue]
    """What it holds."""
    is_of_one_model: bool = False
    """Whether it belongs to one source; parameters of the whole merge have no effect there."""


def check_parameters(
    recipe: Recipe, method: MethodSignature, *, all_names: Callable[[], Collection[str]]
) -> ParameterCheck:
    """Everything to say about names and values of the recipe's parameters.

    A required parameter that is missing is found later, by `evaluate`: only then is it known for
    which tensors it is wanted. One of the whole merge that only models have is found here.

    Args:
        recipe: The recipe.
        method: What its merge method has.
        all_names: Gives the parameter names of all methods. Published recipes carry some that
            their own method lacks (`density` with linear): without effect, while other names are
            mistakes.
    """
    known = {parameter.name: parameter for parameter in method.parameters}
    problems: list[Problem] = []
    warnings: list[Problem] = []
    sections = tuple(_sections(recipe))
    shared = {
        name
        for section in sections
        if not section.is_of_one_model
        for name, value in section.values.items()
        if value
    }
    for section in sections:
        for name, value in section.values.items():
            where = child_path(f"{section.path}.parameters", name)
            parameter = known.get(name)
            if parameter is None and name in all_names():
                warnings.append(
                    Problem(f"parameter {name!r} has no effect on {method.name}", where)
                )
            elif parameter is None:
                problems.append(_unknown(name, method, where))
            elif section.is_of_one_model and not parameter.per_model:
                is_missed = isinstance(parameter.default, Required) and name not in shared
                (problems if is_missed else warnings).append(_misplaced(name, where))
            else:
                problems += _check_value(parameter, value, where)
                warnings += _behind_others(name, value, where)
    return ParameterCheck(tuple(problems), _gathered(warnings))


def _sections(recipe: Recipe) -> Iterator[_Section]:
    yield _Section("$", recipe.parameters)
    for module in recipe.modules:
        path = "$" if module.name is None else child_path("$.modules", module.name)
        yield _Section(path, module.parameters)
        for i, part in enumerate(module.slices):
            yield _Section(f"{path}.slices[{i}]", part.parameters)
        yield from _source_sections(module, path)


def _source_sections(module: Module, path: str) -> Iterator[_Section]:
    for i, part in enumerate(module.slices):
        sources = f"{path}.models" if module.is_whole_model else f"{path}.slices[{i}].sources"
        for j, source in enumerate(part.sources):
            yield _Section(f"{sources}[{j}]", source.parameters, is_of_one_model=True)


def _unknown(name: str, method: MethodSignature, where: str) -> Problem:
    names = [parameter.name for parameter in method.parameters]
    allowed = f"a parameter of {method.name}: {', '.join(names)}" if names else ""
    what = f"{method.name} has no parameter {name!r}"
    return Problem(what, where, wanted=allowed, hint=suggest(name, names))


def _misplaced(name: str, where: str) -> Problem:
    what = f"parameter {name!r} has no effect here: it belongs to the whole merge, not to one model"
    return Problem(what, where, hint="move it to $.parameters")


def _check_value(parameter: ParameterSpec, value: ParameterValue, where: str) -> Iterator[Problem]:
    for candidate in value:
        if isinstance(candidate.value, PerTensor):
            continue  # what it gives is checked for each tensor
        points = candidate.value if isinstance(candidate.value, tuple) else (candidate.value,)
        for point in points:
            if coerce(parameter, point) is None:
                what = f"wrong value of parameter {parameter.name!r}"
                yield Problem(what, where, got=show(point), wanted=wanted(parameter))


def _behind_others(name: str, value: ParameterValue, where: str) -> Iterator[Problem]:
    """Candidates that are never looked at, as an earlier one fits all of their tensors.

    Equal values may stand behind one another: nothing is lost.
    """
    for index, candidate in enumerate(value):
        for earlier in value[:index]:
            is_wider = earlier.filter is None or earlier.filter in (candidate.filter or "")
            if is_wider and earlier.value != candidate.value:
                idle = f"{_entry(candidate)} of {name!r} has no effect"
                hint = "the first entry that fits a tensor counts"
                yield Problem(f"{idle}: {_entry(earlier)} comes before it", where, hint=hint)
                break


def _entry(candidate: Conditional) -> str:
    return f"filter {candidate.filter!r}" if candidate.filter else "a value without filter"


def _gathered(warnings: Iterable[Problem]) -> tuple[Problem, ...]:
    """One warning for all places that it holds for."""
    places: dict[Problem, list[str]] = {}
    for warning in warnings:
        places.setdefault(evolve(warning, where=""), []).append(warning.where)
    return tuple(evolve(warning, where=_listed(where)) for warning, where in places.items())


def _listed(places: list[str]) -> str:
    more = len(places) - 1
    return places[0] + (f" and {more} more place{'s' * (more > 1)}" if more else "")
