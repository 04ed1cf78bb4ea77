import itertools
import json
import os
import re
import subprocess
from xml.etree import ElementTree

import pytest
from attrs import evolve

from graphmerge.pipeline import compile_recipe
from graphmerge.reporting import svg
from graphmerge.reporting.drawing import VARIES, merged_settings
from graphmerge.testing.checkpoints import write_header_only
from graphmerge.testing.llama_shapes import LLAMA_70B
from graphmerge.units import GIB

LINEAR = {
    "merge_method": "linear",
    "models": [
        {"model": "first", "parameters": {"weight": [1, 4]}},
        {"model": "second", "parameters": {"weight": 3}},
    ],
    "parameters": {"normalize": False},
}
SLICES = {
    "merge_method": "passthrough",
    "slices": [
        {"sources": [{"model": "first", "layer_range": [0, 2]}]},
        {"sources": [{"model": "second", "layer_range": [1, 3]}]},
    ],
}
SVG = "{http://www.w3.org/2000/svg}"
ATTRIBUTES = ("x", "y", "width", "height")
ODD_NAME = 'a"b\\N{rank} & <c>'


def drawn(folder, recipe):
    """What --json prints of a recipe."""
    if isinstance(recipe, dict):
        folder.write("recipe.yml", recipe)
        recipe = "recipe.yml"
    result = folder.invoke("show", recipe, "--json")
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def picture(folder, recipe):
    """The SVG document of a recipe."""
    result = folder.invoke("show", recipe, "--svg", "drawing.svg")
    assert result.exit_code == 0, result.stderr
    return ElementTree.parse(folder.path / "drawing.svg").getroot()


def node_rects(root):
    """Left, top, width and height of each node, by id."""
    return {
        group.get("id"): [float(group.find(f"{SVG}rect").get(key)) for key in ATTRIBUTES]
        for group in root.iter(f"{SVG}g")
        if "node" in group.get("class", "").split()
    }


def patterns(group):
    return {found["pattern"]: found["tensors"] for found in group["patterns"]}


def groups_of(content):
    """Ids of the nodes of each group, from the edges alone."""
    inputs = {node["id"]: [] for node in content["nodes"]}
    for edge in content["edges"]:
        inputs[edge["to"]].append(edge["from"])
    for group in content["groups"]:
        names, stack = set(), [group["output"]]
        while stack:
            name = stack.pop()
            names.add(name)
            stack.extend(set(inputs[name]) - names)
        yield sorted(names, key=list(inputs).index)


def test_layers_and_matrices_that_are_computed_alike_are_drawn_once(folder):
    content = drawn(folder, "ties.yml")
    (group,) = content["groups"]
    found = patterns(group)
    assert found["model.layers.{0..3}.mlp.up_proj.weight"] == 4
    assert found["model.norm.weight"] == 1
    assert len(found) == 12
    assert sum(found.values()) == group["tensors"] == 39
    assert {node["count"] for node in content["nodes"]} == {39}
    kinds = sorted(node["kind"] for node in content["nodes"])
    assert kinds == sorted(
        ["load-tensor", "cast"] * 3
        + ["task-vector", "magnitude-digits", "magnitude-digits", "tie-cutoff", "sparsify"] * 2
        + ["sign-consensus", "add-delta", "cast"]
    )


def test_values_that_several_steps_use_are_one_node(folder):
    content = drawn(folder, "ties.yml")
    kinds = {node["id"]: node["kind"] for node in content["nodes"]}
    (base,) = (node["id"] for node in content["nodes"] if node["settings"] == "base")
    (cast,) = (edge["to"] for edge in content["edges"] if edge["from"] == base)
    uses = [(kinds[e["to"]], e["position"]) for e in content["edges"] if e["from"] == cast]
    assert sorted(uses) == [("add-delta", 0), ("task-vector", 1), ("task-vector", 1)]


def test_numbers_that_differ_are_a_range_and_shapes_are_left_out(folder):
    content = drawn(folder, LINEAR)
    (total,) = (node for node in content["nodes"] if node["kind"] == "weighted-sum")
    assert total["settings"] == "1..4, 3"
    assert total["spec"] == "F32"
    assert total["space"] == "weight"


@pytest.mark.parametrize(
    ("texts", "merged"),
    [
        (["density=0.5"], "density=0.5"),
        (["0.5, 1e-05", "0.25, 0.1", "-2, 0.1"], "-2..0.5, 1e-05..0.1"),
        (["9 of F32", "10 of F32"], "9..10 of F32"),
        (["of F32", "of F64"], VARIES),
        (["1, 2", "1, 2; / 3"], VARIES),
        (["slerp2, t=1", "slerp2, t=0"], "slerp2, t=0..1"),
    ],
)
def test_settings_of_several_nodes(texts, merged):
    assert merged_settings(texts) == merged


def test_other_models_in_other_layers_are_groups_of_their_own(folder):
    content = drawn(folder, SLICES)
    first, moved, outside = content["groups"]
    assert patterns(first)["model.layers.{0..1}.mlp.up_proj.weight"] == 2
    assert patterns(moved)["model.layers.{2..3}.mlp.up_proj.weight"] == 2
    assert set(patterns(outside)) == {"model.norm.weight", "lm_head.weight"}
    nodes = {node["id"]: node for node in content["nodes"]}
    settings = [
        [nodes[name]["settings"] for name in names if nodes[name]["kind"] != "cast"]
        for names in groups_of(content)
    ]
    moved_from = "second: model.layers.{1..2}.input_layernorm.weight and 8 more"
    assert settings == [["first"], [moved_from, "1..2 -> 2..3"], ["second"]]


def test_copies_are_apart_and_say_why(folder):
    folder.write(
        "graph.yml",
        "graph:\n"
        "  both: {op: weighted-sum, inputs: [first, second], weights: [1, 1]}\n"
        "  out: {op: where, inputs: [both, base], tensors: lm_head}\n"
        "output: out\n",
    )
    content = drawn(folder, "graph.yml")
    merged, copied = sorted(content["groups"], key=lambda group: group["reason"])
    assert (merged["reason"], merged["tensors"]) == ("", 38)
    assert (copied["reason"], patterns(copied)) == ("taken from base", {"lm_head.weight": 1})
    (load,) = (node for node in content["nodes"] if node["id"] == copied["output"])
    assert (load["kind"], load["spec"], load["count"]) == ("load-tensor", "BF16[320, 32]", 1)
    tree = folder.invoke("show", "graph.yml").stdout
    assert "1 tensor, copied: taken from base\n  lm_head.weight\n" in tree


PLUGIN = """
import graphmerge as gm

@gm.merge_method("first_own", access="elementwise")
def first_own(tensors: list, *, share: float = 1.0):
    return tensors[0] * share

@gm.merge_method("other_own", access="elementwise")
def other_own(tensors: list, *, share: float = 1.0):
    return tensors[1] * share
"""
WITH_PLUGIN = """
graph:
  one: {merge_method: first_own, models: [{model: first}, {model: second}],
        parameters: {share: [0, 1]}}
  two: {merge_method: other_own, models: [{model: first}, {model: second}],
        parameters: {share: [0, 1]}}
  out: {op: where, inputs: [one, two], tensors: mlp}
output: out
"""


def test_methods_of_plugins_are_apart_by_name(folder):
    folder.write("recipe.yml", WITH_PLUGIN)
    (folder.path / "own.py").write_text(PLUGIN)
    result = folder.process("show", "recipe.yml", "--json", "--plugin", "own.py")
    assert result.returncode == 0, result.stderr
    nodes = json.loads(result.stdout)["nodes"]
    settings = [node["settings"] for node in nodes if node["kind"] == "custom"]
    assert sorted(settings) == ["first_own, share=0.0..1.0", "other_own, share=0.0..1.0"]


@pytest.mark.parametrize("recipe", [LINEAR, SLICES])
def test_json_is_whole(folder, recipe):
    content = drawn(folder, recipe)
    assert list(content) == ["format_version", "recipe", "methods", "groups", "nodes", "edges"]
    assert content["format_version"] == 1
    assert content["recipe"] == "recipe.yml"
    assert content["methods"] == recipe["merge_method"]
    ids = [node["id"] for node in content["nodes"]]
    assert len(set(ids)) == len(ids)
    ends = {end for edge in content["edges"] for end in (edge["from"], edge["to"])}
    outputs = {group["output"] for group in content["groups"]}
    assert ends | outputs <= set(ids)
    assert outputs == set(ids) - {edge["from"] for edge in content["edges"]}
    validated = folder.invoke("validate", "recipe.yml").stdout
    tensors = sum(group["tensors"] for group in content["groups"])
    assert f"into {tensors} tensors" in validated
    assert tensors == sum(sum(patterns(group).values()) for group in content["groups"])


def test_the_tree_names_what_is_used_twice(folder):
    folder.write("recipe.yml", {
        "merge_method": "slerp", "base_model": "first",
        "models": [{"model": "first"}, {"model": "second"}], "parameters": {"t": [0, 1]},
    })  # fmt: skip
    result = folder.process("show", "recipe.yml")
    assert result.stdout == (
        "39 tensors\n"
        "  model.embed_tokens.weight\n"
        "  model.layers.{0..3}.input_layernorm.weight (4)\n"
        "  model.layers.{0..3}.mlp.down_proj.weight (4)\n"
        "  and 9 more\n"
        "└── cast(BF16)  BF16  weight\n"
        "    └── interpolate(spherical)  F32  weight\n"
        "        ├── cast(F32)  F32  weight  = n1\n"
        "        │   └── load-tensor(first)  BF16  weight\n"
        "        ├── cast(F32)  F32  weight  = n3\n"
        "        │   └── load-tensor(second)  BF16  weight\n"
        "        └── spherical-coefficients(t=0..1)  F64[2]  statistic\n"
        "            └── gram  F64[2, 2]  statistic\n"
        "                ├── n1 (above)\n"
        "                └── n3 (above)\n"
    )


def test_long_names_are_whole_in_the_tree(folder):
    name = "deep/" * 60 + "model"
    (folder.path / name).parent.mkdir(parents=True)
    (folder.path / name).symlink_to(folder.path / "first")
    folder.write("recipe.yml", {"merge_method": "passthrough", "models": [{"model": name}]})
    assert f"load-tensor({name})" in folder.invoke("show", "recipe.yml").stdout


def test_dot_declares_every_node_in_the_cluster_of_its_group(folder):
    content = drawn(folder, SLICES)
    result = folder.invoke("show", "recipe.yml", "--dot", "drawing.dot")
    assert result.stdout == f"wrote drawing.dot: {len(content['nodes'])} nodes\n"
    text = (folder.path / "drawing.dot").read_text()
    bare = re.sub(r'"(\\.|[^"\\])*"', '""', text)
    assert bare.count("{") == bare.count("}") == 1 + len(content["groups"])
    assert len(re.findall(r"subgraph cluster_\d+ \{", bare)) == len(content["groups"])
    declared = re.findall(r'^ *"(\w+)" \[', text, re.MULTILINE)
    assert declared == [node["id"] for node in content["nodes"]]
    edges = re.findall(r'"(\w+)" -> "(\w+)";', text)
    assert edges == [(edge["from"], edge["to"]) for edge in content["edges"]]
    assert "model.layers.{2..3}.input_layernorm.weight (2)" in text


def test_odd_names_are_escaped(folder):
    (folder.path / ODD_NAME).symlink_to(folder.path / "first")
    folder.write("recipe.yml", {"merge_method": "passthrough", "models": [{"model": ODD_NAME}]})
    root = picture(folder, "recipe.yml")
    assert ODD_NAME in [text.text for text in root.iter(f"{SVG}text")]
    assert any(ODD_NAME in title.text for title in root.iter(f"{SVG}title"))
    folder.invoke("show", "recipe.yml", "--dot", "drawing.dot")
    text = (folder.path / "drawing.dot").read_text()
    assert re.findall(r'label="load-tensor\\n((?:\\.|[^"\\])*)\\nBF16"', text) == [
        r"a\"b\\N{rank} &amp; <c>"
    ]


def test_characters_that_xml_has_not_are_replaced(folder):
    name = "a\x1b[31m"
    (folder.path / name).symlink_to(folder.path / "first")
    folder.write("recipe.yml", {"merge_method": "passthrough", "models": [{"model": name}]})
    texts = [text.text for text in picture(folder, "recipe.yml").iter(f"{SVG}text")]
    assert "a\N{REPLACEMENT CHARACTER}[31m" in texts


def are_apart(one, other):
    """Whether two rectangles have nothing in common."""
    (x1, y1, w1, h1), (x2, y2, w2, h2) = one, other
    return x1 + w1 < x2 or x2 + w2 < x1 or y1 + h1 < y2 or y2 + h2 < y1


@pytest.mark.parametrize("recipe", ["ties.yml", "recipe.yml"])
def test_svg_has_a_rect_for_each_node_and_none_overlap(folder, recipe):
    folder.write("recipe.yml", SLICES)
    content = drawn(folder, recipe)
    rects = node_rects(picture(folder, recipe))
    assert list(rects) == [node["id"] for node in content["nodes"]]
    for names in groups_of(content):
        for one, other in itertools.combinations(names, 2):
            assert are_apart(rects[one], rects[other]), (one, other)
    for edge in content["edges"]:
        assert rects[edge["from"]][1] + rects[edge["from"]][3] < rects[edge["to"]][1]


@pytest.mark.parametrize("sheet_width", [10, 900, 2000])
@pytest.mark.parametrize("recipe", ["ties.yml", "recipe.yml"])
def test_frames_hold_their_nodes_and_do_not_overlap(folder, monkeypatch, recipe, sheet_width):
    monkeypatch.setattr(svg, "SHEET_WIDTH", sheet_width)
    folder.write("recipe.yml", SLICES)
    root = picture(folder, recipe)
    _, _, width, height = map(float, root.get("viewBox").split())
    frames = []
    for frame in root.findall(f"{SVG}g"):
        left, top = offset(frame)
        border = frame.find(f"{SVG}rect")
        frame_width, frame_height = float(border.get("width")), float(border.get("height"))
        assert 0 < left < left + frame_width < width
        assert 0 < top < top + frame_height < height
        inner_left, inner_top = offset(frame.find(f"{SVG}g"))
        for x, y, w, h in node_rects(frame).values():
            assert 0 < inner_left + x < inner_left + x + w < frame_width
            assert 0 < inner_top + y < inner_top + y + h < frame_height
        frames.append((left, top, frame_width, frame_height))
    assert len(frames) == (1 if recipe == "ties.yml" else 3)
    assert all(itertools.starmap(are_apart, itertools.combinations(frames, 2)))


def offset(group):
    """Where a group of SVG elements is moved to."""
    found = re.fullmatch(r"translate\(([\d.]+) ([\d.]+)\)", group.get("transform"))
    return map(float, found.groups())


def test_edges_do_not_cross_nodes(folder):
    """Where a long edge passes a row it is a vertical line, which must be beside every node."""
    root = picture(folder, "ties.yml")
    lanes = [
        re.search(r"([\d.]+) ([\d.]+)V([\d.]+)$", path.get("d"))
        for path in root.iter(f"{SVG}path")
        if "V" in path.get("d")
    ]
    assert len(lanes) >= 6
    for lane in lanes:
        x, top, bottom = map(float, lane.groups())
        for left, y, width, height in node_rects(root).values():
            assert not (left <= x <= left + width and y < bottom and top < y + height)


RUN = """
import sys
from graphmerge.cli.app import app

def run(*arguments):
    try:
        app(arguments)
    except SystemExit as end:
        assert end.code in (0, None), end.code
"""


def python(folder, script, **environment):
    """Run Python code that calls commands by `run`, in a process of its own."""
    command = [folder.command()[0], "-c", RUN + script]
    return subprocess.run(
        command,
        cwd=folder.path,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_same_recipe_gives_the_same_bytes(folder):
    folder.write("recipe.yml", SLICES)
    for seed in ("1", "2"):
        script = "".join(
            f"run('show', {recipe!r}, '--{form}', {recipe + seed + form!r})\n"
            for recipe, form in itertools.product(("ties.yml", "recipe.yml"), ("svg", "dot"))
        )
        result = python(folder, script, PYTHONHASHSEED=seed)
        assert result.returncode == 0, result.stderr
    for recipe, form in itertools.product(("ties.yml", "recipe.yml"), ("svg", "dot")):
        one, two = ((folder.path / f"{recipe}{seed}{form}").read_bytes() for seed in "12")
        assert one == two


def test_drawing_imports_no_torch_and_planning_no_networkx(folder):
    script = (
        "run('plan', 'ties.yml')\n"
        "run('show', 'ties.yml', '--json')\n"
        "run('show', 'ties.yml', '--dot', 'drawing.dot')\n"
        "assert 'networkx' not in sys.modules\n"
        "run('show', 'ties.yml')\n"
        "run('show', 'ties.yml', '--svg', 'drawing.svg')\n"
        "assert 'networkx' in sys.modules\n"
        "assert 'torch' not in sys.modules\n"
    )
    result = python(folder, script)
    assert result.returncode == 0, result.stderr
    assert (folder.path / "drawing.svg").exists()


def test_only_one_format_at_a_time(folder):
    for options in (("--dot", "a", "--svg", "b"), ("--json", "--svg", "b"), ("--json", "--dot=a")):
        result = folder.invoke("show", "ties.yml", *options)
        assert result.exit_code == 2
        assert result.stderr == "error: more than one format @ --dot, --svg, --json; wanted one\n"
    assert not (folder.path / "a").exists()
    assert not (folder.path / "b").exists()


@pytest.mark.parametrize("option", ["--svg", "--dot"])
def test_a_file_that_cannot_be_written(folder, option):
    result = folder.invoke("show", "ties.yml", option, "nowhere/drawing")
    assert result.exit_code == 1
    assert result.stderr == (
        "error: cannot write @ nowhere/drawing: got No such file or directory\n"
    )


def test_a_wrong_recipe_writes_nothing(folder):
    folder.write("recipe.yml", LINEAR | {"merge_method": "lineal"})
    result = folder.invoke("show", "recipe.yml", "--svg", "drawing.svg")
    assert result.exit_code == 2
    assert "lineal" in result.stderr
    assert not (folder.path / "drawing.svg").exists()


def test_seventy_billion_parameters_are_a_small_picture(folder):
    for name in "abcd":
        write_header_only(folder.path / name, LLAMA_70B, max_shard_bytes=10 * GIB)
    sources = [
        {"model": name, "parameters": {"weight": [0.1, 0.5], "density": 0.5}} for name in "bcd"
    ]
    folder.write("large.yml", {"merge_method": "ties", "base_model": "a", "models": sources})
    root = picture(folder, "large.yml")
    assert len(node_rects(root)) == 26
    texts = [text.text for text in root.iter(f"{SVG}text")]
    assert "723 tensors" in texts
    assert "model.layers.{0..79}.mlp.down_proj.weight (80)" in texts


def test_warnings_are_printed_beside_the_drawing(folder, monkeypatch):
    """As `plan` and `validate` print them."""
    folder.write("recipe.yml", LINEAR)
    compiled = compile_recipe(folder.path / "recipe.yml")
    graph = evolve(compiled.build.graph, warnings=("look out",))
    warned = evolve(compiled, build=evolve(compiled.build, graph=graph))
    monkeypatch.setattr("graphmerge.cli.show.compile_recipe", lambda _: warned)
    result = folder.invoke("show", "recipe.yml")
    assert "warning: look out" in result.stderr
    assert "look out" not in result.stdout
