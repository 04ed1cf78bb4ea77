"""Decorators that make a function a merge method."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar, get_args

from attrs import evolve

from graphmerge.errors import GraphmergeError, Problem, RecipeError
from graphmerge.graph import Node, make_node
from graphmerge.methods.base import BaseRule, MergeInputs, Method, ModelInput
from graphmerge.methods.registry import METHODS, register_method
from graphmerge.methods.sparsifiers import register_sparsifier
from graphmerge.ops.custom import CUSTOM_OPS, REPORT_IT, told
from graphmerge.plugins.access import access_check
from graphmerge.plugins.signatures import Signature, signature_of
from graphmerge.plugins.tracing import stated_workspace, traced_workspace

if TYPE_CHECKING:
    from collections.abc import Callable

Base: TypeAlias = Literal["required", "none"]
AccessName: TypeAlias = Literal["whole", "rows", "elementwise"]
_CHOICES = {"base": get_args(Base), "access": get_args(AccessName)}
Function = TypeVar("Function", bound="Callable[..., Any]")


def merge_method(
    name: str,
    *,
    base: Base = "none",
    access: AccessName = "whole",
    workspace_bytes_per_element: int | None = None,
    summary: str = "",
    use_when: str = "",
    paper: str = "",
) -> Callable[[Function], Function]:
    """Make a function over tensors a merge method.

    The function takes a list of float32 (or float64) tensors of one shape, models in recipe order,
    which it must not write to, and returns a tensor of that shape. Its other parameters become
    parameters of recipes, by their annotations: `list[float]` has a value for each model, `float`,
    `int`, `bool`, `str` and `Literal[...]` one for the merge; a trailing underscore is dropped
    (`lambda_`).

    Args:
        name: Name of the method in recipes.
        base: Whether it needs a base model; that is the first tensor then, and has no value in the
            lists. To a method that needs none it is one more model.
        access: What it looks at to compute a piece of its result: `whole` tensors, whole `rows`
            (shape (rows, row length)), or single elements (`elementwise`, shape (elements,)). The
            last two are cut into tiles, which is checked on random tensors when a plan is made.
        workspace_bytes_per_element: What it allocates at most, result included, per element of one
            input; None finds it by running the function, on tensors without data where these would
            be large.
        summary: What it does; the first line of the docstring by default.
        use_when: When to choose it.
        paper: Where it comes from.

    Raises:
        RecipeError: the name is taken, a parameter's annotation is not one that recipes know, or
            an argument is none of those above.
    """
    _check_arguments(name, base=base, access=access)

    def decorate(function: Function) -> Function:
        signature = signature_of(function)
        op_class = CUSTOM_OPS[access]
        workspace = (
            traced_workspace
            if workspace_bytes_per_element is None
            else lambda op, inputs: stated_workspace(op, workspace_bytes_per_element)
        )

        def build(merge: MergeInputs) -> Node:
            arguments = tuple(_arguments(signature, merge, base).items())
            op = op_class(name, function, arguments, workspace)
            nodes = _ordered(merge, base)
            access_check(op, len(nodes))
            return make_node(op, *nodes)

        _register(_method(name, function, build, signature, base, (summary, use_when, paper)))
        return function

    return decorate


def sparsifier(name: str) -> Callable[[Function], Function]:
    """Make a function a way to thin task vectors: a `method` of `sparsify`.

    The function maps the merge (tensor name, seed), the model, its task vector as a node, and a
    density from 0 to 1 to a sparser node, made of ops (see `graphmerge.compose`).

    Raises:
        RecipeError: the name is taken.
    """

    def decorate(function: Function) -> Function:
        register_sparsifier(name, function)
        return function

    return decorate


def merge_graph(
    name: str,
    *,
    base: Base = "none",
    summary: str = "",
    use_when: str = "",
    paper: str = "",
) -> Callable[[Function], Function]:
    """Make a function that composes nodes a merge method.

    As `merge_method`, but the function takes nodes and returns a node, made of ops (see
    `graphmerge.compose`), so that it is tiled, compiled and checked like the built-in methods. A
    parameter annotated with `MergeInputs` takes the tensor's name, the models and the seed.

    Raises:
        RecipeError: the name is taken, a parameter's annotation is not one that recipes know, or
            an argument is none of those above.
    """
    _check_arguments(name, base=base)

    def decorate(function: Function) -> Function:
        signature = signature_of(function, MergeInputs)

        def build(merge: MergeInputs) -> Node:
            values = _arguments(signature, merge, base)
            arguments = {key: _listed(value) for key, value in values.items()}
            if signature.context:
                arguments[signature.context] = merge
            return _composed(name, function, _ordered(merge, base), arguments)

        _register(_method(name, function, build, signature, base, (summary, use_when, paper)))
        return function

    return decorate


def _check_arguments(name: object, **choices: str) -> None:
    """Refuse a decorator without its name, and words that mean nothing."""
    if not isinstance(name, str):
        hint = 'write the name in parentheses after the decorator: ("NAME")'
        raise RecipeError(Problem("no name of a method", got=repr(name), hint=hint))
    for argument, given in choices.items():
        allowed = _CHOICES[argument]
        if given not in allowed:
            what, wanted = f"wrong {argument} of method {name!r}", f"one of {', '.join(allowed)}"
            raise RecipeError(Problem(what, got=repr(given), wanted=wanted))


def _composed(
    name: str, function: Callable[..., Any], nodes: list[Node], arguments: dict[str, Any]
) -> Node:
    """The node that a function composes.

    Raises:
        RecipeError: the function fails, or returns something else than a node of its inputs' shape.
    """
    try:
        made = function(list(nodes), **arguments)
    except GraphmergeError as error:
        places = (f"method {name}, {problem.where}".rstrip(", ") for problem in error.problems)
        raise RecipeError(
            *(evolve(problem, where=at) for problem, at in zip(error.problems, places, strict=True))
        ) from error
    except Exception as error:
        what = f"method {name} fails: {told(error)}"
        raise RecipeError(Problem(what, hint=REPORT_IT)) from error
    if not isinstance(made, Node) or made.spec != nodes[0].spec:
        got = str(made.spec) if isinstance(made, Node) else type(made).__name__
        what = f"method {name} returns something else than a node of its inputs' shape"
        raise RecipeError(Problem(what, got=got, wanted=str(nodes[0].spec), hint=REPORT_IT))
    return made


def _ordered(merge: MergeInputs, base: Base) -> list[Node]:
    """Nodes in recipe order, the base first where the method has one."""
    tuned = [model.node for model in _weighed(merge, base)]
    return [merge.base_node, *tuned] if base == "required" else tuned


def _weighed(merge: MergeInputs, base: Base) -> tuple[ModelInput, ...]:
    """The models that have parameters; a base that the method does not need is one of them."""
    return merge.fine_tunes if base == "required" else merge.models


def _arguments(signature: Signature, merge: MergeInputs, base: Base) -> dict[str, Any]:
    """Values of the function's parameters for one tensor; a tuple of one per model."""
    return {
        name: tuple(model.look_up(spec.name) for model in _weighed(merge, base))
        if spec.per_model
        else merge.parameters[spec.name]
        for name, spec in zip(signature.names, signature.parameters, strict=True)
    }


def _listed(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _register(method: Method) -> None:
    """Make a method known; the same function may be defined again, as in a notebook."""
    known = METHODS.get(method.name)
    if known is not None and known.formula == method.formula:
        del METHODS[method.name]
    register_method(method)


def _method(
    name: str,
    function: Callable[..., Any],
    build: Callable[[MergeInputs], Node],
    signature: Signature,
    base: Base,
    words: tuple[str, str, str],
) -> Method:
    summary, use_when, paper = words
    first_line = (function.__doc__ or "").strip().split("\n")[0]
    return Method(
        name=name,
        summary=summary or first_line or "A plug-in method.",
        formula=f"{function.__module__}.{function.__qualname__}",
        use_when=use_when,
        paper=paper,
        build=build,
        base=BaseRule.REQUIRED if base == "required" else BaseRule.NONE,
        parameters=signature.parameters,
        least_models=2 if base == "required" else 1,
    )
