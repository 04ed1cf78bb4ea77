"""plugins/graphmerge-example, installed by pip into an environment that has never seen it."""

import json
import os
import re
import shutil
import subprocess
import sysconfig
import venv
from pathlib import Path

import pytest
import yaml
from attrs import frozen
from plugin_recipes import recipe

import graphmerge
from graphmerge.testing.conformance import write_tiny_models
from graphmerge.testing.stored_models import read_model

EXAMPLE = Path(__file__).parents[2] / "plugins" / "graphmerge-example"
METHODS = ("example_median", "example_row_norm", "example_soft_ties", "example_spectral")
WEIGHED = {"weight": 0.7, "density": 0.4}
RECIPES = {
    "example_median": recipe("example_median", "base", "one", "two", toward_mean=0.25),
    "example_row_norm": recipe("example_row_norm", "one", "two", weight=0.5),
    "example_spectral": recipe("example_spectral", "one", "two", norm="frobenius"),
    "example_soft_ties": recipe("example_soft_ties", "one", "two", base="base", **WEIGHED),
}
ALL_IN_ONE = {
    "graph": {
        "middle": RECIPES["example_median"],
        "elected": RECIPES["example_soft_ties"],
        "normed": recipe("example_row_norm", "middle", "elected", weight=0.5),
        "scaled": recipe("example_spectral", "normed", "one"),
    },
    "output": "scaled",
}


@frozen
class Environment:
    """A virtual environment with graphmerge and all that it needs, and a working directory."""

    path: Path

    def python(self, *arguments):
        """Run Python in a process of its own, without the environment variables of this one."""
        known = {"PATH": os.environ["PATH"], "HOME": str(self.path)}
        return subprocess.run(
            [str(self.path / "env" / "bin" / "python"), *map(str, arguments)],
            env=known | {"XDG_CACHE_HOME": str(self.path / "cache")},
            cwd=self.path,
            capture_output=True,
            text=True,
            check=False,
        )

    def graphmerge(self, *arguments):
        """Run a command."""
        return self.python("-m", "graphmerge.cli", *arguments)

    def write(self, name, content):
        """Write a recipe."""
        (self.path / name).write_text(yaml.safe_dump(content, sort_keys=False))


@pytest.fixture(scope="module")
def fresh(tmp_path_factory):
    """The libraries of the running environment are there by links, but not the example package."""
    root = tmp_path_factory.mktemp("fresh")
    venv.create(root / "env")
    libraries = root / "libraries"
    libraries.mkdir()
    for folder in {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}:
        for entry in Path(folder).iterdir():
            if not entry.name.startswith(("graphmerge_example", "_graphmerge_example")):
                (libraries / entry.name).symlink_to(entry)
    (site_packages,) = (root / "env").glob("lib/python*/site-packages")
    repository = Path(graphmerge.__file__).parents[1]
    (site_packages / "links.pth").write_text(f"{libraries}\n{repository}\n")
    write_tiny_models(root, ("base", "one", "two"))
    return Environment(root)


@pytest.fixture(scope="module")
def before(fresh):
    """What is said before the package is installed."""
    fresh.write("median.yml", RECIPES["example_median"])
    return fresh.graphmerge("plugins"), fresh.graphmerge("plan", "median.yml")


@pytest.fixture(scope="module")
def installed(fresh, before):
    ignored = shutil.ignore_patterns("__pycache__", ".*")
    copy = shutil.copytree(EXAMPLE, fresh.path / "graphmerge-example", ignore=ignored)
    options = ["--quiet", "--no-index", "--no-deps", "--no-build-isolation"]
    done = fresh.python("-m", "pip", "--disable-pip-version-check", "install", *options, copy)
    assert done.returncode == 0, done.stderr
    found = fresh.python("-c", "import graphmerge_example as e; print(e.__file__)")
    assert Path(found.stdout).is_relative_to(fresh.path / "env")
    return fresh


def test_without_the_package_its_methods_are_unknown(before):
    listed, planned = before
    assert listed.returncode == 0
    assert listed.stdout.startswith("no plug-ins: ")
    assert planned.returncode == 2
    assert "unknown merge method 'example_median'" in planned.stderr


def test_plugins_lists_its_methods(installed):
    result = installed.graphmerge("plugins")
    assert result.returncode == 0, result.stderr
    rows = [line.split() for line in result.stdout.splitlines()[1:]]
    assert [(kind, name, package, state) for kind, name, package, _, _, state in rows] == [
        ("method", name, "graphmerge-example", "ok") for name in METHODS
    ]


def test_methods_lists_them_beside_the_built_in_ones(installed):
    listed = installed.graphmerge("methods").stdout
    assert all(re.search(f"^{name} ", listed, re.MULTILINE) for name in ("ties", *METHODS))


def test_they_are_planned_and_run_in_one_recipe_and_take_the_memory_that_was_planned(installed):
    installed.write("all.yml", ALL_IN_ONE)
    options = ["--workers", "1", "--memory-budget", "2GiB", "--kernels", "torch"]
    done = installed.graphmerge("run", "all.yml", "all-out", "--quiet", *options)
    assert done.returncode == 0, done.stderr
    manifest = json.loads((installed.path / "all-out" / "graphmerge.json").read_text())
    measured, predicted = manifest["measured_peak_bytes"], manifest["predicted_peak_bytes"]
    assert 0.85 * predicted <= measured <= predicted
    planned = installed.graphmerge("plan", "all.yml", "--json", *options)
    assert json.loads(planned.stdout)["predicted_peak_bytes"] == predicted
    base, merged = (read_model(installed.path / name) for name in ("base", "all-out"))
    assert {name: x.shape for name, x in base.items()} == {n: x.shape for n, x in merged.items()}
    assert not merged["layers.0.weight"].equal(base["layers.0.weight"])


@pytest.mark.slow  # two processes for each method, and a measurement of this environment
@pytest.mark.parametrize("method", METHODS)
def test_each_method_is_planned_and_run(installed, method):
    installed.write(f"{method}.yml", RECIPES[method])
    planned = installed.graphmerge("plan", f"{method}.yml")
    assert planned.returncode == 0, planned.stderr
    assert f"recipe  {method}.yml: {method}, seed 0" in planned.stdout
    done = installed.graphmerge("run", f"{method}.yml", f"{method}-out")
    assert done.returncode == 0, done.stderr
    assert "peak: predicted" in done.stdout
    assert installed.graphmerge("verify", f"{method}-out").returncode == 0
    assert method in installed.graphmerge("methods", method).stdout


@pytest.mark.slow  # merges matrices of 64 MiB in processes of their own
def test_the_tests_of_the_package_pass_there(installed):
    tests = installed.path / "graphmerge-example" / "tests"
    done = installed.python("-m", "pytest", "-q", "-p", "no:cacheprovider", tests)
    assert done.returncode == 0, done.stdout
    assert re.search(r"\b12 passed\b", done.stdout)
