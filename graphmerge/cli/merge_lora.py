"""`graphmerge merge-lora`: LoRA adapters of one base into one adapter."""

from __future__ import annotations

from typing import Annotated

import typer

from graphmerge.adapters.merging import How, WeightedAdapter, merge_adapters
from graphmerge.cli import options
from graphmerge.cli.say import say
from graphmerge.errors import InputError, Problem
from graphmerge.places import load_named_adapter
from graphmerge.spec import LARGEST

_Adapters = Annotated[
    list[str],
    typer.Argument(
        metavar="ADAPTER...", help="Folders, or repositories of the Hub.", show_default=False
    ),
]


def merge_lora(
    out: options.OutPath,
    adapters: _Adapters,
    method: Annotated[How, typer.Option(help="cat is exact, and ranks add up.")] = How.CAT,
    weight: Annotated[
        list[float] | None,
        typer.Option(help="One for each adapter, in order; repeatable.", show_default="1 each"),
    ] = None,
    rank: Annotated[
        int | None,
        typer.Option(min=1, help="Most ranks, for svd.", show_default="the largest of the inputs"),
    ] = None,
    overwrite: options.Overwrite = False,
    write_model_card: options.ModelCard = True,
) -> None:
    """Merge ADAPTERs of one base model into an adapter OUT, without the base model."""
    weights = weight or [1.0] * len(adapters)
    if len(weights) != len(adapters):
        got, wanted = f"{len(weights)}", f"{len(adapters)}"
        raise InputError(Problem("not one weight for each adapter", "--weight", got, wanted))
    too_large = [own for own in weights if not abs(own) <= LARGEST]
    if too_large:
        wanted = "a finite number of float32"
        raise InputError(Problem("not a weight", "--weight", f"{too_large[0]}", wanted))
    if rank is not None and method is not How.SVD:
        hint = "add `--method svd`, or leave --rank out"
        raise InputError(Problem("only svd takes a rank", "--rank", f"{rank}", hint=hint))
    inputs = [
        WeightedAdapter(name, load_named_adapter(name), own)
        for name, own in zip(adapters, weights, strict=True)
    ]
    ranks = merge_adapters(
        inputs, out, how=method, rank=rank, overwrite=overwrite, with_card=write_model_card
    )
    least, most = min(ranks.values()), max(ranks.values())
    shown = f"rank {most}" if least == most else f"ranks {least} to {most}"
    say(f"wrote {out}: factors of {len(ranks)} modules, {shown}")
