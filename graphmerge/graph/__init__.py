"""The graph: hash-consed nodes over abstract ops, rewrites, and the verifier."""

from graphmerge.graph.graph import Graph, Omission, Output
from graphmerge.graph.node import Node, make_node, postorder
from graphmerge.graph.op import Access, Fusion, Op, Space, Workspace
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
    "Space",
    "Workspace",
    "make_node",
    "postorder",
    "simplify",
    "verify_graph",
]
