"""`graphmerge extract-lora`: a LoRA adapter from a fine-tune and its base."""

from __future__ import annotations

import re
from typing import Annotated

import typer

from graphmerge.cli import options
from graphmerge.errors import InputError, Problem
from graphmerge.extraction import extract
from graphmerge.places import load_named

_Model = Annotated[str, typer.Argument(metavar="MODEL", help="Fine-tune.", show_default=False)]
_Base = Annotated[str, typer.Argument(metavar="BASE", help="Its base.", show_default=False)]


def extract_lora(
    model: _Model,
    base: _Base,
    out: options.OutPath,
    rank: Annotated[int, typer.Option(min=1, help="Most ranks of a matrix.")] = 16,
    modules: Annotated[
        str, typer.Option(metavar="REGEX", help="Modules in whose names this is found.")
    ] = ".*",
    memory_budget: options.MemoryBudget = "auto",
    overwrite: options.Overwrite = False,
) -> None:
    """Write the LoRA adapter that is nearest to what MODEL has changed in BASE to OUT."""
    budget = options.budget_bytes(memory_budget)
    try:
        re.compile(modules)
    except re.error as error:
        problem = Problem("not a regular expression", "--modules", f"{modules}: {error}")
        raise InputError(problem) from error
    found = extract(
        load_named(model),
        load_named(base),
        out,
        base_name=base,
        rank=rank,
        modules=modules,
        budget_bytes=budget,
        overwrite=overwrite,
    )
    for module in found.modules:
        typer.echo(f"{module.module}: rank {module.rank}, relative error {module.error:.3g}")
    for name in found.left_out:
        typer.echo(f"left out, although it has changed: {name}", err=True)
    typer.echo(f"wrote {out}: factors of {len(found.modules)} modules")
