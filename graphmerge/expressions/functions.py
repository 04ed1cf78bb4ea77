"""Functions that make expressions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graphmerge.errors import GraphError, Problem, RecipeError
from graphmerge.expressions.expression import (
    Expression,
    expression,
    operation,
    placeholder,
    shown_in,
    weighted,
)
from graphmerge.expressions.loading import Input, as_expression
from graphmerge.expressions.parameters import parameter_value, shown_parameter
from graphmerge.expressions.vocabularies import TokenizerChoice, read_sections
from graphmerge.plugins.discovery import require_method
from graphmerge.recipe.parse import dtype_named
from graphmerge.recipe.values import Conditional, Module, Recipe, Slice, Source

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from graphmerge.expressions.parameters import Parameter
    from graphmerge.methods.base import Method
    from graphmerge.recipe.values import ModelReference, ParameterValue


def sparsify(
    delta: Expression,
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
    text = f"sparsify({delta!r}, {shown})"
    return operation("sparsify", (delta,), text, **own)


def sign_consensus(
    deltas: Sequence[Expression],
    *,
    weights: Sequence[Parameter] | None = None,
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
    given = _weights(deltas, weights)
    text = f"sign_consensus({list(deltas)!r}, weights={shown_parameter(given)})"
    _check_weights(deltas, given, text)
    return weighted("sign-consensus", deltas, given, text, normalize=normalize)


def weighted_sum(
    values: Sequence[Expression],
    *,
    weights: Sequence[Parameter] | None = None,
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
    given = _weights(values, weights)
    text = f"weighted_sum({list(values)!r}, weights={shown_parameter(given)})"
    _check_weights(values, given, text)
    return weighted("weighted-sum", values, given, text, normalize=normalize)


def interpolate(first: Expression, second: Expression, t: Parameter) -> Expression:
    """The point at t on the arc from one to the other (slerp), tensor by tensor.

    Raises:
        GraphError: one is a model and the other a task vector.
    """
    text = f"interpolate({first!r}, {second!r}, {shown_parameter(t)})"
    return operation("interpolate", (first, second), text, t=t)


def stack_layers(parts: Sequence[tuple[Expression, int, int]]) -> Expression:
    """Layers of models on top of one another: `(model, first layer, layer after the last)`.

    What comes before the layers is taken from the first part, what comes after them from the last.

    Raises:
        GraphError: there are no parts, or a range of layers is none.
        InputError: a model has no such layers.
    """
    text = "stack_layers([" + ", ".join(f"({m!r}, {a}, {b})" for m, a, b in parts) + "])"
    if not parts:
        raise GraphError(Problem("no layers to stack", f"in {text}"))
    for _, first, end in parts:
        if not 0 <= first <= end:
            what, wanted = "not a range of layers", "0 <= first layer <= layer after the last"
            raise GraphError(Problem(what, f"in {text}", f"{first}, {end}", wanted))
    inputs = _Inputs([model for model, _, _ in parts])
    slices = tuple(Slice((Source(inputs.name(m), (first, end)),)) for m, first, end in parts)
    recipe = Recipe("passthrough", (Module(None, slices, is_whole_model=False),))
    return expression(recipe, inputs.distinct, text)


def merge(
    method: str,
    models: Sequence[Input | tuple[Input, Mapping[str, Parameter]]],
    *,
    base: Input | None = None,
    statistics: Sequence[Input] = (),
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
    pairs = [item if isinstance(item, tuple) else (item, {}) for item in models]
    expressions = [as_expression(model) for model, _ in pairs]
    base_model = None if base is None else as_expression(base)
    given_statistics = [as_expression(item) for item in statistics]
    about = {
        "base": base_model,
        "statistics": given_statistics or None,
        "tokenizer": tokenizer,
        "embeddings": embeddings,
        "chat_template": chat_template,
    }
    shown = [f"{method!r}", repr(expressions)]
    shown += [f"{name}={value!r}" for name, value in about.items() if value is not None]
    shown += [f"{name}={shown_parameter(value)}" for name, value in parameters.items()]
    text = f"merge({', '.join(shown)})"
    with shown_in(text):
        given = {name.rstrip("_"): value for name, value in parameters.items()}
        each, whole = _split(require_method(method), given, len(pairs))
        vocabulary = read_sections(tokenizer, embeddings, chat_template)
        others = [*given_statistics, *vocabulary.models.values()]
        inputs = _Inputs([*([base_model] if base_model else []), *expressions, *others])
        names = {reference: inputs.name(v) for reference, v in vocabulary.models.items()}
        statistics_of = _statistics_names(inputs, given_statistics, len(pairs))
        sources = tuple(
            Source(inputs.name(value), None, values | _values(own), known)
            for value, (_, own), values, known in zip(
                expressions, pairs, each, statistics_of, strict=True
            )
        )
        recipe = Recipe(
            method,
            (Module(None, (Slice(sources),), is_whole_model=True),),
            base_model=inputs.name(base_model) if base_model else None,
            parameters=whole,
            dtype=dtype_named(dtype) if dtype else None,
            tokenizer=vocabulary.tokenizer_of(names),
            embeddings=vocabulary.embeddings,
            chat_template=vocabulary.chat_template,
        )
    return expression(recipe, inputs.distinct, text)


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
    per_model = {spec.name for spec in method.parameters if spec.per_model}
    for name, value in given.items():
        if name in per_model and isinstance(value, (list, tuple)) and not _is_filters(value):
            if len(value) != count:
                what = f"{name} has a value for each model; a gradient goes to one model's own"
                raise RecipeError(Problem(what, got=repr(value), wanted=f"{count} values"))
            for own, part in zip(each, value, strict=True):
                own[name] = parameter_value(part)
        else:
            whole[name] = parameter_value(value)
    return each, whole


def _is_filters(value: Sequence[object]) -> bool:
    return bool(value) and all(isinstance(item, dict) for item in value)


def _values(own: Mapping[str, Parameter]) -> dict[str, tuple[Conditional, ...]]:
    return {name: parameter_value(value) for name, value in own.items()}


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
    values: Sequence[Expression], weights: Sequence[Parameter] | None
) -> Sequence[Parameter]:
    if weights is None:
        return [1.0] * len(values)
    return [
        float(w) if isinstance(w, (int, float)) and not isinstance(w, bool) else w for w in weights
    ]


def _check_weights(values: Sequence[Expression], weights: Sequence[Parameter], text: str) -> None:
    if len(weights) != len(values):
        what = "not one weight for each input"
        raise GraphError(Problem(what, f"in {text}", f"{len(weights)}", f"{len(values)}"))
