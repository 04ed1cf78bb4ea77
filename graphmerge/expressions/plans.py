"""Plans of expressions, and what is computed by them."""

from __future__ import annotations

import threading
import warnings
from contextlib import suppress
from typing import TYPE_CHECKING

from attrs import evolve

from graphmerge.checkpoint.stamps import require_unchanged
from graphmerge.compilation import Compiled, compile_graph, with_chat_template
from graphmerge.errors import GraphError, InputError, Problem, RecipeError
from graphmerge.execution.peak import begin_new_peak, measured_peak_bytes
from graphmerge.expressions.arguments import (
    as_flag,
    as_integer,
    as_path,
    as_text,
    is_number,
    plain,
    wrong_argument,
)
from graphmerge.expressions.conversion import recipe_graph, stored_models
from graphmerge.expressions.expression import no_tensor
from graphmerge.expressions.loading import as_expression
from graphmerge.expressions.process import held_bytes, others_bytes, reserved_beside
from graphmerge.frozen_classes import frozen
from graphmerge.graph import Graph
from graphmerge.machine import MOST_WORKERS, auto_budget_bytes, check_device, default_workers
from graphmerge.pipeline import (
    DEFAULT_SHARD_BYTES,
    RunOptions,
    check_output,
    download,
    make_plan,
    run,
)
from graphmerge.recipe.cursor import show
from graphmerge.recipe.writing import write_recipe
from graphmerge.reporting.plan_text import plan_lines
from graphmerge.reporting.wording import shard_count
from graphmerge.schedule.plan import Request
from graphmerge.schedule.report import report
from graphmerge.units import MIB, format_bytes, parse_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import torch

    from graphmerge.execution.events import Counts
    from graphmerge.execution.reading import Bytes
    from graphmerge.expressions.expression import Expression
    from graphmerge.expressions.loading import Input
    from graphmerge.finishing import RunReport
    from graphmerge.recipe.values import RecipeGraph
    from graphmerge.schedule.plan import Plan
    from graphmerge.schedule.report_values import PlanReport


_WORTH_A_NOTE_BYTES = 64 * MIB
"""Less than that is held by any interpreter with a few modules more."""


@frozen(eq=False)
class MergePlan:
    """How an expression would be computed; `print` it, or pass it to `save`."""

    _compiled: Compiled
    _plan: Plan
    _others_bytes: int
    """What the process held beside graphmerge when the plan was made."""

    @property
    def predicted_peak_bytes(self) -> int:
        """The most resident memory that the process will have, with what it held when planned."""
        return self._plan.memory.predicted_peak_bytes

    @property
    def budget_bytes(self) -> int:
        """The most that it may have."""
        return self._plan.request.budget_bytes

    @property
    def fits(self) -> bool:
        """Whether the predicted peak is within the budget."""
        return self._plan.fits

    @property
    def least_budget_bytes(self) -> int:
        """The smallest budget that any plan of this merge fits."""
        return self._plan.least_budget_bytes

    @property
    def read_bytes(self) -> int:
        """Bytes that will be read from the inputs."""
        return self._plan.read_bytes

    def report(self) -> PlanReport:
        """Everything that `graphmerge plan` prints, as values."""
        made = report(self._plan, shards=shard_count(self._plan, DEFAULT_SHARD_BYTES))
        if self._others_bytes < _WORTH_A_NOTE_BYTES:
            return made
        held = format_bytes(self._others_bytes)
        note = f"{held} of what is reserved are held by this process already, beside graphmerge"
        return evolve(made, notes=(*made.notes, note))

    def __str__(self) -> str:
        lines = plan_lines(self._compiled, self.report(), verbose=False)
        return "\n".join(line.text for line in lines)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        from graphmerge.reporting.html import plan_html  # noqa: PLC0415 - for notebooks only

        return plan_html(plan_lines(self._compiled, self.report(), verbose=False), self.report())

    def is_of(self, value: Input) -> bool:
        """Whether it is a plan of this expression, or of one that says the same."""
        other = as_expression(value, "value of is_of")
        inputs, own_inputs = stored_models(other), self._compiled.models
        return recipe_graph(other) == self._compiled.recipe and all(
            model.checkpoint.tensors == own_inputs[reference].checkpoint.tensors
            for reference, model in inputs.items()
        )

    def run(
        self,
        out: str | Path,
        *,
        chat_template: str | None = None,
        overwrite: bool = False,
        strict: bool = False,
    ) -> RunReport:
        """Compute it and publish the checkpoint: see `Expression.save`."""
        folder = as_path(out, "out of save")
        options = RunOptions(
            overwrite=as_flag(overwrite, "overwrite of save"),
            strict=as_flag(strict, "strict of save"),
        )
        compiled, plan = self._compiled, self._plan
        if chat_template is not None:
            compiled = _with_chat_template(compiled, chat_template)
            told = compiled.build.graph.warnings
            plan = evolve(plan, graph=evolve(plan.graph, warnings=told))
        plan.validate()
        check_output(compiled, folder, overwrite=options.overwrite)
        if not begin_new_peak() and measured_peak_bytes() > plan.memory.predicted_peak_bytes:
            _Warnings().warned("the measured peak will be that of the process before this run")
        return run(compiled, plan, folder, options, _Warnings())


class _Warnings:
    """Passes warnings on as Python's."""

    def progressed(self, counts: Counts) -> None:
        """Not shown."""

    def warned(self, text: str) -> None:
        """Something the user should know."""
        warnings.warn(text, stacklevel=2)


def plan_of(
    value: Expression,
    *,
    memory_budget: str | int,
    workers: int | None,
    device: str,
    seed: int,
) -> MergePlan:
    """The plan of an expression: see `Expression.plan`."""
    check_device(as_text(device, "device"), "device")
    most = default_workers() if workers is None else plain(workers)
    if type(most) is not int or not 1 <= most <= MOST_WORKERS:
        wanted = f"an integer from 1 to {MOST_WORKERS}"
        raise InputError(Problem("not a number of workers", "workers", show(workers), wanted))
    compiled = _compiled(value, seed)
    held = held_bytes()
    request = Request(_budget_bytes(memory_budget, held), most, device)
    plan = make_plan(compiled, request, calibrate=True, reserved_for=reserved_beside(held))
    return MergePlan(compiled, plan, others_bytes(held))


def _budget_bytes(memory_budget: object, held: int) -> int:
    """The bound of a process that holds so many bytes already; `auto` takes of what is free."""
    size = plain(memory_budget)
    if isinstance(size, str) and size == "auto":
        return held + auto_budget_bytes()
    if isinstance(size, str) or is_number(size):
        with suppress(InputError):
            return parse_bytes(size)
    raise wrong_argument(memory_budget, "memory_budget", 'bytes, a size such as "2GiB", or "auto"')


def saved(
    value: Expression,
    out: str | Path,
    plan: MergePlan | None,
    *,
    chat_template: str | None,
    overwrite: bool,
    strict: bool,
) -> RunReport:
    """The expression, computed and published: see `Expression.save`."""
    chosen = value.plan() if plan is None else plan
    if not isinstance(chosen, MergePlan):
        raise wrong_argument(plan, "plan of save", "what `plan` has returned")
    if not chosen.is_of(value):
        raise GraphError(Problem("the plan is that of another expression", repr(value)))
    return chosen.run(out, chat_template=chat_template, overwrite=overwrite, strict=strict)


def single_tensor(value: Expression, name: str, *, seed: int) -> torch.Tensor:
    """One tensor of an expression: see `Expression.tensor`."""
    as_text(name, "name of tensor")
    compiled = _compiled(value, seed)
    graph = compiled.build.graph
    outputs = tuple(output for output in graph.outputs if output.name == name)
    if not outputs:
        raise no_tensor(name, value)
    alone = evolve(compiled, build=evolve(compiled.build, graph=Graph(outputs)))
    request = Request(auto_budget_bytes(), default_workers())
    plan = make_plan(alone, request, calibrate=False)
    plan.validate()
    download(alone, plan)
    return _computed(plan)


def _computed(plan: Plan) -> torch.Tensor:
    import torch  # noqa: PLC0415 - planning never imports torch

    from graphmerge.execution.engine import execute  # noqa: PLC0415 - as above
    from graphmerge.execution.events import Progress  # noqa: PLC0415 - as above
    from graphmerge.kernels.dtypes import TORCH_DTYPES  # noqa: PLC0415 - as above

    (output,) = plan.graph.outputs
    sink = _OneTensor(output.node.spec.nbytes, output.node.spec.dtype.bits)
    execute(plan, sink, Progress(_Warnings()))
    spec = output.node.spec
    dtype = TORCH_DTYPES[spec.dtype]
    if not sink.content:
        return torch.empty(spec.shape, dtype=dtype)  # frombuffer refuses an empty buffer
    return torch.frombuffer(sink.content, dtype=dtype).reshape(spec.shape)


class _OneTensor:
    """A sink that keeps a tensor in memory."""

    def __init__(self, size_bytes: int, bits: int) -> None:
        self.content = bytearray(size_bytes)
        self._bits = bits
        self._lock = threading.Lock()

    def write(self, name: str, start_element: int, data: Bytes) -> None:
        """Take a tile."""
        start = start_element * self._bits // 8
        with self._lock:
            self.content[start : start + data.nbytes] = data.tobytes()

    def write_whole(self, names: Sequence[str], data: Bytes) -> None:
        """Take the tensor."""
        self.write(names[0], 0, data)

    def finish(self, names: tuple[str, ...]) -> None:
        """Nothing is left to do."""


def _compiled(value: Expression, seed: int) -> Compiled:
    if value.is_task_vector:
        what = "a task vector is no model, and cannot be computed by itself"
        raise GraphError(Problem(what, repr(value), hint="add it to a model"))
    number = as_integer(seed, "seed")
    recipes = recipe_graph(value)
    recipes = evolve(recipes, text=_recipe_text(recipes, value), origin="expression")
    known = stored_models(value)
    require_unchanged(part for model in known.values() for part in model.files)
    return compile_graph(recipes, known.__getitem__, seed=number)


def _with_chat_template(compiled: Compiled, template: str) -> Compiled:
    """The same merge with another chat template, which the stored recipe says, too."""
    changed = with_chat_template(compiled, template)
    try:
        text = write_recipe(changed.recipe)
    except RecipeError:
        text = compiled.recipe.text  # the comment that says why
    return evolve(changed, recipe=evolve(changed.recipe, text=text))


def _recipe_text(recipes: RecipeGraph, value: Expression) -> str:
    """The recipe to store with the output; a comment where the expression cannot be written."""
    try:
        return write_recipe(recipes)
    except RecipeError as error:
        return f"# a Python expression: {value!r}\n# {error}\n"
