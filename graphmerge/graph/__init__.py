"""The graph: hash-consed nodes over abstract ops, rewrites, and the verifier."""

from graphmerge.graph.graph import Graph, Omission, Output
from graphmerge.graph.node import Node, make_node, postorder
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
    "Fusion",
    "Graph",
    "Node",
    "Omission",
    "Op",
    "Output",
    "Pattern",
    "Space",
    "Value",
    "Workspace",
    "arrangement",
    "distinct",
    "make_node",
    "postorder",
    "pruned",
    "shared_pattern",
    "simplify",
    "verify_graph",
]
