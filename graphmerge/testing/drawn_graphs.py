"""Hypothesis strategies: graphs out of all ops, over given stored tensors."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from hypothesis import strategies as st

from graphmerge.checkpoint.values import TensorEntry
from graphmerge.graph import Graph, Node, Output, Space, make_node, simplify
from graphmerge.methods.order_statistics import cutoffs
from graphmerge.ops.arithmetic import AddDelta, Cast, Scale, TaskVector, WeightedSum
from graphmerge.ops.consensus import SignConsensus
from graphmerge.ops.rescale import AbsoluteSum, Ratio, Rescale
from graphmerge.ops.sources import LoadTensor, StackLayer
from graphmerge.ops.sparsify import KeepLargest, MaskKey, RandomDrop
from graphmerge.ops.spherical import Combine, Gram, SphericalCoefficients
from graphmerge.spec import DType, TensorSpec
from graphmerge.testing import drawn_masks

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

WEIGHTS = (0.5, -0.25, 1.0, 0.0, 0.75)
STORED_DTYPES = (DType.F32, DType.BF16, DType.F16)


def stored(
    name: str, shape: tuple[int, ...], dtype: DType = DType.F32, *, model: str = "m"
) -> Node:
    """A load of a tensor that is in no file: for plans that are never run."""
    entry = TensorEntry(name, TensorSpec(shape, dtype), Path(f"/nowhere/{model}.safetensors"), 0)
    return make_node(LoadTensor(model, entry))


def keep_largest(delta: Node, keep: int) -> Node:
    """The `keep` largest magnitudes of a delta, by all the statistics that this takes."""
    return make_node(KeepLargest(0.5), delta, *cutoffs(delta, keep))


def rescaled(dense: Node, sparse: Node) -> Node:
    """A delta with the L1 norm of another."""
    norms = [make_node(AbsoluteSum(), delta) for delta in (dense, sparse)]
    return make_node(Rescale(), sparse, make_node(Ratio(), *norms))


def slerp(first: Node, second: Node, t: float) -> Node:
    """Spherical interpolation."""
    gram = make_node(Gram(), first, second)
    return make_node(Combine(), first, second, make_node(SphericalCoefficients(t), gram))


def drawn_graphs(loads: Sequence[Node], *, most_steps: int = 12) -> st.SearchStrategy[Graph]:
    """Graphs of up to so many steps, each on values made before; the loads may have any lengths."""
    return st.composite(_draw_graph)(tuple(loads), most_steps)


def _draw_graph(draw: st.DrawFn, loads: tuple[Node, ...], most_steps: int) -> Graph:
    shapes = sorted({load.spec.shape for load in loads})
    chosen = draw(st.lists(st.sampled_from(shapes), min_size=1, max_size=2, unique=True))
    results: list[Node] = [draw(st.sampled_from(loads))]
    for shape in chosen:
        known = _casts(loads, shape)
        known += [make_node(TaskVector(), other, known[0]) for other in known[1:]]
        given = len(known)
        for _ in range(draw(st.integers(1, most_steps))):
            made = draw(st.sampled_from(_STEPS))(draw, known)
            if made is not None:
                known.append(made)
        results += [_as_weight(node, known[0]) for node in reversed(known[given:])]
    picked = draw(st.lists(st.sampled_from(results), min_size=1, max_size=6))
    nodes = [_finished(draw, node) for node in (results[min(1, len(results) - 1)], *picked)]
    simplified = simplify(nodes)
    return Graph(tuple(Output(f"out{i}", simplified[node]) for i, node in enumerate(nodes)))


def _as_weight(node: Node, base: Node) -> Node:
    return make_node(AddDelta(), base, node) if node.space is Space.DELTA else node


def _casts(loads: tuple[Node, ...], shape: tuple[int, ...]) -> list[Node]:
    return [make_node(Cast(DType.F32), load) for load in loads if load.spec.shape == shape]


def _finished(draw: st.DrawFn, node: Node) -> Node:
    if draw(st.booleans()):
        node = make_node(Cast(draw(st.sampled_from(STORED_DTYPES))), node)
    if draw(st.booleans()):
        node = make_node(StackLayer(0, draw(st.integers(1, 3))), node)
    return node


def _one_of(draw: st.DrawFn, known: list[Node], space: Space) -> Node | None:
    found = [node for node in known if node.space is space]
    return draw(st.sampled_from(found)) if found else None


def _some_of(draw: st.DrawFn, known: list[Node], space: Space) -> list[Node]:
    found = [node for node in known if node.space is space]
    return draw(st.lists(st.sampled_from(found), min_size=1, max_size=4)) if found else []


def _task_vector(draw: st.DrawFn, known: list[Node]) -> Node | None:
    first, second = (_one_of(draw, known, Space.WEIGHT) for _ in range(2))
    return make_node(TaskVector(), first, second) if first and second else None


def _add_delta(draw: st.DrawFn, known: list[Node]) -> Node | None:
    base, delta = _one_of(draw, known, Space.WEIGHT), _one_of(draw, known, Space.DELTA)
    return (
        make_node(AddDelta(draw(st.sampled_from(WEIGHTS))), base, delta) if base and delta else None
    )


def _keep_largest(draw: st.DrawFn, known: list[Node]) -> Node | None:
    delta = _one_of(draw, known, Space.DELTA)
    if delta is None or not delta.spec.numel:
        return None
    return keep_largest(delta, draw(st.integers(1, delta.spec.numel)))


def _drop(draw: st.DrawFn, known: list[Node]) -> Node | None:
    delta = _one_of(draw, known, Space.DELTA)
    key = MaskKey(0, draw(st.sampled_from("ab")), "x")
    return make_node(RandomDrop(0.5, key), delta) if delta else None


def _rescale(draw: st.DrawFn, known: list[Node]) -> Node | None:
    dense, sparse = (_one_of(draw, known, Space.DELTA) for _ in range(2))
    return rescaled(dense, sparse) if dense and sparse else None


def _elect(draw: st.DrawFn, known: list[Node]) -> Node | None:
    deltas = _some_of(draw, known, Space.DELTA)
    op = SignConsensus(WEIGHTS[: len(deltas)], draw(st.booleans()))
    return make_node(op, *deltas) if deltas else None


def _sum(draw: st.DrawFn, known: list[Node]) -> Node | None:
    terms = _some_of(draw, known, draw(st.sampled_from((Space.WEIGHT, Space.DELTA))))
    return make_node(WeightedSum(WEIGHTS[: len(terms)], 1.5), *terms) if terms else None


def _scale(draw: st.DrawFn, known: list[Node]) -> Node | None:
    value = _one_of(draw, known, draw(st.sampled_from((Space.WEIGHT, Space.DELTA))))
    return make_node(Scale(0.5), value) if value else None


def _slerp(draw: st.DrawFn, known: list[Node]) -> Node | None:
    space = draw(st.sampled_from((Space.WEIGHT, Space.DELTA)))
    first, second = (_one_of(draw, known, space) for _ in range(2))
    return (
        slerp(first, second, draw(st.sampled_from((0.0, 0.3, 1.0)))) if first and second else None
    )


_STEPS: tuple[Callable[[st.DrawFn, list[Node]], Node | None], ...] = (
    _task_vector, _add_delta, _keep_largest, _drop, _rescale, _elect, _sum, _scale, _slerp,
    *drawn_masks.STEPS,
)  # fmt: skip
