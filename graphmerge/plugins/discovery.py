"""Find methods that installed packages and single files bring.

A package names them in the entry point group `graphmerge.methods`: the entry point has the name of
the method, and its value is the module (or the function in it) that registers it when imported.
Only what a recipe names is imported.
"""

from __future__ import annotations

import importlib.util
import sys
from collections import defaultdict
from importlib.metadata import EntryPoint, entry_points
from itertools import count
from typing import TYPE_CHECKING

from attrs import evolve

from graphmerge.errors import GraphmergeError, Problem, RecipeError
from graphmerge.frozen_classes import frozen
from graphmerge.methods.registry import BUILT_IN, METHODS, find_method, find_operation
from graphmerge.ops.custom import told

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from graphmerge.methods.base import Method
    from graphmerge.recipe.values import Recipe

GROUP = "graphmerge.methods"
"""Entry point group of methods."""


@frozen
class PluginReport:
    """One method, or one reader of files, that a package brings."""

    kind: str
    """`method` or `reader`."""
    name: str
    """The method's name in recipes, or the end of the names of the files."""
    package: str
    """The package, with its version."""
    module: str
    """Where in the package it is."""
    problem: str = ""
    """Why it cannot be used; empty if it can."""


_LOADED_TORCH: list[str] = []
"""Plug-ins that have loaded torch, which takes memory whatever a plan uses."""


def plugins_loaded_torch() -> bool:
    """Whether a plug-in has brought torch into this process."""
    return bool(_LOADED_TORCH)


def require_method(name: str) -> Method:
    """The method of this name: built in, registered already, or brought by a package.

    Raises:
        RecipeError: there is none, packages clash over the name, or the package fails to import.
    """
    found = points_by_name(GROUP)
    points = found.get(name, [])
    if points:
        clash = _clash(name, points)
        if clash:
            raise RecipeError(clash)
        _load(points[0])
    return find_method(name, also=tuple(found))


def require_method_of(recipe: Recipe) -> Method:
    """The method, or the operation, that a recipe names.

    Raises:
        RecipeError: as `require_method`; or there is no such operation.
    """
    find = find_operation if recipe.is_operation else require_method
    return find(recipe.merge_method)


def load_plugin_file(path: Path) -> None:
    """Import a Python file that registers methods (`--plugin`).

    Raises:
        RecipeError: there is no such file, or it fails to import.
    """
    if not path.is_file():
        raise RecipeError(Problem("no such plug-in file", str(path)))
    path = path.resolve()
    name = _module_name(path)
    if name not in sys.modules:
        import_plugin("the plug-in", str(path), lambda: _execute(path, name))


def _module_name(path: Path) -> str:
    """What a file is imported as; numbered where another file of its name is loaded."""
    for number in count(1):
        name = f"graphmerge_plugin_{path.stem}" + (f"_{number}" if number > 1 else "")
        if name not in sys.modules or sys.modules[name].__file__ == str(path):
            break
    return name


def _execute(path: Path, name: str) -> None:
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise RecipeError(Problem("not a Python file", wanted="a name ending in .py"))
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise


def import_plugin(what: str, where: str, load: Callable[[], object]) -> None:
    """Import a plug-in; where that fails, methods of modules that failed are forgotten.

    Raises:
        RecipeError: it fails.
    """
    before, had_torch = set(METHODS), "torch" in sys.modules
    try:
        load()
        if not had_torch and "torch" in sys.modules:
            _LOADED_TORCH.append(where)
    except BaseException as error:
        for name in set(METHODS) - before:
            module, _, _ = METHODS[name].formula.rpartition(".")
            if module not in sys.modules:
                del METHODS[name]
        if isinstance(error, GraphmergeError):
            raise RecipeError(*(_within(where, problem) for problem in error.problems)) from error
        if not isinstance(error, KeyboardInterrupt):  # a script may end its process
            raise RecipeError(Problem(f"{what} fails to import: {told(error)}", where)) from error
        raise


def _within(where: str, problem: Problem) -> Problem:
    return evolve(problem, where=", ".join(filter(None, (where, problem.where))))


def installed_methods() -> tuple[PluginReport, ...]:
    """Every method that installed packages bring, each tried: one that fails keeps no other."""
    reports: list[PluginReport] = []
    for name, points in sorted(points_by_name(GROUP).items()):
        clash = _clash(name, points)
        for point in points:
            problem = str(clash) if clash else _problem_of(point)
            reports.append(PluginReport("method", name, package_of(point), point.value, problem))
    return tuple(reports)


def points_by_name(group: str) -> dict[str, list[EntryPoint]]:
    """What installed packages bring in an entry point group, by name."""
    found: dict[str, list[EntryPoint]] = defaultdict(list)
    for point in entry_points(group=group):
        if point not in found[point.name]:
            found[point.name].append(point)
    return dict(found)


def _clash(name: str, points: list[EntryPoint]) -> Problem | None:
    """What is wrong where a name is not one package's own."""
    packages = [package_of(point) for point in points]
    if name in BUILT_IN:
        what = f"plug-in method {name!r} has the name of a built-in one"
        return Problem(
            what, ", ".join(packages), hint="uninstall the package, or ask for a new name"
        )
    if len(points) > 1:
        what = f"several packages bring a method {name!r}"
        return Problem(what, ", ".join(packages), hint="uninstall all but one")
    return None


def _problem_of(point: EntryPoint) -> str:
    try:
        _load(point)
    except RecipeError as error:
        return "; ".join(map(str, error.problems))
    return ""


def _load(point: EntryPoint) -> None:
    where = f"package {package_of(point)}, {point.value}"
    import_plugin(f"plug-in method {point.name!r}", where, point.load)
    if point.name not in METHODS:
        what = f"the package promises a method {point.name!r} and does not register it"
        raise RecipeError(Problem(what, where))


def package_of(point: EntryPoint) -> str:
    """Name and version of the package that brings an entry point."""
    return f"{point.dist.name} {point.dist.version}" if point.dist else "an unknown package"
