"""Methods and checkpoint formats that other packages bring."""

from graphmerge.plugins.decorators import merge_graph, merge_method, sparsifier
from graphmerge.plugins.discovery import (
    PluginReport,
    installed_plugins,
    load_plugin_file,
    require_method,
)
from graphmerge.plugins.formats import checkpoint_reader

__all__ = [
    "PluginReport",
    "checkpoint_reader",
    "installed_plugins",
    "load_plugin_file",
    "merge_graph",
    "merge_method",
    "require_method",
    "sparsifier",
]
