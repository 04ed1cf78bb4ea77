"""`graphmerge inspect`: what the headers and config.json of a checkpoint say."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer
from attrs import asdict

from graphmerge.checkpoint.folding import fold_names
from graphmerge.checkpoint.summary import CheckpointSummary, summarise
from graphmerge.cli import options
from graphmerge.cli.say import say
from graphmerge.places import read_named
from graphmerge.reporting.columns import columns
from graphmerge.reporting.wording import counted
from graphmerge.units import format_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from graphmerge.checkpoint.values import Checkpoint

CheckpointName = Annotated[
    str,
    typer.Argument(
        metavar="CHECKPOINT",
        help="Model folder, safetensors or torch file, or ORGANISATION/NAME[@REVISION] of the Hub.",
        show_default=False,
    ),
]


def inspect(
    checkpoint: CheckpointName,
    as_json: options.Json = False,
    plugin: options.Plugins = None,
) -> None:
    """Show tensors, dtypes, sizes, layers, embeddings and config of CHECKPOINT."""
    options.load_plugins(plugin)
    found = read_named(checkpoint)
    summary = summarise(found)
    if as_json:
        typer.echo(json.dumps(asdict(summary), indent=2))
        return
    for line in (*_lines(summary), *_tensor_lines(found)):
        say(line)


def _lines(summary: CheckpointSummary) -> list[str]:
    counts = ", ".join(f"{dtype} {count}" for dtype, count in summary.dtypes.items())
    size = format_bytes(summary.data_bytes)
    files = counted(len(summary.files), "file")
    lines = [
        f"{summary.path}: {counted(len(summary.tensors), 'tensor')}, {size} in {files}",
        f"dtypes      {counts}",
    ]
    if summary.format != "safetensors":
        lines.append(f"format      {summary.format}")
    if summary.quantisation:
        lines.append(f"quantised   {summary.quantisation}; {_what_becomes_of(summary)}")
    lines += [f"layers      {layers.prefix} has {layers.count}" for layers in summary.layers]
    if summary.note:
        lines.append(f"note        {summary.note}")
    lines.append(f"embeddings  {', '.join(summary.embeddings) or 'none found'}")
    lines += [f"tied        {head} is {embedding}" for head, embedding in summary.tied.items()]
    config = ", ".join(f"{key}={value}" for key, value in summary.config.items())
    lines.append(f"config      {config or 'no config.json'}")
    if summary.unlisted:
        lines.append(f"ignored     no part of the model: {', '.join(summary.unlisted)}")
    lines += [f"note        {note}" for note in summary.notes]
    return lines


def _what_becomes_of(summary: CheckpointSummary) -> str:
    if not summary.dequantised:
        return "such models are not merged"
    return f"{counted(len(summary.dequantised), 'weight')} computed from codes and scales"


def _tensor_lines(checkpoint: Checkpoint) -> Iterator[str]:
    """Names, those of all layers folded where shape and dtype agree."""
    by_spec: dict[str, list[str]] = {}
    for name, entry in checkpoint.tensors.items():
        by_spec.setdefault(str(entry.spec), []).append(name)
    rows = [("tensors", "", "", "")]
    for spec, names in by_spec.items():
        for folded in fold_names(names):
            size = sum(checkpoint.tensors[name].spec.nbytes for name in folded.names)
            count = str(len(folded.names))
            rows.append((f"  {folded.pattern}", count, spec, format_bytes(size)))
    return columns(rows, right=(1, 3))
