"""`graphmerge extract-lora`: a LoRA adapter from a fine-tune and its base."""

from __future__ import annotations

import re
from typing import Annotated

import typer

from graphmerge.adapters.extraction import EVERY_MODULE, extract
from graphmerge.adapters.output import AdapterInput
from graphmerge.cli import options
from graphmerge.cli.say import say
from graphmerge.errors import InputError, Problem
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
    ] = EVERY_MODULE,
    memory_budget: options.MemoryBudget = "auto",
    overwrite: options.Overwrite = False,
    write_model_card: options.ModelCard = True,
) -> None:
    """Write the LoRA adapter that is nearest to what MODEL has changed in BASE to OUT."""
    budget = options.budget_bytes(memory_budget)
    try:
        re.compile(modules)
    except re.error as error:
        problem = Problem("not a regular expression", "--modules", f"{modules}: {error}")
        raise InputError(problem) from error
    found = extract(
        AdapterInput(model, load_named(model)),
        AdapterInput(base, load_named(base)),
        out,
        rank=rank,
        modules=modules,
        budget_bytes=budget,
        overwrite=overwrite,
        with_card=write_model_card,
    )
    for module in found.modules:
        say(f"{module.module}: rank {module.rank}, relative error {module.error:.3g}")
    for warning in found.warnings:
        say(warning, err=True)
    say(f"wrote {out}: factors of {len(found.modules)} modules")
