"""`graphmerge verify`: check a finished output against its manifest."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer
from attrs import fields

from graphmerge.cli import exit_codes, options
from graphmerge.cli.progress import bytes_progress
from graphmerge.cli.say import say
from graphmerge.output import VerifyReport, read_manifest
from graphmerge.output import verify as verify_output
from graphmerge.reporting.wording import counted
from graphmerge.spec import TensorSpec
from graphmerge.units import format_bytes

if TYPE_CHECKING:
    from pathlib import Path

    from graphmerge.output import Manifest


def verify(out: options.OutPath) -> None:
    """Read the merged model or adapter in OUT again and compare tensors with their checksums."""
    manifest = read_manifest(out)
    report = verified(out, manifest)
    tensors = counted(len(manifest.tensors), "tensor")
    say(f"{out}: {tensors} intact, {format_bytes(report.read_bytes)} read")


def verified(out: Path, manifest: Manifest) -> VerifyReport:
    """Check an output, with a bar.

    Raises:
        Exit: it is damaged; what is wrong has been printed.
    """
    tensors = manifest.tensors.values()
    total_bytes = sum(TensorSpec(tensor.shape, tensor.dtype).nbytes for tensor in tensors)
    with bytes_progress(f"verify {out.name}", total_bytes) as advance:
        report = verify_output(out, manifest=manifest, progress=advance)
    for line in _findings(report):
        say(line, err=True)
    if not report.is_intact:
        say(f"{out}: damaged", err=True)
        raise typer.Exit(exit_codes.DAMAGED)
    return report


def _findings(report: VerifyReport) -> list[str]:
    """A line for every file or tensor that is not as it was written."""
    kinds = [field.name for field in fields(VerifyReport) if field.name != "read_bytes"]
    return [
        f"{kind.replace('_', ' ').removesuffix('s')}: {name}"
        for kind in kinds
        for name in getattr(report, kind)
    ]
