"""Find readers of checkpoint formats that installed packages bring.

A package names them in the entry point group `graphmerge.readers`: the entry point has the end of
the files' names (`toy` for `model.toy`), and its value is the module, or the function in it, that
registers the reader when imported. Only what a model needs is imported.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from graphmerge.checkpoint.access import machine_errors
from graphmerge.checkpoint.reading import has_reader, read_checkpoint
from graphmerge.checkpoint.shards import SAFETENSORS
from graphmerge.errors import Problem, RecipeError
from graphmerge.plugins.discovery import (
    PluginReport,
    import_plugin,
    installed_methods,
    package_of,
    points_by_name,
)

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint
    from pathlib import Path

    from graphmerge.checkpoint.values import Checkpoint

GROUP = "graphmerge.readers"
"""Entry point group of readers."""


def read_any_checkpoint(path: Path) -> Checkpoint:
    """Read the headers of a checkpoint of any format that graphmerge or an installed package reads.

    Raises:
        RecipeError: the reader that the files need cannot be used.
        CheckpointError: there is no checkpoint there, or it is corrupt or incomplete.
        MachineError: a file cannot be read.
    """
    with machine_errors(path):
        suffixes = _other_suffixes(path)
    if suffixes:
        found = points_by_name(GROUP)
        for suffix in sorted(suffixes):
            points = found.get(suffix.removeprefix("."), [])
            if points and not has_reader(suffix):
                _require(suffix, points)
    return read_checkpoint(path)


def installed_plugins() -> tuple[PluginReport, ...]:
    """Every method and every reader that installed packages bring, each tried.

    One that fails keeps no other.
    """
    reports: list[PluginReport] = []
    for name, points in sorted(points_by_name(GROUP).items()):
        suffix = f".{name}"
        for point in points:
            problem = ""
            try:
                _require(suffix, points)
            except RecipeError as error:
                problem = "; ".join(map(str, error.problems))
            reports.append(PluginReport("reader", suffix, package_of(point), point.value, problem))
    return (*installed_methods(), *reports)


def _other_suffixes(path: Path) -> set[str]:
    """Ends of the names of files that may be weights; none where safetensors files are."""
    files = path.iterdir() if path.is_dir() else (path,) if path.is_file() else ()
    suffixes = {file.suffix for file in files}
    return set() if SAFETENSORS in suffixes else suffixes - {""}


def _require(suffix: str, points: list[EntryPoint]) -> None:
    """Import the one package that brings a reader.

    Raises:
        RecipeError: there are several, it is for safetensors files, or it fails.
    """
    packages = ", ".join(sorted(map(package_of, points)))
    if suffix == SAFETENSORS:
        what = f"graphmerge reads {SAFETENSORS} files itself"
        raise RecipeError(Problem(what, packages, hint="uninstall the package"))
    if len(points) > 1:
        what = f"several packages bring a reader of {suffix} files"
        raise RecipeError(Problem(what, packages, hint="uninstall all but one"))
    (point,) = points
    where = f"package {package_of(point)}, {point.value}"
    import_plugin(f"the reader of {suffix} files", where, point.load)
    if not has_reader(suffix):
        what = f"the package promises a reader of {suffix} files and does not register it"
        raise RecipeError(Problem(what, where))
