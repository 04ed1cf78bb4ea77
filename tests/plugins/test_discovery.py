"""Methods of installed packages and of single files: found, or told what is wrong with them."""

import re
import sys

import pytest
import torch
from plugin_recipes import recipe

import graphmerge as gm
from graphmerge.methods.registry import METHODS
from graphmerge.plugins.discovery import load_plugin_file, require_method
from graphmerge.plugins.readers import installed_plugins
from graphmerge.testing.stored_models import read_model

NAME = "model.layers.0.mlp.weight"


def source(*names, first_line=""):
    """A module that registers methods which give the first model."""
    methods = [
        f"@gm.merge_method({name!r})\ndef {name}(tensors):\n    '''First of {name}.'''\n"
        "    return tensors[0]\n"
        for name in names
    ]
    return "\n".join([first_line, "import graphmerge as gm", *methods])


def reports():
    """What is said of the packages of these tests; the example package may be installed too."""
    return {
        (report.name, report.package): report
        for report in installed_plugins()
        if report.package.endswith(" 1.2")
    }


@pytest.fixture
def good(install):
    install("good-merges", {"fine": "fine_methods", "finer": "fine_methods:finer"},
            fine_methods=source("fine", "finer"))  # fmt: skip


def test_a_method_of_an_installed_package_is_imported_when_a_recipe_names_it(folder, good):
    folder.compiled(recipe("linear", "one", "two", weight=1))
    assert "fine_methods" not in sys.modules
    merged = folder.merged(recipe("finer", "one", "two"))
    assert merged[NAME].equal(read_model(folder.path / "one")[NAME])
    assert METHODS["fine"].summary == "First of fine."


def test_plugins_lists_methods_with_package_version_and_module(folder, good):
    result = folder.invoke("plugins")
    assert result.exit_code == 0, result.stderr
    lines = [line.split() for line in result.stdout.splitlines()]
    assert lines[0] == ["kind", "name", "package", "from", "state"]
    assert ["method", "fine", "good-merges", "1.2", "fine_methods", "ok"] in lines
    assert ["method", "finer", "good-merges", "1.2", "fine_methods:finer", "ok"] in lines


def test_methods_lists_and_describes_those_of_packages(folder, good, monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")  # every column; narrower terminals show fewer
    listed = folder.invoke("methods").stdout
    assert re.search(r"^finer +1 or more +no +First of finer\.", listed, re.MULTILINE)
    described = folder.invoke("methods", "finer")
    assert described.exit_code == 0
    assert "finer: First of finer." in described.stdout
    assert "formula      fine_methods.finer" in described.stdout


def test_an_unknown_method_suggests_one_of_a_package(folder, good):
    folder.write("recipe.yml", recipe("finr", "one", "two"))
    result = folder.invoke("plan", "recipe.yml")
    assert result.exit_code == 2
    assert "unknown merge method 'finr'" in result.stderr
    assert "did you mean 'finer'?" in result.stderr
    assert "did you mean 'finer'?" in folder.invoke("methods", "finr").stderr
    with pytest.raises(gm.RecipeError, match="did you mean 'finer'"):
        gm.merge("finr", ["one", "two"])


TWO_ERRORS = (
    "import graphmerge as gm\n@gm.merge_method('bad')\ndef bad(tensors, *, t, s: dict): ...\n"
)
HALF = source("bad") + "\nraise ImportError('no such library\\nat all')\n"
BROKEN = {
    "import": (
        {"bad": "bad_methods"},
        {"bad_methods": "import no_such_library"},
        "ModuleNotFoundError: No module named 'no_such_library' @ package bad-merges 1.2, bad_meth",
    ),
    "syntax": (
        {"bad": "bad_methods"},
        {"bad_methods": "def bad(:\n"},
        "plug-in method 'bad' fails to import: SyntaxError: ",
    ),
    "half": (
        {"bad": "bad_methods"},
        {"bad_methods": HALF},
        "fails to import: ImportError: no such library @ package bad-merges 1.2, bad_methods",
    ),
    "exit": (
        {"bad": "bad_methods"},
        {"bad_methods": "import sys\nsys.exit(0)"},
        "fails to import: SystemExit: 0 @ package bad-merges 1.2, bad_methods",
    ),
    "no module": ({"bad": "nowhere"}, {}, "No module named 'nowhere' @ package bad-merges 1.2"),
    "no attribute": (
        {"bad": "bad_methods:missing"},
        {"bad_methods": source("bad")},
        "has no attribute 'missing' @ package bad-merges 1.2, bad_methods:missing",
    ),
    "promise": (
        {"bad": "bad_methods"},
        {"bad_methods": source("other")},
        "the package promises a method 'bad' and does not register it @ package bad-merges 1.2",
    ),
    "annotations": (
        {"bad": "bad_methods"},
        {"bad_methods": TWO_ERRORS},
        "no annotation that recipes know @ package bad-merges 1.2, bad_methods, bad_methods.bad, ",
    ),
    "built-in": (
        {"bad": "bad_methods"},
        {"bad_methods": source("ties", "bad")},
        "there is a method 'ties' already @ package bad-merges 1.2, bad_methods, bad_methods.ties",
    ),
}
"""Entry points and modules of a package that cannot be used, and what is said of it."""


@pytest.fixture(params=BROKEN)
def broken(request, good, install):
    entry_points, modules, message = BROKEN[request.param]
    install("bad-merges", entry_points, **modules)
    return message


def test_a_broken_package_is_named_and_the_others_are_listed(folder, broken):
    result = folder.invoke("plugins")
    assert result.exit_code == 2
    assert re.search(r"^method +bad +bad-merges 1\.2 .* broken *$", result.stdout, re.MULTILINE)
    assert re.search(r"^method +fine +good-merges 1\.2 .* ok *$", result.stdout, re.MULTILINE)
    assert broken in result.stderr
    assert "bad-merges 1.2" in result.stderr
    assert result.stderr.count("\n") == 1
    again = folder.invoke("plugins")
    assert (again.exit_code, again.stdout, again.stderr) == (2, result.stdout, result.stderr)


def test_a_recipe_that_needs_a_broken_package_is_told_and_others_work(folder, broken):
    folder.write("recipe.yml", recipe("bad", "one", "two"))
    result = folder.invoke("plan", "recipe.yml")
    assert result.exit_code == 2
    assert result.stdout == ""
    assert broken in result.stderr
    for method in ("fine", "ties"):
        based = {"base": "base", "weight": 1.0} if method == "ties" else {}
        folder.write("recipe.yml", recipe(method, "one", "two", **based))
        assert folder.invoke("plan", "recipe.yml").exit_code == 0


def test_methods_does_not_offer_what_failed(folder, broken):
    listed = folder.invoke("methods").stdout
    assert re.search("^fine ", listed, re.MULTILINE)
    is_registered = "has no attribute" in broken  # a wrong entry point to a module that works
    assert bool(re.search("^bad ", listed, re.MULTILINE)) is is_registered


def test_every_problem_of_a_signature_is_told(folder, good, install):
    install("bad-merges", {"bad": "bad_methods"}, bad_methods=TWO_ERRORS)
    folder.write("recipe.yml", recipe("bad", "one", "two"))
    lines = folder.invoke("plan", "recipe.yml").stderr.splitlines()
    assert [line.count("bad-merges 1.2, bad_methods") for line in lines] == [1, 1]
    assert "parameter t" in lines[0]
    assert "parameter s" in lines[1]


def test_two_packages_with_one_name_clash_and_the_rest_of_them_works(folder, good, install):
    install("rival-merges", {"fine": "rival_methods", "rival": "rival_methods"},
            rival_methods=source("rival"))  # fmt: skip
    found = reports()
    for package in ("good-merges 1.2", "rival-merges 1.2"):
        problem = found["fine", package].problem
        assert problem.startswith("several packages bring a method 'fine' @ ")
        assert "good-merges 1.2" in problem
        assert "rival-merges 1.2" in problem
    assert found["finer", "good-merges 1.2"].problem == ""
    assert found["rival", "rival-merges 1.2"].problem == ""
    folder.write("recipe.yml", recipe("fine", "one", "two"))
    result = folder.invoke("plan", "recipe.yml")
    assert result.exit_code == 2
    assert "several packages bring a method 'fine'" in result.stderr
    folder.write("recipe.yml", recipe("rival", "one", "two"))
    assert folder.invoke("plan", "recipe.yml").exit_code == 0
    assert folder.invoke("plugins").exit_code == 2


def test_a_package_cannot_replace_a_built_in_method(folder, install):
    install("bad-merges", {"ties": "bad_methods"}, bad_methods=source("mine"))
    (report,) = reports().values()
    assert "plug-in method 'ties' has the name of a built-in one @ bad-merges 1.2" in report.problem
    folder.write("recipe.yml", recipe("ties", "one", base="base", weight=1))
    result = folder.invoke("plan", "recipe.yml")
    assert result.exit_code == 2
    assert "bad-merges 1.2 (uninstall the package" in result.stderr
    folder.write("recipe.yml", recipe("linear", "one", "two", weight=1))
    assert folder.invoke("plan", "recipe.yml").exit_code == 0


def test_a_module_that_registers_another_packages_method_is_told(folder, good, install):
    install("bad-merges", {"bad": "bad_methods"}, bad_methods=source("bad", "fine"))
    assert folder.invoke("plugins").exit_code == 2
    found = reports()
    problems = [found[name, f"{name if name == 'bad' else 'good'}-merges 1.2"].problem
                for name in ("bad", "fine")]  # fmt: skip
    assert any("there is a method 'fine' already" in problem for problem in problems)


FILES = {
    "no file": (None, "no such plug-in file @ mine.py"),
    "syntax": ("def bad(:\n", "the plug-in fails to import: SyntaxError: "),
    "import": ("import no_such_library", "fails to import: ModuleNotFoundError: No module named"),
    "exit": ("import sys\nsys.exit('usage: mine.py')", "SystemExit: usage: mine.py @ "),
    "generator": ("raise GeneratorExit", "fails to import: GeneratorExit @ "),
    "built-in": (source("mine", "ties"), "there is a method 'ties' already @ "),
    "operation": (source("sparsify"), "there is a method 'sparsify' already @ "),
    "annotation": ("import graphmerge as gm\n@gm.merge_method('mine')\ndef mine(x, *, t): ...\n",
                   "no annotation that recipes know @ "),
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("command", ["plan", "run", "validate", "methods"])
def test_a_file_that_cannot_be_used_is_one_message_that_names_it(folder, command, name):
    text, message = FILES[name]
    if text is not None:
        folder.write("mine.py", text)
    folder.write("recipe.yml", recipe("linear", "one", "two", weight=1))
    arguments = {"methods": [], "run": ["recipe.yml", "out"]}.get(command, ["recipe.yml"])
    result = folder.invoke(command, *arguments, "--plugin", "mine.py")
    assert result.exit_code == 2, result.output
    assert result.stderr.startswith("error: ")
    assert message in result.stderr
    assert "mine.py" in result.stderr
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""
    assert "mine" not in METHODS


def test_a_file_needs_a_python_name(folder):
    path = folder.write("mine.txt", source("mine"))
    with pytest.raises(gm.RecipeError, match=r"not a Python file @ .*mine\.txt; wanted"):
        load_plugin_file(path)


def test_a_file_can_be_mended_and_loaded_again(folder):
    path = folder.write("mine.py", source("mine") + "\n1 / 0\n")
    with pytest.raises(gm.RecipeError, match="ZeroDivisionError: division by zero"):
        load_plugin_file(path)
    folder.write("mine.py", source("mine"))
    load_plugin_file(path)
    load_plugin_file(path)
    assert METHODS["mine"].formula == "graphmerge_plugin_mine.mine"


def test_files_of_one_name_in_two_folders_are_two(folder):
    for name in ("first", "second"):
        (folder.path / name).mkdir()
        folder.write(f"{name}/mine.py", source(name))
    options = [word for name in ("first", "second") for word in ("--plugin", f"{name}/mine.py")]
    for name in ("first", "second"):
        folder.write("recipe.yml", recipe(name, "one", "two"))
        assert folder.invoke("validate", "recipe.yml", *options).exit_code == 0
    (folder.path / "third").mkdir()
    folder.write("third/mine.py", source("first"))
    clash = folder.invoke("validate", "recipe.yml", "--plugin", "third/mine.py")
    assert "there is a method 'first' already" in clash.stderr
    assert "third/mine.py" in clash.stderr


def test_a_file_with_the_name_of_a_packages_method_clashes_with_it(folder, good):
    folder.write("mine.py", source("fine"))
    folder.write("recipe.yml", recipe("fine", "one", "two"))
    result = folder.invoke("plan", "recipe.yml", "--plugin", "mine.py")
    assert result.exit_code == 2
    assert "there is a method 'fine' already @ package good-merges 1.2" in result.stderr
    folder.write("recipe.yml", recipe("ties", "one", base="base", weight=1))
    assert folder.invoke("plan", "recipe.yml", "--plugin", "mine.py").exit_code == 0


def test_what_python_has_imported_is_there_without_an_entry_point(folder):
    @gm.merge_method("mine")
    def mine(tensors):
        return torch.stack(tensors).amax(dim=0)

    assert require_method("mine").name == "mine"
    folder.write("recipe.yml", recipe("mine", "one", "two"))
    assert folder.invoke("plan", "recipe.yml").exit_code == 0
