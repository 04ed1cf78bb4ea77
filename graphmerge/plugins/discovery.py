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
from typing import TYPE_CHECKING

from attrs import frozen

from graphmerge.errors import Problem, RecipeError
from graphmerge.methods.registry import BUILT_IN, METHODS, find_method

if TYPE_CHECKING:
    from pathlib import Path

    from graphmerge.methods.base import Method

GROUP = "graphmerge.methods"
"""Entry point group of methods."""


@frozen
class PluginReport:
    """One method that a package brings."""

    method: str
    """Its name in recipes."""
    package: str
    """The package, with its version."""
    module: str
    """Where in the package it is."""
    problem: str = ""
    """Why it cannot be used; empty if it can."""


def require_method(name: str) -> Method:
    """The method of this name: built in, registered already, or brought by a package.

    Raises:
        RecipeError: there is none, packages clash over the name, or the package fails to import.
    """
    points = _entry_points().get(name, [])
    if points:
        clash = _clash(name, points)
        if clash:
            raise RecipeError(clash)
        if name not in METHODS:
            _load(points[0])
    return find_method(name, also=tuple(_entry_points()))


def load_plugin_file(path: Path) -> None:
    """Import a Python file that registers methods (`--plugin`).

    Raises:
        RecipeError: there is no such file, or it fails to import.
    """
    if not path.is_file():
        raise RecipeError(Problem("no such plug-in file", str(path)))
    name = f"graphmerge_plugin_{path.stem}"
    if name in sys.modules:
        return
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise RecipeError(Problem("not a Python file", str(path), wanted="a name ending in .py"))
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except RecipeError:
        del sys.modules[name]
        raise
    except Exception as error:
        del sys.modules[name]
        what = f"the plug-in fails to import: {type(error).__name__}: {error}"
        raise RecipeError(Problem(what, str(path))) from error


def installed_plugins() -> tuple[PluginReport, ...]:
    """Every method that installed packages bring, each tried: one that fails keeps no other."""
    reports: list[PluginReport] = []
    for name, points in sorted(_entry_points().items()):
        clash = _clash(name, points)
        for point in points:
            problem = str(clash) if clash else _problem_of(point)
            reports.append(PluginReport(name, _package(point), point.value, problem))
    return tuple(reports)


def _entry_points() -> dict[str, list[EntryPoint]]:
    found: dict[str, list[EntryPoint]] = defaultdict(list)
    for point in entry_points(group=GROUP):
        if point not in found[point.name]:
            found[point.name].append(point)
    return dict(found)


def _clash(name: str, points: list[EntryPoint]) -> Problem | None:
    """What is wrong where a name is not one package's own."""
    packages = [_package(point) for point in points]
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
        if point.name not in METHODS:
            _load(point)
    except RecipeError as error:
        return str(error)
    return ""


def _load(point: EntryPoint) -> None:
    try:
        point.load()
    except Exception as error:
        what = f"plug-in method {point.name!r} fails to import: {type(error).__name__}: {error}"
        raise RecipeError(Problem(what, f"package {_package(point)}, {point.value}")) from error
    if point.name not in METHODS:
        what = f"the package promises a method {point.name!r} and does not register it"
        raise RecipeError(Problem(what, f"package {_package(point)}, {point.value}"))


def _package(point: EntryPoint) -> str:
    return f"{point.dist.name} {point.dist.version}" if point.dist else "an unknown package"
