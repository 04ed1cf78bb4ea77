"""Functions that make expressions."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING

from graphmerge.errors import GraphError, Problem, RecipeError
from graphmerge.expressions.arguments import (
    as_integer,
    as_list,
    as_text,
    is_number,
    plain,
    wrong_argument,
)
from graphmerge.expressions.expression import (
    Expression,
    expression,
    operation,
    placeholder,
    shown_in,
    weighted,
)
from graphmerge.expressions.loading import Input, as_expression, as_expressions
from graphmerge.expressions.parameters import parameter_value, shown_parameter
from graphmerge.expressions.vocabularies import TokenizerChoice, read_sections
from graphmerge.plugins.discovery import require_method
from graphmerge.recipe.parse import dtype_named
from graphmerge.recipe.values import Module, Recipe, Slice, Source

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from graphmerge.expressions.parameters import Parameter
    from graphmerge.methods.base import Method
    from graphmerge.recipe.values import ModelReference, ParameterValue

_PART = "(model, first layer, layer after the last)"


def sparsify(
    delta: Input,
    *,
    density: Parameter,
    method: str = "magnitude",
    rescale: str = "none",
) -> Expression:
    """Part of a task vector's entries, the others zero.

    Args:
        delta: A task vector.
        density: Fraction of the entries of each tensor that are kept, 0 to 1.
        method: `magnitude` keeps the largest, `random` each with this probability.
        rescale: `l1` scales what is kept to the L1 norm of all, `none` does not.

    Raises:
        GraphError: this is a model, not a task vector.
        RecipeError: a parameter is out of range.
    """
    own: dict[str, Parameter] = {"density": density, "method": method, "rescale": rescale}
    shown = ", ".join(f"{name}={shown_parameter(value)}" for name, value in own.items())
    value = as_expression(delta, "delta of sparsify")
    text = f"sparsify({value!r}, {shown})"
    return operation("sparsify", (value,), text, **own)


def sign_consensus(
    deltas: Iterable[Input],
    *,
    weights: Iterable[Parameter] | None = None,
    normalize: bool = True,
) -> Expression:
    """The entries of task vectors that point where most of their weight points.

    Args:
        deltas: Task vectors.
        weights: One for each; None counts all alike.
        normalize: Divide by the weights of the entries that agree.

    Raises:
        GraphError: one of them is no task vector, or there is not one weight for each.
    """
    inputs = as_expressions(deltas, "deltas of sign_consensus")
    return _weighted("sign-consensus", inputs, weights, normalize=normalize, usual=True)


def weighted_sum(
    values: Iterable[Input],
    *,
    weights: Iterable[Parameter] | None = None,
    normalize: bool = False,
) -> Expression:
    """sum_i w_i x_i, of models or of task vectors.

    Args:
        values: Models, or task vectors.
        weights: One for each; None counts all alike.
        normalize: Divide by the sum of the weights: the average.

    Raises:
        GraphError: models and task vectors are mixed, or there is not one weight for each.
    """
    inputs = as_expressions(values, "values of weighted_sum")
    return _weighted("weighted-sum", inputs, weights, normalize=normalize, usual=False)


def _weighted(
    kind: str,
    inputs: Sequence[Expression],
    weights: Iterable[Parameter] | None,
    *,
    normalize: bool,
    usual: bool,
) -> Expression:
    """An operation of the function of its name; what is as usual is not shown."""
    name = kind.replace("-", "_")
    given = _weights(inputs, weights, f"weights of {name}")
    told = "" if normalize is usual else f", normalize={shown_parameter(normalize)}"
    text = f"{name}({inputs!r}, weights={shown_parameter(given)}{told})"
    _check_weights(inputs, given, text)
    return weighted(kind, inputs, given, text, normalize=normalize)


def interpolate(first: Input, second: Input, t: Parameter) -> Expression:
    """The point at t on the arc from one to the other (slerp), tensor by tensor.

    Raises:
        GraphError: one is a model and the other a task vector.
    """
    inputs = (
        as_expression(first, "first of interpolate"),
        as_expression(second, "second of interpolate"),
    )
    text = f"interpolate({inputs[0]!r}, {inputs[1]!r}, {shown_parameter(t)})"
    return operation("interpolate", inputs, text, t=t)


def stack_layers(parts: Iterable[tuple[Input, int, int]]) -> Expression:
    """Layers of models on top of one another: `(model, first layer, layer after the last)`.

    What comes before the layers is taken from the first part, what comes after them from the last.

    Raises:
        GraphError: there are no parts, or a range of layers is none.
        InputError: a model has no such layers.
    """
    where = "parts of stack_layers"
    items = as_list(parts, where, f"a list of {_PART}")
    stacked = [_layers(item, f"{where}, item {index}") for index, item in enumerate(items)]
    text = "stack_layers([" + ", ".join(f"({m!r}, {a}, {b})" for m, a, b in stacked) + "])"
    if not stacked:
        raise GraphError(Problem("no layers to stack", f"in {text}"))
    for _, first, end in stacked:
        if not 0 <= first <= end:
            what, wanted = "not a range of layers", "0 <= first layer <= layer after the last"
            raise GraphError(Problem(what, f"in {text}", f"{first}, {end}", wanted))
    inputs = _Inputs([model for model, _, _ in stacked])
    slices = tuple(Slice((Source(inputs.name(m), (first, end)),)) for m, first, end in stacked)
    recipe = Recipe("passthrough", (Module(None, slices, is_whole_model=False),))
    return expression(recipe, inputs.distinct, text)


def _layers(item: object, where: str) -> tuple[Expression, int, int]:
    """A model, its first layer, and the layer after the last."""
    if not isinstance(item, (tuple, list)) or len(item) != 3:
        raise wrong_argument(item, where, _PART)
    model, first, end = item
    return as_expression(model, where), as_integer(first, where), as_integer(end, where)


def merge(
    method: str,
    models: Iterable[Input | tuple[Input, Mapping[str, Parameter]]],
    *,
    base: Input | None = None,
    statistics: Iterable[Input] = (),
    dtype: str | None = None,
    tokenizer: TokenizerChoice | None = None,
    embeddings: str | None = None,
    chat_template: str | None = None,
    **parameters: Parameter,
) -> Expression:
    """A registered merge method.

    Args:
        method: Its name: see `graphmerge methods`.
        models: The models, or pairs of a model and its own parameters.
        base: The base model, where the method has one.
        statistics: Of each model a checkpoint with statistics, where the method wants them.
        dtype: Inputs are cast to this first; None keeps each tensor's own.
        tokenizer: Which tokens the result has: `union`, `base`, a checkpoint, or the mapping that
            recipes have; None leaves every row at its place.
        embeddings: Without it, what becomes of vocabularies of different sizes: `auto` (as None),
            `crop`, `extend` or `error`.
        chat_template: Where this is the model that is saved: `auto`, the name of a built-in, or a
            Jinja template; None leaves the one of the tokenizer.
        **parameters: Parameters. A per-model one may be a list with a value for each model; any
            other list is a gradient over the layers. `lambda_` stands for `lambda`.

    Raises:
        RecipeError: no such method or parameter, or a value that it cannot have.
        InputError: the models, or their vocabularies, do not fit together.
    """
    as_text(method, "method of merge")
    pairs = _with_parameters(models)
    expressions = [model for model, _ in pairs]
    base_model = None if base is None else as_expression(base, "base of merge")
    given_statistics = as_expressions(statistics, "statistics of merge")
    about = {
        "base": base_model,
        "statistics": given_statistics or None,
        "tokenizer": tokenizer,
        "embeddings": embeddings,
        "chat_template": chat_template,
    }
    shown = [f"{method!r}", repr(expressions)]
    given = {name: value for name, value in about.items() if value is not None} | parameters
    shown += [f"{name}={shown_parameter(value)}" for name, value in given.items()]
    text = f"merge({', '.join(shown)})"
    with shown_in(text):
        own_names = {name.rstrip("_"): value for name, value in parameters.items()}
        found = require_method(method)
        each, whole = _split(found, own_names, len(pairs))
        vocabulary = read_sections(tokenizer, embeddings, chat_template)
        others = [*given_statistics, *vocabulary.models.values()]
        inputs = _Inputs([*([base_model] if base_model else []), *expressions, *others])
        names = {reference: inputs.name(v) for reference, v in vocabulary.models.items()}
        statistics_of = _statistics_names(inputs, given_statistics, len(pairs))
        sources = tuple(
            Source(inputs.name(value), None, values | _values(found, own), known)
            for (value, own), values, known in zip(pairs, each, statistics_of, strict=True)
        )
        recipe = Recipe(
            method,
            (Module(None, (Slice(sources),), is_whole_model=True),),
            base_model=inputs.name(base_model) if base_model else None,
            parameters=whole,
            dtype=None if dtype is None else dtype_named(dtype),
            tokenizer=vocabulary.tokenizer_of(names),
            embeddings=vocabulary.embeddings,
            chat_template=vocabulary.chat_template,
        )
    return expression(recipe, inputs.distinct, text)


def _with_parameters(models: object) -> list[tuple[Expression, Mapping[str, Parameter]]]:
    """Every model with its own parameters."""
    where, wanted = "models of merge", "a model, or a pair of one and a mapping of parameters"
    pairs: list[tuple[Expression, Mapping[str, Parameter]]] = []
    for index, item in enumerate(as_list(models, where, "a list of models")):
        model, own = item if isinstance(item, tuple) and len(item) == 2 else (item, {})
        if not isinstance(own, Mapping) or not all(isinstance(name, str) for name in own):
            raise wrong_argument(item, f"{where}, item {index}", wanted)
        pairs.append((as_expression(model, f"{where}, item {index}"), own))
    return pairs


def _statistics_names(
    inputs: _Inputs, statistics: Sequence[Expression], count: int
) -> list[ModelReference | None]:
    """What the recipe calls the statistics of each of so many models."""
    if statistics and len(statistics) != count:
        what, wanted = "not one checkpoint of statistics for each model", f"{count}"
        raise RecipeError(Problem(what, got=f"{len(statistics)}", wanted=wanted))
    return [inputs.name(value) for value in statistics] or [None] * count


def _split(
    method: Method, given: Mapping[str, Parameter], count: int
) -> tuple[list[dict[str, ParameterValue]], dict[str, ParameterValue]]:
    """Parameters of each model, and of the merge."""
    each: list[dict[str, ParameterValue]] = [{} for _ in range(count)]
    whole: dict[str, ParameterValue] = {}
    specs = {spec.name: spec for spec in method.parameters}
    for name, argument in given.items():
        spec, value = specs.get(name), plain(argument)
        is_per_model = spec is not None and spec.per_model
        if is_per_model and isinstance(value, (list, tuple)) and not _is_filters(value):
            if len(value) != count:
                what = f"{name} has a value for each model; a gradient goes to one model's own"
                raise RecipeError(Problem(what, got=repr(value), wanted=f"{count} values"))
            for own, part in zip(each, value, strict=True):
                own[name] = parameter_value(part, spec)
        else:
            whole[name] = parameter_value(value, spec)
    return each, whole


def _is_filters(value: Sequence[object]) -> bool:
    return bool(value) and all(isinstance(item, dict) for item in value)


def _values(method: Method, own: Mapping[str, Parameter]) -> dict[str, ParameterValue]:
    specs = {spec.name: spec for spec in method.parameters}
    return {name: parameter_value(value, specs.get(name)) for name, value in own.items()}


class _Inputs:
    """The inputs of a recipe, each once; a checkpoint that is loaded twice is one."""

    def __init__(self, values: Sequence[Expression]) -> None:
        found: dict[object, Expression] = {}
        for value in values:
            found.setdefault(self._identity(value), value)
        self.distinct = tuple(found.values())
        self._names = {identity: placeholder(index) for index, identity in enumerate(found)}

    def name(self, value: Expression) -> ModelReference:
        """What the recipe calls an input."""
        return self._names[self._identity(value)]

    @staticmethod
    def _identity(value: Expression) -> object:
        model = value._model
        return (model.reference, model.checkpoint.path) if model.is_stored else value


def _weights(
    values: Sequence[Expression], weights: Iterable[Parameter] | None, where: str
) -> list[Parameter]:
    if weights is None:
        return [1.0] * len(values)
    return [
        _as_float(weight) for weight in as_list(weights, where, "a list with a weight for each")
    ]


def _as_float(weight: Parameter) -> Parameter:
    """A number as a float, so that sums can be written as one."""
    given: Parameter = plain(weight)
    with suppress(OverflowError):  # what is too large is refused with its place
        return float(given) if is_number(given) else given
    return given


def _check_weights(values: Sequence[Expression], weights: Sequence[Parameter], text: str) -> None:
    if len(weights) != len(values):
        what = "not one weight for each input"
        raise GraphError(Problem(what, f"in {text}", f"{len(weights)}", f"{len(values)}"))
