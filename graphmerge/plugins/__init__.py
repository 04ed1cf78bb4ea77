"""Methods and checkpoint formats that other packages bring."""

from graphmerge.plugins.decorators import merge_graph, merge_method, sparsifier
from graphmerge.plugins.discovery import (
    PluginReport,
    load_plugin_file,
    plugins_loaded_torch,
    require_method,
)
from graphmerge.plugins.formats import checkpoint_reader
from graphmerge.plugins.readers import installed_plugins, read_any_checkpoint

__all__ = [
    "PluginReport",
    "checkpoint_reader",
    "installed_plugins",
    "load_plugin_file",
    "merge_graph",
    "merge_method",
    "plugins_loaded_torch",
    "read_any_checkpoint",
    "require_method",
    "sparsifier",
]
