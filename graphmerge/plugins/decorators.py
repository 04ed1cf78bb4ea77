"""Decorators that make a function a merge method."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar

from graphmerge.graph import Node, Workspace, make_node
from graphmerge.methods.base import BaseRule, MergeInputs, Method
from graphmerge.methods.registry import register_method
from graphmerge.ops.custom import CUSTOM_OPS
from graphmerge.plugins.signatures import Signature, signature_of
from graphmerge.plugins.tracing import access_check, traced_workspace

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

    The function takes a list of float32 (or float64) tensors of one shape, models in recipe order
    and the base first, which it must not write to, and returns a tensor of that shape. Its other
    parameters become parameters of recipes, by their annotations: `list[float]` has a value for
    each model (but the base), `float`, `int`, `bool`, `str` and `Literal[...]` one for the merge; a
    trailing underscore is dropped (`lambda_`).

    Args:
        name: Name of the method in recipes.
        base: Whether it needs a base model; that is the first tensor then.
        access: What it looks at to compute a piece of its result: `whole` tensors, whole `rows`
            (shape (rows, row length)), or single elements (`elementwise`, shape (elements,)). The
            last two are cut into tiles, which is checked on random tensors when a plan is made.
        workspace_bytes_per_element: What it allocates at most, result included, per element of one
            input; None finds it by running the function on fake tensors.
        summary: What it does; the first line of the docstring by default.
        use_when: When to choose it.
        paper: Where it comes from.

    Raises:
        RecipeError: the name is taken, or a parameter's annotation is not one that recipes know.
    """

    def decorate(function: Function) -> Function:
        signature = signature_of(function)
        op_class = CUSTOM_OPS[access]
        workspace = (
            traced_workspace
            if workspace_bytes_per_element is None
            else lambda op, inputs: Workspace(workspace_bytes_per_element)
        )

        def build(merge: MergeInputs) -> Node:
            arguments = tuple(_arguments(signature, merge).items())
            op = op_class(name, function, arguments, workspace)
            nodes = _ordered(merge)
            access_check(op, len(nodes))
            return make_node(op, *nodes)

        register_method(_method(name, function, build, signature, base, (summary, use_when, paper)))
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
        RecipeError: the name is taken, or a parameter's annotation is not one that recipes know.
    """

    def decorate(function: Function) -> Function:
        signature = signature_of(function, MergeInputs)

        def build(merge: MergeInputs) -> Node:
            arguments = {key: _listed(value) for key, value in _arguments(signature, merge).items()}
            if signature.context:
                arguments[signature.context] = merge
            node: Node = function(_ordered(merge), **arguments)
            return node

        register_method(_method(name, function, build, signature, base, (summary, use_when, paper)))
        return function

    return decorate


def _ordered(merge: MergeInputs) -> list[Node]:
    """Nodes in recipe order, the base first."""
    tuned = [model.node for model in merge.fine_tunes]
    return [merge.base.node, *tuned] if merge.base else tuned


def _arguments(signature: Signature, merge: MergeInputs) -> dict[str, Any]:
    """Values of the function's parameters for one tensor; a tuple of one per model."""
    return {
        name: tuple(model.look_up(spec.name) for model in merge.fine_tunes)
        if spec.per_model
        else merge.parameters[spec.name]
        for name, spec in zip(signature.names, signature.parameters, strict=True)
    }


def _listed(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


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
