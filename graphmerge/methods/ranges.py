"""Values of parameters that must lie in a range."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graphmerge.errors import Problem, RecipeError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from graphmerge.methods.base import MergeInputs, ModelInput


def fraction(merge: MergeInputs, name: str) -> float:
    """A parameter of the method from 0 to 1. Raises RecipeError outside."""
    value = merge.number(name)
    if not 0 <= value <= 1:
        raise out_of_range(merge, name, value, "0 to 1")
    return value


def fraction_of(merge: MergeInputs, model: ModelInput, name: str) -> float:
    """One of the model's parameters, from 0 to 1. Raises RecipeError outside."""
    value = model.number(name)
    if not 0 <= value <= 1:
        raise out_of_range(merge, name, value, "0 to 1", model)
    return value


def number_above(
    merge: MergeInputs, name: str, least: float, *, most: float | None = None
) -> float:
    """A parameter of the method in the range (least, most]. Raises RecipeError outside."""
    value = merge.number(name)
    if value > least and (most is None or value <= most):
        return value
    wanted = f"above {least:g}" + (f", at most {most:g}" if most is not None else "")
    raise out_of_range(merge, name, value, wanted)


def not_negative(merge: MergeInputs, name: str) -> float:
    """A parameter of the method, at least 0. Raises RecipeError below."""
    value = merge.number(name)
    if value < 0:
        raise out_of_range(merge, name, value, "0 or more")
    return value


def weights_not_negative(models: Iterable[ModelInput]) -> tuple[float, ...]:
    """The weight of every model. Raises RecipeError for a negative one, or where all are zero."""
    given = {model.label: model.number("weight") for model in models}
    wrong = [
        Problem("negative weight", label, f"{weight:g}", "0 or more")
        for label, weight in given.items()
        if weight < 0
    ]
    if not wrong and not any(given.values()):
        wrong = [Problem("all weights are zero", wanted="one above 0")]
    if wrong:
        raise RecipeError(*wrong)
    return tuple(given.values())


def out_of_range(
    merge: MergeInputs, name: str, value: float, wanted: str, model: ModelInput | None = None
) -> RecipeError:
    """The error to raise for a parameter of the method, or of a model."""
    where = f"{model.label}, tensor {merge.tensor}" if model else f"tensor {merge.tensor}"
    return RecipeError(Problem(f"{name} out of range", where, f"{value:g}", wanted))
