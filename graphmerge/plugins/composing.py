"""Call functions that compose nodes, and check what they return."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import evolve

from graphmerge.errors import GraphmergeError, Problem, RecipeError
from graphmerge.graph import Node
from graphmerge.ops.custom import REPORT_IT, place_of, told

if TYPE_CHECKING:
    from collections.abc import Callable

    from graphmerge.spec import TensorSpec


def composed(
    what: str, function: Callable[..., object], call: Callable[[], object], spec: TensorSpec
) -> Node:
    """The node that a function composes.

    Args:
        what: Whose function it is: `method NAME`.
        function: Where it is, for messages.
        call: Calls it.
        spec: What the node must have.

    Raises:
        RecipeError: the function fails, or returns something else than such a node.
    """
    try:
        made = call()
    except GraphmergeError as error:
        raise RecipeError(*(_within(what, function, one) for one in error.problems)) from error
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # sys.exit() too, which would end the command as if it were done
        told_of = f"{what} fails: {told(error)}"
        raise RecipeError(Problem(told_of, place_of(function, error), hint=REPORT_IT)) from error
    if isinstance(made, Node) and made.spec == spec:
        return made
    got = str(made.spec) if isinstance(made, Node) else type(made).__name__
    told_of = f"{what} returns something else than a node of its inputs' shape"
    raise RecipeError(Problem(told_of, place_of(function), got, str(spec), REPORT_IT))


def _within(what: str, function: Callable[..., object], problem: Problem) -> Problem:
    """A mistake that a step has named, with the function that has made it."""
    places = (what, problem.where, place_of(function))
    return evolve(problem, where=", ".join(filter(None, places)))
