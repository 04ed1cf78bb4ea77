"""A language model is trained, fine-tuned for three skills, and merged: benchmarks/skills.py."""

import sys
from importlib import import_module
from itertools import islice
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
SKILLS = ("reverse", "sort", "rotate")
pytestmark = pytest.mark.xdist_group("skills")  # one process trains the models for all of them


@pytest.fixture(scope="module")
def load():
    """Imports a module of the benchmarks by its name."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", [str(BENCHMARKS), *sys.path])
        yield import_module


@pytest.fixture(scope="module")
def accuracies(load, tmp_path_factory):
    return load("skills").measure(tmp_path_factory.mktemp("models"), seed=0)


@pytest.mark.parametrize(
    ("name", "line"),
    [("reverse", "<hgfea>aefgh\n"), ("sort", "#31415>11345\n"), ("rotate", "@ABCDE>CDEAB\n")],
)
def test_a_skill_is_what_it_is_called(load, name, line):
    (skill,) = [skill for skill in load("skill_tasks").SKILLS if skill.name == name]
    assert f"{skill.mark}{line[1:7]}{skill.answer(line[1:6])}\n" == line


def test_no_word_of_the_test_is_in_the_text(load):
    tasks = load("skill_tasks")
    for skill in tasks.SKILLS:
        text, test = (
            {line[: tasks.PROMPT] for line in islice(lines, 2000)}
            for lines in (tasks.lines(skill, seed=0), tasks.lines(skill, seed=0, held_out=True))
        )
        assert len(test) > 1500
        assert text.isdisjoint(test)


@pytest.mark.slow
def test_training_makes_a_base_without_skills_and_fine_tunes_with_one_each(accuracies):
    assert max(accuracies["base"].values()) < 0.1
    for tuned in SKILLS:
        assert accuracies[tuned][tuned] > 0.85
        assert all(accuracies[tuned][skill] < 0.15 for skill in SKILLS if skill != tuned)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["task arithmetic", "ties"])
@pytest.mark.parametrize("skill", SKILLS)
def test_task_vectors_keep_every_skill_well_above_the_average(accuracies, method, skill):
    """Seeds 0, 1 and 2 all pass: the least is 35% (beside 5%), the average at most 38%."""
    assert accuracies["average"][skill] < 0.45
    assert accuracies[method][skill] > max(0.3, accuracies["average"][skill] + 0.25)
