"""The graph: hash-consed nodes over abstract ops, rewrites, and the verifier."""

from graphmerge.graph.alike import Alike, Member, all_inputs, by_place, tops_of_kinds
from graphmerge.graph.expansion import expanded_where_needed
from graphmerge.graph.graph import Graph, Omission, Output, Surveyed
from graphmerge.graph.node import Node, is_statistic, make_node, postorder
from graphmerge.graph.op import Access, Fusion, Op, Space, Workspace
from graphmerge.graph.pattern import (
    Pattern,
    Value,
    arrangement,
    distinct,
    pruned,
    shared_pattern,
)
from graphmerge.graph.rewrite import simplify
from graphmerge.graph.verify import verify_graph

__all__ = [
    "Access",
    "Alike",
    "Fusion",
    "Graph",
    "Member",
    "Node",
    "Omission",
    "Op",
    "Output",
    "Pattern",
    "Space",
    "Surveyed",
    "Value",
    "Workspace",
    "all_inputs",
    "arrangement",
    "by_place",
    "distinct",
    "expanded_where_needed",
    "is_statistic",
    "make_node",
    "postorder",
    "pruned",
    "shared_pattern",
    "simplify",
    "tops_of_kinds",
    "verify_graph",
]
