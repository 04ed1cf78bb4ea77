"""Localize-and-Stitch without data (arXiv 2408.13656)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import evolve

from graphmerge.graph import make_node
from graphmerge.methods.base import BaseRule, Group, MergeInputs, Method
from graphmerge.methods.parameters import DENSITY, SCALE
from graphmerge.methods.task_vectors import add_to_base
from graphmerge.methods.whole_model import distinct, survey_thresholds, trimmed
from graphmerge.ops.consensus import MeanOfNonzero

if TYPE_CHECKING:
    from graphmerge.graph import Node
    from graphmerge.methods.base import Survey


def survey(merges: tuple[MergeInputs, ...]) -> Survey:
    """The threshold of each task vector, over all tensors."""
    return survey_thresholds(distinct(merges))


def build(merge: MergeInputs) -> Node:
    """B + lambda * the mean of those localized entries that are there."""
    return add_to_base(merge, make_node(MeanOfNonzero(), *trimmed(merge, merge.survey)))


METHOD = Method(
    name="localize_and_stitch",
    summary="Adds the few largest entries of each whole task vector, averaged where they overlap.",
    formula="B + lambda sum_i m_i (T_i - B) / sum_i m_i, m_i the largest of the whole model",
    use_when="fine-tunes whose skills sit in few weights, which averaging would dilute",
    paper="Localize-and-Stitch, arXiv 2408.13656",
    build=build,
    survey=survey,
    base=BaseRule.REQUIRED,
    group=Group.TASK_VECTORS,
    parameters=(evolve(DENSITY, default=0.05), SCALE),
    least_models=2,
)
