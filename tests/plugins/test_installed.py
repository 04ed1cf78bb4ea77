"""What is installed is what importlib.metadata finds, which is asked only where it must be."""

import subprocess
import sys
import zipfile
from importlib import metadata

import pytest

from graphmerge import installed


@pytest.fixture(autouse=True)
def forgotten():
    """What earlier tests have found out is looked up again."""
    for function in (installed.installed_version, installed._versions):
        function.cache_clear()
    yield
    for function in (installed.installed_version, installed._versions):
        function.cache_clear()


def test_versions_are_those_of_the_metadata():
    names = {found.name for found in metadata.distributions()}
    assert {"numpy", "torch", "graphmerge"} <= names
    for name in names:
        assert installed.installed_version(name) == metadata.version(name), name


@pytest.mark.parametrize("name", ["huggingface_hub", "huggingface-hub", "Huggingface.Hub"])
def test_names_may_be_spelled_in_any_way(name):
    assert installed.installed_version(name) == metadata.version("huggingface-hub")


def test_what_is_not_installed_has_no_version():
    assert installed.installed_version("no-such-package") == "none"


@pytest.mark.parametrize("group", ["console_scripts", "pytest11", "graphmerge.methods", "nobodys"])
def test_entry_points_are_those_of_the_metadata(group):
    assert installed.entry_points(group) == list(metadata.entry_points(group=group))


def egg(name):
    """Files of a package as older installers leave them."""
    return {
        f"{name}.egg-info/PKG-INFO": f"Metadata-Version: 2.1\nName: {name}\nVersion: 3.4\n",
        f"{name}.egg-info/entry_points.txt": "[graphmerge.nothing]\nfound = nowhere\n",
    }


def lay_out(root, files):
    for name, text in files.items():
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text(text)


def test_eggs_are_found(tmp_path, monkeypatch):
    lay_out(tmp_path, egg("laid"))
    monkeypatch.syspath_prepend(tmp_path)
    assert installed.installed_version("laid") == "3.4"
    assert [point.name for point in installed.entry_points("graphmerge.nothing")] == ["found"]


def test_packed_eggs_are_found(tmp_path, monkeypatch):
    packed = tmp_path / "packed.egg"
    with zipfile.ZipFile(packed, "w") as file:
        for name, text in egg("packed").items():
            file.writestr(name.replace("packed.egg-info", "EGG-INFO"), text)
    monkeypatch.syspath_prepend(packed)
    assert installed.installed_version("packed") == "3.4"
    assert [point.name for point in installed.entry_points("graphmerge.nothing")] == ["found"]


def test_of_two_versions_that_of_the_first_path_counts(tmp_path, monkeypatch):
    lay_out(tmp_path, {"numpy-0.1.dist-info/METADATA": "Name: numpy\nVersion: 0.1\n"})
    monkeypatch.syspath_prepend(tmp_path)
    assert installed.installed_version("numpy") == metadata.version("numpy") == "0.1"


def test_folders_that_answer_save_the_import():
    script = (
        "import sys\n"
        "from graphmerge import installed\n"
        "assert installed.installed_version('numpy') != 'none'\n"
        "assert installed.entry_points('graphmerge.nothing') == []\n"
        "assert 'importlib.metadata' not in sys.modules\n"
        "assert installed.entry_points('console_scripts')\n"
        "assert 'importlib.metadata' in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
