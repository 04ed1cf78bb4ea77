"""Patterns: what is worked out for one tensor holds for others over other leaves."""

import pytest

from graphmerge.graph import (
    Graph,
    Output,
    Pattern,
    Value,
    arrangement,
    distinct,
    make_node,
    pruned,
    shared_pattern,
)
from graphmerge.ops.arithmetic import AddDelta, Scale, TaskVector, WeightedSum
from graphmerge.testing.drawn_graphs import stored

SHAPE = (4, 3)


def load(name, model="m"):
    return stored(name, SHAPE, model=model)


def added(first, second):
    """
    first ──┬── task-vector ── scale ── add-delta
    second ─┴──────────────────────────┘
    """
    delta = make_node(Scale(0.5), make_node(TaskVector(), first, second))
    return make_node(AddDelta(1.0), second, delta)


def pattern_of(*names):
    loads = [load(name) for name in names]
    return Pattern(added(*loads), tuple(node.op for node in loads))


def test_a_value_over_other_leaves_has_the_node_that_they_would_have_given():
    pattern = pattern_of("a", "b")
    other = Value(pattern, (load("c").op, load("d").op))
    wanted = added(load("c"), load("d"))
    assert other.node is wanted
    assert (other.spec, other.space) == (wanted.spec, wanted.space)
    assert Value(pattern, pattern.leaves).node is pattern.root


def test_a_pattern_is_bound_node_by_node():
    pattern = pattern_of("a", "b")
    bound = pattern.bind((load("b").op, load("a").op))
    assert list(bound) == list(pattern.nodes)
    assert bound[load("a")] is load("b")
    assert bound[load("b")] is load("a")
    assert bound[pattern.root] is added(load("b"), load("a"))


def test_too_few_leaves_are_refused():
    with pytest.raises(ValueError, match="shorter"):
        pattern_of("a", "b").bind((load("c").op,))


def test_what_loads_more_than_its_leaves_is_not_shared():
    one, two = load("a"), load("b")
    assert shared_pattern(added(one, two), (one.op, two.op)) is not None
    assert shared_pattern(added(one, two), (one.op,)) is None


def test_leaves_that_the_root_does_not_need_are_left_out():
    loads = [load(name) for name in "abc"]
    leaves = tuple(node.op for node in loads)
    slim, chosen = pruned(Pattern(added(loads[2], loads[0]), leaves))
    assert chosen == (0, 2)
    assert slim.leaves == (leaves[0], leaves[2])
    whole = Pattern(make_node(WeightedSum((1.0, 1.0, 1.0), 3.0), *loads), leaves)
    assert pruned(whole) == (whole, (0, 1, 2))


def test_an_arrangement_tells_which_leaves_are_the_same():
    assert arrangement(("a", "b", "c")) == ()
    assert arrangement(("a", "b", "a")) == (0, 1, 0)
    assert distinct(("a", "b", "a")) == ("a", "b")


def test_outputs_that_share_nothing_are_alike_and_others_single():
    pattern = pattern_of("a", "b")
    outputs = tuple(
        Output(f"out{number}", Value(pattern, tuple(load(name).op for name in names)))
        for number, names in enumerate(("ab", "cd", "ef", "eg"))
    )
    outside = Output("out4", make_node(Scale(2.0), load("d")))
    graph = Graph((*outputs, outside))
    assert graph.partition.alike == {pattern: [outputs[0]]}
    assert graph.partition.single == (*outputs[1:], outside)
    plain = Graph(tuple(Output(output.name, output.node) for output in graph.outputs))
    assert graph.kinds() == plain.kinds()
    assert graph.sources() == {load(name).op for name in "abcdefg"}
