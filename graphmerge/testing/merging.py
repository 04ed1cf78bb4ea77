"""Run recipes through the whole pipeline, as a user would, and look at what comes out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml

from graphmerge.frozen_classes import frozen
from graphmerge.pipeline import Compiled, RunOptions, RunReport, compile_recipe, run
from graphmerge.schedule.choose import schedule
from graphmerge.schedule.executors import Executor, Kernels
from graphmerge.schedule.plan import Plan, Request, Reserved
from graphmerge.testing.stored_models import read_model
from graphmerge.units import GIB

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import torch

    from graphmerge.execution.events import Counts
    from graphmerge.schedule.plan import ReservedFor


def nothing_reserved(executor: Executor) -> Reserved:
    """For tests of what a plan itself needs: a process that takes nothing."""
    return Reserved(base_bytes=0, worker_bytes=0, calibrated=False)


class Silent:
    """A listener that keeps warnings and says nothing."""

    def __init__(self) -> None:
        self.warnings: list[str] = []

    def progressed(self, counts: Counts) -> None:
        """Ignored."""

    def warned(self, text: str) -> None:
        """Kept."""
        self.warnings.append(text)


class StopAfter(Silent):
    """Ends a run, as Ctrl-C does, once so many tensors are finished."""

    def __init__(self, tensors: int) -> None:
        super().__init__()
        self._tensors = tensors

    def progressed(self, counts: Counts) -> None:
        """Ends the run."""
        if counts.finished_tensors >= self._tensors:
            raise KeyboardInterrupt


@frozen(eq=False)
class Merged:
    """A finished merge."""

    out: Path
    """The published folder."""
    plan: Plan
    """The plan that was run."""
    report: RunReport
    """What the run said."""

    def tensors(self) -> dict[str, torch.Tensor]:
        """The output tensors by name."""
        return read_model(self.out)


def compile_mapping(recipe: Mapping[str, Any], path: Path, *, seed: int = 0) -> Compiled:
    """Write a recipe to a file and compile it; relative model paths start in its folder."""
    path.write_text(yaml.safe_dump(dict(recipe), sort_keys=False), encoding="utf-8")
    return compile_recipe(path, seed=seed)


def plan_for(
    compiled: Compiled,
    *,
    budget_bytes: int | None = 4 * GIB,
    workers: int = 1,
    tile_elements: int | None = None,
    reserved_for: ReservedFor = nothing_reserved,
    kernels: Kernels = Kernels.AUTO,
) -> Plan:
    """The plan within these limits; a budget of None is the least that any plan needs."""
    if budget_bytes is None:
        probe = Request(0, workers, tile_elements=tile_elements, kernels=kernels)
        budget_bytes = schedule(compiled.build.graph, probe, reserved_for).least_budget_bytes
    request = Request(budget_bytes, workers, tile_elements=tile_elements, kernels=kernels)
    return schedule(compiled.build.graph, request, reserved_for)


def merge(
    recipe: Mapping[str, Any],
    out: Path,
    *,
    budget_bytes: int | None = 4 * GIB,
    workers: int = 1,
    tile_elements: int | None = None,
    seed: int = 0,
    kernels: Kernels = Kernels.AUTO,
    options: RunOptions | None = None,
) -> Merged:
    """Merge into `out`. The recipe is written beside it, so relative model paths start there."""
    compiled = compile_mapping(recipe, out.with_name(f"{out.name}.yml"), seed=seed)
    plan = plan_for(
        compiled,
        budget_bytes=budget_bytes,
        workers=workers,
        tile_elements=tile_elements,
        kernels=kernels,
    )
    return Merged(out, plan, run(compiled, plan, out, options or RunOptions(), Silent()))
