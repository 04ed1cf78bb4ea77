"""The search of a plan that fits takes what the plain rule takes, unit by unit."""

import pytest
from attrs import evolve

from graphmerge.schedule.fitting import Fitting, options_of
from graphmerge.schedule.order import Member, most_in_window
from graphmerge.schedule.variants import make_groups
from graphmerge.testing.checkpoints import write_header_only
from graphmerge.testing.llama_shapes import TINY
from graphmerge.testing.merging import compile_mapping

NAMES = ("base", "one", "two", "three")
TUNED = [{"model": name, "parameters": {"weight": 0.3}} for name in NAMES[1:]]
RECIPES = {
    "inputs to keep": {"merge_method": "ties", "parameters": {"density": 0.5}, "models": TUNED},
    "masks to store": {"merge_method": "della", "parameters": {"density": 0.5}, "models": TUNED},
    "two inputs": {"merge_method": "slerp", "parameters": {"t": 0.5}, "models": TUNED[:1]},
}


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    for name in NAMES:
        write_header_only(folder / name, evolve(TINY, layers=2, hidden=512, experts=2))
    return folder


def taken_plainly(options, members, lean, spare_bytes, in_flight):
    beside, units, chosen = in_flight - 1, [], []
    for turn, (number, output) in enumerate(members):
        after = [unit for one in lean[turn + 1 :] for unit in one.units][:beside]
        before = units[max(0, len(units) - beside) :]
        for option in options[number]:
            own = Member(option, output).units
            most = most_in_window([*before, *own, *after], in_flight)
            if most <= spare_bytes or option is options[number][-1]:
                break
        chosen.append(option)
        units += own
    return chosen


@pytest.mark.parametrize("in_flight", [1, 2, 5])
@pytest.mark.parametrize("name", RECIPES)
def test_what_is_taken_is_what_fits_beside_its_neighbours(models, name, in_flight):
    recipe = {"base_model": "base"} | RECIPES[name]
    graph = compile_mapping(recipe, models / "recipe.yml").build.graph
    grouping = make_groups(graph, device="cpu", native=True)
    options = [options_of(group) for group in grouping.groups]
    lean = [Member(options[number][-1], output) for number, output in grouping.members]
    sizes = sorted({most_in_window(own, in_flight) for kinds in options for own in kinds})
    found = set()
    for spare_bytes in (
        0,
        *(size * times for size in sizes[:: len(sizes) // 4] for times in (1, 2, 8)),
    ):
        fitting = Fitting(spare_bytes, in_flight, lean)
        for number, output in grouping.members:
            fitting.take(options[number], output)
        taken = [member.option for member in fitting.chosen]
        plainly = taken_plainly(options, grouping.members, lean, spare_bytes, in_flight)
        assert list(map(id, taken)) == list(map(id, plainly))
        outputs = [output for _, output in grouping.members]
        assert [member.output for member in fitting.chosen] == outputs
        found.add(tuple(map(id, taken)))
    assert len(found) > 1
