"""Decorators that make a function a merge method."""

from __future__ import annotations

from functools import partial, wraps
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar, get_args

from graphmerge.errors import Problem, RecipeError
from graphmerge.graph import Node, Space, make_node
from graphmerge.methods.base import BaseRule, MergeInputs, Method, ModelInput
from graphmerge.methods.registry import METHODS, register_method
from graphmerge.methods.sparsifiers import register_sparsifier
from graphmerge.ops.custom import CUSTOM_OPS, place_of
from graphmerge.plugins.access import access_check
from graphmerge.plugins.checks import (
    check_bytes,
    check_choices,
    check_function,
    check_name,
    check_texts,
)
from graphmerge.plugins.composing import composed
from graphmerge.plugins.signatures import Signature, signature_of
from graphmerge.plugins.tracing import stated_workspace, traced_workspace

if TYPE_CHECKING:
    from collections.abc import Callable

Base: TypeAlias = Literal["required", "none"]
AccessName: TypeAlias = Literal["whole", "rows", "elementwise"]
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
    check_name(name, "method")
    check_choices(name, {"base": (base, get_args(Base)), "access": (access, get_args(AccessName))})
    check_bytes(name, workspace_bytes_per_element=workspace_bytes_per_element)
    check_texts(name, summary=summary, use_when=use_when, paper=paper)

    def decorate(function: Function) -> Function:
        check_function(function, name)
        signature = signature_of(function)
        op_class = CUSTOM_OPS[access]
        workspace = (
            traced_workspace
            if workspace_bytes_per_element is None
            else lambda op, inputs: stated_workspace(op, int(workspace_bytes_per_element))
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
    density from 0 to 1 to a sparser node, made of ops (see `graphmerge.compose`). It may be defined
    again, as in a notebook.

    Raises:
        RecipeError: the name is taken or is no text, or this is no function.
    """
    check_name(name, "sparsifier")

    def decorate(function: Function) -> Function:
        check_function(function, name)

        @wraps(function)
        def checked(merge: MergeInputs, model: ModelInput, delta: Node, density: float) -> Node:
            called = partial(function, merge, model, delta, density)
            return composed(f"sparsifier {name}", function, called, delta.spec)

        register_sparsifier(name, checked)
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
    check_name(name, "method")
    check_choices(name, {"base": (base, get_args(Base))})
    check_texts(name, summary=summary, use_when=use_when, paper=paper)

    def decorate(function: Function) -> Function:
        check_function(function, name)
        signature = signature_of(function, MergeInputs)

        def build(merge: MergeInputs) -> Node:
            values = _arguments(signature, merge, base)
            arguments = {key: _listed(value) for key, value in values.items()}
            if signature.context:
                arguments[signature.context] = merge
            nodes = _ordered(merge, base)
            called = partial(function, list(nodes), **arguments)
            made = composed(f"method {name}", function, called, nodes[0].spec)
            if made.space is Space.DELTA and base == "required":
                what = f"method {name} returns a task vector"
                where, hint = place_of(function), "add it to the base"
                raise RecipeError(Problem(what, where, wanted="a model", hint=hint))
            return made

        _register(_method(name, function, build, signature, base, (summary, use_when, paper)))
        return function

    return decorate


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
