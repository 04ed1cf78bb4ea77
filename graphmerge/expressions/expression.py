"""An expression: a model, or a task vector, that is not computed yet."""

from __future__ import annotations

import re
from contextlib import contextmanager, suppress
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import evolve

from graphmerge.build.graph import lift_entry
from graphmerge.errors import GraphError, GraphmergeError, Problem
from graphmerge.expressions.arguments import as_list, as_text, is_number, plain
from graphmerge.expressions.parameters import parameter_value
from graphmerge.expressions.wording import in_python
from graphmerge.graph import Space
from graphmerge.hub_files import fetch_vocabularies
from graphmerge.methods.registry import find_operation
from graphmerge.plugins.discovery import require_method_of
from graphmerge.recipe.cursor import in_one_line, show
from graphmerge.recipe.parse import dtype_named
from graphmerge.recipe.suggestions import suggest
from graphmerge.recipe.values import (
    Conditional,
    Entry,
    ModelReference,
    Module,
    ParameterValue,
    Recipe,
    RecipeGraph,
    Slice,
    Source,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from typing import NoReturn

    import torch

    from graphmerge.build.models import Model
    from graphmerge.expressions.loading import Input
    from graphmerge.expressions.parameters import Parameter
    from graphmerge.expressions.plans import MergePlan
    from graphmerge.finishing import RunReport
    from graphmerge.spec import TensorSpec

_SHOWN_CHARACTERS = 200
_BRACKETS = re.compile(r"[(\[{][^()\[\]{}]*[)\]}]")
"""Innermost brackets with what is in them."""


class Expression:
    """A whole model, or a task vector, as a value: combine it, plan it, save it.

    Every operation works on every tensor name at once and reads no weights; it raises at once where
    names, shapes or meanings do not fit. Immutable.
    """

    __slots__ = ("_inputs", "_model", "_recipe", "_text")
    __array_ufunc__ = None  # numbers of numpy leave arithmetic with expressions to these

    def __init__(
        self, recipe: Recipe | None, inputs: tuple[Expression, ...], model: Model, text: str
    ) -> None:
        self._recipe = recipe
        self._inputs = inputs
        self._model = model
        self._text = text

    def __repr__(self) -> str:
        return self._text

    def _repr_html_(self) -> str:
        from graphmerge.reporting.html import expression_html  # noqa: PLC0415 - for notebooks only

        return expression_html(repr(self), {n: str(self.spec(n)) for n in self.tensor_names})

    @property
    def tensor_names(self) -> tuple[str, ...]:
        """Names of its tensors."""
        return tuple(self._model.tensors)

    def spec(self, tensor: str) -> TensorSpec:
        """Shape, and dtype in which it would be saved, of a tensor.

        Raises:
            GraphError: there is no such tensor.
        """
        found = self._model.find(as_text(tensor, "tensor of spec"))
        if found is None:
            raise no_tensor(tensor, self)
        return found.pattern.root.spec.with_dtype(found.stored)

    @property
    def is_task_vector(self) -> bool:
        """Whether it is a difference of models, which can be added to one."""
        spaces = (tensor.pattern.root.space for tensor in self._model.tensors.values())
        return any(space is Space.DELTA for space in spaces)

    def __sub__(self, other: Expression) -> Expression:
        """A task vector from two models; or a model or task vector less a task vector."""
        text = f"{self._text} - {_enclosed(other)}"
        _check_operand(other, "-", text)
        if not other.is_task_vector:
            return operation("task-vector", (self, other), text)
        if self.is_task_vector:
            return _added(self, other, -1.0, text)
        return _applied(self, other, -1.0, text)

    def __rsub__(self, other: object) -> NoReturn:
        """Nothing that is no expression has a difference to one."""
        raise _no_operand(other, "-", f"{_enclosed(other)} - {_enclosed(self)}")

    def __add__(self, other: Expression) -> Expression:
        """A model and a task vector, or two task vectors."""
        text = f"{self._text} + {_part(other)}"
        _check_operand(other, "+", text)
        if self.is_task_vector and other.is_task_vector:
            return _added(self, other, 1.0, text)
        if self.is_task_vector:
            return _applied(other, self, 1.0, text)
        if not other.is_task_vector:
            what, wanted = "two models are added", "a model and a task vector"
            hint = "weighted_sum and interpolate average models"
            raise GraphError(Problem(what, f"in {_cut(text)}", wanted=wanted, hint=hint))
        return _applied(self, other, 1.0, text)

    def __radd__(self, other: int) -> Expression:
        """0 + x, with which `sum` begins."""
        if type(other) is int and other == 0:
            return self
        raise _no_operand(other, "+", f"{_enclosed(other)} + {self._text}")

    def __mul__(self, factor: float) -> Expression:
        """Every entry times a number."""
        number = _factor_of(factor, "*", f"{_enclosed(factor)} * {_enclosed(self)}")
        text = f"{number:g} * {_enclosed(self)}"
        return operation("scale", (self,), text, factor=number)

    __rmul__ = __mul__

    def __truediv__(self, divisor: float) -> Expression:
        """Every entry divided by a number."""
        text = f"{_enclosed(self)} / {_enclosed(divisor)}"
        number = _factor_of(divisor, "/", text)
        if number == 0 or not isfinite(number):
            wanted = "a finite number other than zero"
            raise GraphError(Problem("no divisor", f"in {_cut(text)}", show(divisor), wanted))
        return self * (1 / number)

    def __neg__(self) -> Expression:
        """Every entry with the other sign."""
        return self * -1.0

    def where(self, tensors: str | Iterable[str], other: Input) -> Expression:
        """The other one for tensors whose name contains the text (or one of them), else this one.

        Args:
            tensors: Parts of tensor names; `*` is every tensor.
            other: Where those tensors come from; their shapes may be others.

        Raises:
            InputError: no tensor has such a name, or there is no such model.
        """
        from graphmerge.expressions.loading import as_expression  # noqa: PLC0415 - as in `plan`

        given = [tensors] if isinstance(tensors, str) else tensors
        parts = as_list(given, "tensors of where", "part of a name, or a list of them")
        chosen = as_expression(other, "other of where")
        told = tensors if isinstance(tensors, str) else parts
        text = f"{_enclosed(self)}.where({told!r}, {chosen!r})"
        self._check_choice(parts, chosen, text)
        filters = tuple(
            Conditional(value=True, filter=None if part == "*" else part) for part in parts
        )
        return _operation("where", (self, chosen), text, {"other": filters})

    def _check_choice(self, parts: Sequence[object], other: Expression, text: str) -> None:
        names = (*self._model.tensors, *self._model.tied)
        problems = [
            Problem(
                "no tensor has this in its name", got=show(part), wanted="a part, as it is, or *"
            )
            for part in parts
            if not _is_part(part, names)
        ]
        if not parts:
            problems.append(Problem("no tensors are chosen", wanted="a part of a name, or *"))
        if self.is_task_vector != other.is_task_vector:
            problems.append(Problem("a model and a task vector cannot be parts of one"))
        if problems:
            raise GraphError(*(_shown_in(text, problem) for problem in problems))

    def cast(self, dtype: str) -> Expression:
        """The same values, saved in another dtype: `float32`, `bfloat16` or `float16`."""
        text = f"{_enclosed(self)}.cast({dtype!r})"
        with shown_in(text):
            given = dtype_named(dtype, of_output=True)
            recipe = evolve(_operation_recipe("cast", 1, {}), out_dtype=given)
        return expression(recipe, (self,), text)

    def plan(
        self,
        *,
        memory_budget: str | int = "auto",
        workers: int | None = None,
        device: str = "cpu",
        seed: int = 0,
    ) -> MergePlan:
        """How it would be computed, and the memory that takes; reads no weights.

        Args:
            memory_budget: Most resident memory of the process, with all that the calling program
                holds: bytes, a size such as "2GiB", or "auto" for what is held and 80% of what is
                free. What is held is measured now.
            workers: Most worker threads; None takes one per core, at most 8.
            device: Where the arithmetic runs: `cpu`, `cuda` or `cuda:N`.
            seed: Seed of random masks.

        Raises:
            InputError: a size or the device makes no sense, or a checkpoint has changed.
        """
        from graphmerge.expressions.plans import plan_of  # noqa: PLC0415 - it imports this module

        return plan_of(self, memory_budget=memory_budget, workers=workers, device=device, seed=seed)

    def save(
        self,
        out: str | Path,
        *,
        plan: MergePlan | None = None,
        chat_template: str | None = None,
        overwrite: bool = False,
        strict: bool = False,
    ) -> RunReport:
        """Compute it and publish the checkpoint; an interrupted save is continued.

        Args:
            out: Folder of the checkpoint.
            plan: From `plan`; None makes one with the defaults.
            chat_template: `auto`, the name of a built-in, or a Jinja template; None leaves what
                the merge says, or the one of the tokenizer.
            overwrite: Replace what is there.
            strict: Refuse NaN and infinity, in inputs or of the arithmetic, instead of warning.

        Raises:
            BudgetError: the plan does not fit its budget.
            GraphError: the plan is that of another expression.
            InputError: an input, `out` or the chat template cannot be used.
            MachineError: the disk or the device failed.
        """
        from graphmerge.expressions.plans import saved  # noqa: PLC0415 - as in `plan`

        return saved(
            self, out, plan, chat_template=chat_template, overwrite=overwrite, strict=strict
        )

    def tensor(self, name: str, *, seed: int = 0) -> torch.Tensor:
        """One tensor, computed now, in the dtype in which it would be saved.

        Raises:
            GraphError: there is no such tensor.
        """
        from graphmerge.expressions.plans import single_tensor  # noqa: PLC0415 - as in `plan`

        return single_tensor(self, name, seed=seed)


def operation(kind: str, inputs: tuple[Expression, ...], text: str, **own: Parameter) -> Expression:
    """An operation on expressions, its parameters as Python gives them."""
    with shown_in(text):
        parameters = _parameters(kind, own)
    return _operation(kind, inputs, text, parameters)


def _operation(
    kind: str,
    inputs: tuple[Expression, ...],
    text: str,
    parameters: Mapping[str, tuple[Conditional, ...]],
    weights: Sequence[tuple[Conditional, ...]] = (),
) -> Expression:
    return expression(_operation_recipe(kind, len(inputs), parameters, weights), inputs, text)


def weighted(
    kind: str,
    inputs: Sequence[Expression],
    weights: Sequence[Parameter],
    text: str,
    **own: Parameter,
) -> Expression:
    """An operation whose inputs have a weight each."""
    with shown_in(text):
        values = [_parameters(kind, {"weight": weight})["weight"] for weight in weights]
        parameters = _parameters(kind, own)
    return _operation(kind, tuple(inputs), text, parameters, values)


def _parameters(kind: str, own: Mapping[str, Parameter]) -> dict[str, ParameterValue]:
    """Parameters of an operation, as a recipe holds them."""
    specs = {spec.name: spec for spec in find_operation(kind).parameters}
    return {name: parameter_value(value, specs[name]) for name, value in own.items()}


def _operation_recipe(
    kind: str,
    count: int,
    parameters: Mapping[str, tuple[Conditional, ...]],
    weights: Sequence[tuple[Conditional, ...]] = (),
) -> Recipe:
    given = [{"weight": weight} for weight in weights] or [{}] * count
    sources = tuple(Source(placeholder(index), None, values) for index, values in enumerate(given))
    module = Module(None, (Slice(sources),), is_whole_model=True)
    return Recipe(kind, (module,), parameters=parameters, is_operation=True)


def no_tensor(name: str, value: Expression) -> GraphError:
    """What is said of a tensor that an expression has not."""
    hint = suggest(name, value.tensor_names)
    return GraphError(Problem(f"no tensor {name}", repr(value), hint=hint))


def _check_operand(value: object, operator: str, text: str) -> None:
    if not isinstance(value, Expression):
        raise _no_operand(value, operator, text)


def _no_operand(value: object, operator: str, text: str) -> GraphError:
    is_place = isinstance(value, (str, Path))
    hint = f"load it first: graphmerge.load({str(value)!r})" if is_place else ""
    wanted = "a model or a task vector on both sides"
    return GraphError(
        Problem(f"{operator} of something else", f"in {_cut(text)}", show(value), wanted, hint)
    )


def _factor_of(value: object, operator: str, text: str) -> float:
    """The number by which an expression is multiplied or divided.

    Raises:
        GraphError: it is none.
    """
    given = plain(value)
    with suppress(OverflowError):
        if is_number(given):
            return float(given)
    wanted = "a finite number"
    raise GraphError(
        Problem(f"{operator} without a number", f"in {_cut(text)}", show(value), wanted)
    )


def _is_part(part: object, names: Iterable[str]) -> bool:
    """Whether tensors may be chosen by this part of their names."""
    if not isinstance(part, str) or not part:
        return False
    return part == "*" or any(part in name for name in names)


def placeholder(index: int) -> ModelReference:
    """What the recipe of an expression calls its inputs, until they have names."""
    return ModelReference(f"${index}")


def expression(recipe: Recipe, inputs: tuple[Expression, ...], text: str) -> Expression:
    """An expression that applies a recipe, whose models are placeholders, to others.

    Raises:
        GraphmergeError: names, shapes or meanings do not fit; the message shows the expression.
    """
    models = {placeholder(index): value._model for index, value in enumerate(inputs)}
    with shown_in(text):
        require_method_of(recipe)
        entry = Entry(_cut(text), recipe)
        fetch_vocabularies(RecipeGraph((entry,), entry.name), models.values())
        lifted = lift_entry(entry, models, seed=0)
    return Expression(recipe, inputs, lifted.model, _cut(text))


@contextmanager
def shown_in(text: str) -> Iterator[None]:
    """Mistakes made within show the expression."""
    try:
        yield
    except GraphmergeError as error:
        raise type(error)(*(_shown_in(text, problem) for problem in error.problems)) from None


def _shown_in(text: str, problem: Problem) -> Problem:
    """The problem with the expression that has it, in the words of Python."""
    problem = in_python(problem)
    return evolve(problem, where=", ".join(filter(None, (problem.where, f"in {_cut(text)}"))))


def _factor(value: Expression) -> tuple[float, Expression]:
    """A scaled expression as its factor and what it scales."""
    recipe = value._recipe
    if recipe is not None and recipe.is_operation and recipe.merge_method == "scale":
        (candidate,) = recipe.parameters["factor"]
        if candidate.filter is None and isinstance(candidate.value, float):
            return candidate.value, value._inputs[0]
    return 1.0, value


def _applied(base: Expression, delta: Expression, sign: float, text: str) -> Expression:
    """base + sign * delta, a factor of the delta taken into the op: one rounding less."""
    factor, inner = _factor(delta)
    return operation("add-delta", (base, inner), text, scale=sign * factor)


def _added(first: Expression, second: Expression, sign: float, text: str) -> Expression:
    """first + sign * second as one weighted sum, however many terms there are already."""
    terms = [*_terms(first), *((sign * weight, value) for weight, value in _terms(second))]
    if len(_terms(second)) > 1:  # a sum within a sum stays one: its terms are added first
        terms = [*_terms(first), (sign, second)]
    weights = [weight for weight, _ in terms]
    return weighted("weighted-sum", [value for _, value in terms], weights, text)


def _terms(value: Expression) -> list[tuple[float, Expression]]:
    """The terms of a sum that was written with +, else the one term."""
    recipe = value._recipe
    is_sum = recipe is not None and recipe.is_operation and recipe.merge_method == "weighted-sum"
    if recipe is None or not is_sum or recipe.parameters:
        return [_factor(value)]
    weights = [source.parameters["weight"] for source in recipe.modules[0].slices[0].sources]
    numbers = [
        weight[0].value
        for weight in weights
        if len(weight) == 1 and weight[0].filter is None and isinstance(weight[0].value, float)
    ]
    if len(numbers) < len(weights):
        return [(1.0, value)]
    return list(zip([float(n) for n in numbers], value._inputs, strict=True))


def _part(value: object) -> str:
    """The text of an operand as a part of a sum."""
    return value._text if isinstance(value, Expression) else show(value)


def _enclosed(value: object) -> str:
    """The text of an operand as a part of a product."""
    whole = _part(value)
    outside, text = whole, ""
    while outside != text:
        outside, text = _BRACKETS.sub("", outside), outside
    return f"({whole})" if " " in outside else whole


def _cut(text: str) -> str:
    line = in_one_line(text)
    return line if len(line) <= _SHOWN_CHARACTERS else f"{line[:_SHOWN_CHARACTERS]}..."
