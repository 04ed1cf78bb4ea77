"""An adapter as an output: weights, config, model card and manifest, in a folder that is whole."""

from __future__ import annotations

import json
import shlex
import time
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from attrs import field

from graphmerge.adapters.card import AdapterCard, adapter_card
from graphmerge.checkpoint.adapter import ADAPTER_WEIGHTS
from graphmerge.checkpoint.adapter_config import ADAPTER_CONFIG
from graphmerge.checkpoint.fingerprint import fingerprint
from graphmerge.checkpoint.own_files import CARD_NAME
from graphmerge.checkpoint.values import Component
from graphmerge.describing import card_part
from graphmerge.errors import CheckpointError, Problem
from graphmerge.execution.peak import measured_peak_bytes
from graphmerge.execution.stored_bytes import pieces
from graphmerge.execution.stored_values import all_finite
from graphmerge.frozen_classes import frozen
from graphmerge.machine import installed_version, installed_versions
from graphmerge.output import (
    CheckpointSink,
    Manifest,
    ShardWriter,
    layout_shards,
    manifest_input,
    manifest_tensors,
    whole_folder,
    write_manifest,
    write_text,
)
from graphmerge.recipe.references import parse_reference

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from graphmerge.checkpoint.values import Checkpoint, TensorEntry
    from graphmerge.execution.reading import FileReader
    from graphmerge.output import CardPart, ManifestInput, ShardLayout
    from graphmerge.spec import TensorSpec

MOST_PROBLEMS = 20
"""Problems that are shown of inputs that do not fit."""
_WHOLE = Component("", Path(ADAPTER_WEIGHTS).stem)
"""The component that an adapter consists of."""


@frozen(eq=False)
class AdapterInput:
    """A model or adapter that an adapter is made from."""

    reference: str
    """How it was named."""
    checkpoint: Checkpoint
    """Its files."""

    @cached_property
    def part(self) -> CardPart:
        """What cards say of it."""
        named = parse_reference(self.reference, recipe_folder=None)
        return card_part(self.checkpoint, named.path, named.revision)


@frozen(kw_only=True, eq=False)
class Making:
    """How an adapter is made."""

    method: str
    """The command: `merge-lora`."""
    arguments: Sequence[str]
    """What the command was given."""
    inputs: Sequence[AdapterInput]
    """What the adapter is made from."""
    base: CardPart | None
    """The model that it is an adapter of; None if nobody knows."""
    loading_class: str
    """The class of transformers that loads that model; empty if that is not known."""
    predicted_peak_bytes: int | None = None
    """Peak memory of the process, as far as it is known beforehand."""
    budget_bytes: int | None = None
    """Memory budget, if there is one."""
    with_card: bool = True
    """Whether there is a model card."""

    @property
    def command(self) -> str:
        """The command as a shell takes it."""
        return shlex.join(["graphmerge", self.method, *self.arguments])


@frozen(kw_only=True)
class Made:
    """What became of it."""

    summary: str
    """What the command did, in one sentence."""
    roles: Sequence[str]
    """What each input is here: `weight 0.6`."""
    parameters: Mapping[str, Any] = field(hash=False)
    """What the manifest says of how it was done."""
    warnings: tuple[str, ...] = ()
    """What the user is told."""


class AdapterWriter:
    """Writes one adapter; made by `adapter_writer`."""

    def __init__(
        self, making: Making, title: str, folder: Path, layout: ShardLayout, writer: ShardWriter
    ) -> None:
        self._making = making
        self._title = title
        self._folder = folder
        self._layout = layout
        self._sink = CheckpointSink(layout, writer, None, {}, durable=False)
        self._inputs = [_manifest_input(one) for one in making.inputs]
        self._began = time.monotonic()

    def write(self, name: str, values: NDArray[np.float64]) -> None:
        """Write a tensor, rounded to float32.

        Raises:
            CheckpointError: float32 has no room for some of the numbers.
            MachineError: the file system refused the write.
        """
        with np.errstate(over="ignore"):
            rounded = np.ascontiguousarray(values, np.float32)
        if not all_finite(rounded):
            what, got = "a number that float32 has no room for", f"{np.abs(values).max():g}"
            raise CheckpointError(Problem(what, f"tensor {name}", got, hint="use smaller weights"))
        self._sink.write(name, 0, rounded)
        self._sink.finish((name,))

    def copy(self, entry: TensorEntry, reader: FileReader) -> None:
        """Write a stored tensor as it is.

        Raises:
            CheckpointError: the file ends early.
            MachineError: a file cannot be read or written.
        """
        for start, data in pieces(entry, reader):
            self._sink.write(entry.name, start, data)
        self._sink.finish((entry.name,))

    def finish(self, config: Mapping[str, Any], made: Made) -> None:
        """Write what stands beside the weights.

        Args:
            config: adapter_config.json.
            made: What manifest and card say of how it was done.

        Raises:
            MachineError: a file cannot be written.
        """
        making = self._making
        write_text(self._folder / ADAPTER_CONFIG, json.dumps(config, indent=2) + "\n")
        if making.with_card:
            write_text(self._folder / CARD_NAME, adapter_card(self._card(made)))
        manifest = Manifest(
            graphmerge_version=installed_version("graphmerge"),
            command=making.command,
            method=making.method,
            parameters=made.parameters,
            versions=installed_versions(),
            inputs=tuple(self._inputs),
            tensors=manifest_tensors(self._layout, self._sink.checksums),
            predicted_peak_bytes=making.predicted_peak_bytes,
            measured_peak_bytes=measured_peak_bytes(),
            budget_bytes=making.budget_bytes,
            seconds=time.monotonic() - self._began,
            written_bytes=self._layout.total_size_bytes,
            warnings=made.warnings,
        )
        write_manifest(self._folder, manifest)

    def _card(self, made: Made) -> AdapterCard:
        making = self._making
        parts = [one.part for one in making.inputs]
        return AdapterCard(
            title=self._title,
            base=making.base,
            models=tuple(zip(parts, made.roles, strict=True)),
            method=making.method,
            summary=made.summary,
            command=making.command,
            loading_class=making.loading_class,
        )


@contextmanager
def adapter_writer(
    out: Path, specs: Sequence[tuple[str, TensorSpec]], making: Making, *, overwrite: bool
) -> Iterator[AdapterWriter]:
    """The writer of an adapter, which becomes `out` at the end of the block.

    Args:
        out: Folder to be made.
        specs: Every tensor, by the names that PEFT gives them.
        making: How the adapter is made.
        overwrite: Replace an `out` that exists.

    Raises:
        OutputError: `out` is in use and may not be replaced, or shares a folder with an input.
        MachineError: a file cannot be read or written.
    """
    size_bytes = sum(spec.nbytes for _, spec in specs)
    layout = layout_shards(specs, max_shard_bytes=size_bytes, components=(_WHOLE,))
    inputs = [one.checkpoint.path for one in making.inputs]
    with (
        whole_folder(out, inputs=inputs, overwrite=overwrite) as folder,
        ShardWriter(folder, layout) as writer,
    ):
        yield AdapterWriter(making, out.resolve().name, folder, layout, writer)


def _manifest_input(one: AdapterInput) -> ManifestInput:
    return manifest_input(one.reference, (one.checkpoint,), fingerprint(one.checkpoint))
