"""Print a recipe for every method over base, ft1, ft2 and ft3, as JSON: name to text.

A program of its own, so that `methods.py` imports nothing outside the standard library. Methods
come from the registry; what they take follows from their parameters.
"""

from __future__ import annotations

import json
from typing import Any

from graphmerge.methods.base import BaseRule, Method, StatisticsRule
from graphmerge.methods.registry import BUILT_IN
from graphmerge.recipe.signature import REQUIRED, ParameterSpec

TUNED = ("ft1", "ft2", "ft3")
VALUES = {"weight": 0.3, "density": 0.5, "t": 0.3, "beta": 0.5, "task": 0}
"""Of parameters that must be given, and of densities, which would keep everything."""
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "ties-model": ("ties", {"scope": "model"}),
    "nan-model": ("nan", {"scope": "model"}),
    "emr-task": ("emr", {"task": "0"}),
}
"""Methods with settings that take other ways: by what they are called here."""
MODELS: dict[StatisticsRule, dict[str, str | None]] = {
    StatisticsRule.NONE: dict.fromkeys(("base", *TUNED)),
    StatisticsRule.ENTRIES: {name: name for name in ("base", *TUNED)},
    StatisticsRule.GRAMS: {"ft1": "grams1", "ft2": "grams2"},
    StatisticsRule.MASKS: {"unified": "masks"},
}
"""The models of a method and their statistics, by what these are. Where they are numbers for each
entry, models stand for statistics of themselves; the others are made by `methods.py`."""


def main() -> None:
    """Print the recipes."""
    print(json.dumps(recipes()))


def recipes() -> dict[str, str]:
    """The recipes, by what methods and variants are called here."""
    methods = {name: recipe(method) for name, method in BUILT_IN.items()}
    return methods | {name: recipe(BUILT_IN[of], own) for name, (of, own) in VARIANTS.items()}


def recipe(method: Method, own: dict[str, Any] | None = None) -> str:
    """The recipe of a method, on one line per model, as `workloads.shares` reads it."""
    needs_base = method.base is BaseRule.REQUIRED
    most = method.most_models or len(TUNED) + 1
    known = MODELS[method.statistics]
    listed = [name for name in known if not (needs_base and name == "base")][: most - needs_base]
    settings = values_of(method, per_model=False) | (own or {})
    lines = [f"merge_method: {method.name}"]
    lines += ["base_model: base"] * needs_base
    lines.append("models:")
    inner = json.dumps(values_of(method, per_model=True))
    given = [f", statistics: {known[name]}" if known[name] else "" for name in listed]
    lines += [
        f"  - {{model: {name}{more}, parameters: {inner}}}"
        for name, more in zip(listed, given, strict=True)
    ]
    lines += [f"parameters: {json.dumps(settings)}", "dtype: bfloat16"]
    return "\n".join(lines) + "\n"


def values_of(method: Method, *, per_model: bool) -> dict[str, Any]:
    """Values of the parameters that must be given or that say how much is kept."""
    return {
        spec.name: VALUES.get(spec.name, 0.5)
        for spec in method.parameters
        if spec.per_model is per_model and is_set(spec)
    }


def is_set(spec: ParameterSpec) -> bool:
    """Whether the recipe gives a value: it must, or the default would leave nothing to do."""
    return spec.default is REQUIRED or (spec.name == "density" and spec.default == 1)


if __name__ == "__main__":
    main()
