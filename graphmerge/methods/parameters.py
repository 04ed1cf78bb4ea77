"""Parameters that several methods share, and the usual kinds of a method's own."""

from __future__ import annotations

from graphmerge.recipe.signature import REQUIRED, ParameterSpec


def own(name: str, default: float, doc: str) -> ParameterSpec:
    """A number that the method has, not each model."""
    return ParameterSpec(name, float, default, per_model=False, doc=doc)


def integer(name: str, default: int, doc: str) -> ParameterSpec:
    """A whole number that the method has."""
    return ParameterSpec(name, int, default, per_model=False, doc=doc)


def switch(name: str, *, default: bool, doc: str) -> ParameterSpec:
    """Something that the method does or does not."""
    return ParameterSpec(name, bool, default, per_model=False, doc=doc)


def of_each(name: str, default: float, doc: str) -> ParameterSpec:
    """A number that each model has."""
    return ParameterSpec(name, float, default, per_model=True, doc=doc)


WEIGHT = ParameterSpec(
    "weight", float, REQUIRED, per_model=True, doc="How much this model counts; any number."
)
WEIGHT_NOT_NEGATIVE = of_each("weight", 1.0, "How much this model counts; not negative.")
"""The weight of methods that average by what data, or task vectors, say."""
DENSITY = of_each("density", 1.0, "Fraction of the task vector's entries to keep, 0 to 1.")
SCALE = own("lambda", 1.0, "Scale of the merged task vector before it is added to the base.")
INT8_MASK = switch(
    "int8_mask",
    default=False,
    doc="Accepted for compatibility, without effect: memory is bounded by the budget.",
)
DARE_RESCALE = ParameterSpec(
    "rescale",
    bool,
    default=True,
    per_model=False,
    doc="Scale what is kept so that the L1 norm stays (true), or by 1/density as in the paper.",
    choices=("inverse_density",),
)


def normalize(*, default: bool) -> ParameterSpec:
    """The `normalize` parameter."""
    return switch("normalize", default=default, doc="Divide by the sum of the weights.")


def rescale(*, default: bool) -> ParameterSpec:
    """The `rescale` parameter of sparsifying methods."""
    doc = "After dropping entries, scale the rest so that the task vector keeps its L1 norm."
    return switch("rescale", default=default, doc=doc)
