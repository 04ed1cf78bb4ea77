"""Steps of drawn graphs that choose entries of task vectors by masks."""

from __future__ import annotations

from functools import partial

from hypothesis import strategies as st

from graphmerge.graph import Node, Space, make_node
from graphmerge.methods.order_statistics import cutoffs, kth_largest, last_digit
from graphmerge.ops.blockwise import KeepInGroups
from graphmerge.ops.importance import (
    Importance,
    KeepImportant,
    QuartileThreshold,
    RowDivergence,
    row_elements,
)
from graphmerge.ops.joint_masks import LargestOf, TallMaskSum
from graphmerge.ops.outliers import DropLargest
from graphmerge.ops.ranked import KeepMasked, RankedMask
from graphmerge.ops.regions import ActiveCounts, OverlapFactors, RegionMean
from graphmerge.ops.sparsify import KeepLargest, MaskKey, TieCutoff
from graphmerge.ops.spherical import Gram
from graphmerge.ops.variance import EnergyConsensus, EnergyShares, ShareDigits, Variance, Where

MOST_INPUTS = 3
EPSILON = 0.4
"""Near the size of drawn task vectors, so that some entries count as changed."""


def _deltas(draw: st.DrawFn, known: list[Node]) -> list[Node]:
    found = [node for node in known if node.space is Space.DELTA]
    return draw(st.lists(st.sampled_from(found), min_size=1, max_size=MOST_INPUTS)) if found else []


def drop_largest(draw: st.DrawFn, known: list[Node]) -> Node | None:
    """A delta without its largest magnitudes, and its least; at times the same ones."""
    for delta in _deltas(draw, known)[:1]:
        if delta.spec.numel:
            sizes = st.lists(st.integers(1, delta.spec.numel), min_size=2, max_size=2)
            outliers, within = cutoffs(delta, *sorted(draw(sizes)))
            kept = make_node(KeepLargest(0.5), delta, within)
            return make_node(DropLargest(0.5), kept, outliers)
    return None


def joint_mask(draw: st.DrawFn, known: list[Node]) -> Node | None:
    """One of the ops that choose entries by all deltas together."""
    deltas = _deltas(draw, known)
    if not deltas:
        return None
    factors = make_node(OverlapFactors(0.5, 0.75), make_node(ActiveCounts(EPSILON), *deltas))
    made = (
        make_node(LargestOf(), *deltas),
        make_node(TallMaskSum((0.4, 0.0, 1.5)[: len(deltas)], 2.0), *deltas),
        make_node(RegionMean(EPSILON), *deltas),
        make_node(RegionMean(EPSILON, scaled=True), *deltas, factors),
    )
    return draw(st.sampled_from(made))


def energy_consensus(draw: st.DrawFn, known: list[Node]) -> Node | None:
    """Selection by variance, weights by energy, and a vote."""
    deltas = _deltas(draw, known)
    if not deltas:
        return None
    share = draw(st.sampled_from((0.0, 1e-5, 0.3, 1.0)))
    variance = make_node(Variance(), *deltas)
    digits = last_digit(variance, partial(ShareDigits, share))
    ends = make_node(TieCutoff(), variance, digits)
    varied = make_node(KeepLargest(share), variance, ends)
    kept = [make_node(Where(draw(st.booleans())), delta, varied) for delta in deltas]
    weights = make_node(EnergyShares(), *(make_node(Gram(), delta) for delta in kept))
    return make_node(EnergyConsensus(), *kept, weights)


def keep_in_groups(draw: st.DrawFn, known: list[Node]) -> Node | None:
    """N of every m entries."""
    for delta in _deltas(draw, known)[:1]:
        group = draw(st.sampled_from((16, 64, 1024)))
        return make_node(KeepInGroups(draw(st.integers(1, group)), group), delta)
    return None


def ranked_drop(draw: st.DrawFn, known: list[Node]) -> Node | None:
    """Random dropping by rank."""
    key = MaskKey(0, draw(st.sampled_from("ab")), "x")
    for delta in _deltas(draw, known)[:1]:
        epsilon = draw(st.sampled_from((0.25, 0.0, -0.25)))
        mask = make_node(RankedMask(0.5, epsilon, key), delta)
        return make_node(KeepMasked(), delta, mask)
    return None


def keep_important(draw: st.DrawFn, known: list[Node]) -> Node | None:
    """What moves the softmax of a row."""
    weights = [node for node in known if node.space is Space.WEIGHT]
    for delta in _deltas(draw, known)[:1]:
        if len(weights) > 1 and delta.spec.numel:
            divergence = make_node(RowDivergence(), *weights[:2])
            size = make_node(Importance(row_elements(delta.spec)), delta, divergence)
            count = delta.spec.numel
            digits = kth_largest(size, -(-count // 2), -(-count // 4), -(-3 * count // 4))
            threshold = make_node(QuartileThreshold(delta.spec.dtype), digits)
            return make_node(KeepImportant(), delta, size, threshold)
    return None


STEPS = (
    drop_largest, joint_mask, energy_consensus, keep_in_groups, ranked_drop, keep_important,
)  # fmt: skip
