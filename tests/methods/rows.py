"""What a row of the table of methods is: a recipe fragment, its parameters, and its reference."""

from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np
import reference
import reference_masks
import torch
from attrs import field, frozen
from data_statistics import folder_of

from graphmerge.kernels.random_drop import keep_mask
from graphmerge.ops.sparsify import MaskKey

PLAIN = (0.5, 0.25, 1.0, 0.75, 0.375)
NEGATIVE = (-0.5, 1.5, -0.25, 1.0, 0.5)
WITH_ZERO = (0.0, 0.5, 1.0, 0.0, 0.25)
CANCELLING = (0.5, -0.5, 0.25, -0.25, 0.0)
"""Weights of models; sums of few bits, so that exact draws in a vote are exact in float32 too."""


@frozen(eq=False, slots=False)
class Given:
    """What a reference computes from: one tensor of every model."""

    tensors: list[np.ndarray]
    """Values in float64; the base first, if there is one."""
    per_model: list[dict[str, float]]
    """Parameters of every model but the base."""
    own: dict[str, Any]
    """Parameters of the method."""
    labels: list[str]
    """Labels of every model but the base."""
    name: str
    """Tensor name."""
    seed: int
    """Seed of the run."""
    arithmetic: type[np.floating]
    """float32 or float64."""
    models: list[dict[str, np.ndarray]]
    """Every tensor of every model, in the order of `tensors`."""
    memo: dict[str, Any]
    """What has been computed of whole models, for all tensors of a merge."""

    def once(self, name, make):
        """What is the same for all tensors of a merge."""
        if name not in self.memo:
            self.memo[name] = make()
        return self.memo[name]

    def values(self, parameter, default=None):
        return [parameters.get(parameter, default) for parameters in self.per_model]

    @cached_property
    def deltas(self):
        return reference.task_vectors(self.tensors[0], self.tensors[1:], self.arithmetic)

    @cached_property
    def sparse(self):
        """Trimmed task vectors."""
        dense = self.deltas
        densities = self.values("density", 1.0)
        return self._restored(dense, map(reference.trim, dense, densities), default=False)

    @cached_property
    def dropped(self):
        """Randomly dropped task vectors, by the masks of the product."""
        dense, kept = self.deltas, []
        for delta, label, density in zip(
            dense, self.labels, self.values("density", 1.0), strict=True
        ):
            mask = keep_mask(MaskKey(self.seed, label, self.name), density, 0, delta.size)
            kept.append(delta * mask.reshape(delta.shape))
        if self.own.get("rescale") == "inverse_density":
            densities = self.values("density", 1.0)
            return [x / p if p else x for x, p in zip(kept, densities, strict=True)]
        return self._restored(dense, kept, default=True)

    @cached_property
    def crumbs(self):
        """Task vectors without outliers and least entries."""
        dense = self.deltas
        shares = (self.values("density", 1.0), self.values("gamma", 0.01))
        return self._restored(
            dense, map(reference_masks.breadcrumbs, dense, *shares), default=False
        )

    @cached_property
    def ranked(self):
        """Task vectors with entries dropped by rank, by the draws of the product."""
        dense, kept = self.deltas, []
        shares = zip(self.values("density", 1.0), self.values("epsilon", 0.15), strict=True)
        for delta, label, (density, epsilon) in zip(dense, self.labels, shares, strict=True):
            if density in (0, 1):
                kept.append(density * delta)
                continue
            likely = reference_masks.probabilities(delta, density, epsilon)
            draws = reference_masks.draws(MaskKey(self.seed, label, self.name), delta.shape)
            kept.append(np.where(draws < likely, delta, 0.0))
        return self._restored(dense, kept, default=True)

    def _restored(self, dense, sparse, *, default):
        if not self.own.get("rescale", default):
            return list(sparse)
        return [reference.rescaled(*pair) for pair in zip(dense, sparse, strict=True)]


Reference = Callable[[Given], np.ndarray]


@frozen(eq=False)
class Row:
    """A method with settings."""

    method: str
    """Name in recipes."""
    settings: str
    """What is special about this row; the test's id."""
    reference: Reference
    """What the output must be, to rounding."""
    own: dict[str, Any] = field(factory=dict)
    """Parameters of the method."""
    per_model: dict[str, tuple[float, ...]] = field(factory=dict)
    """Parameters of the models, by position (the base left out)."""
    needs_base: bool = True
    """Whether the first model is named as the base, and not listed."""
    counts: tuple[int, ...] = (5,)
    """Numbers of models to try, the base included: several in the plain row of each method."""
    votes: Callable[[Given], list[dict[str, np.ndarray]]] | str = ""
    """The deltas that elect a sign, if any do: as `Given` calls them, or of whole models."""
    tolerance: float = 1e-13
    """How far float64 may be from the reference, relative to the largest magnitude."""
    statistics: str = ""
    """Kind of the statistics of each model, if the method wants some: see `data_statistics`."""
    dtype: Callable[[int], torch.dtype] | None = None
    """By the number of models, base included, the dtype of a record; a model has that of its
    inputs."""
    beside: frozenset[str] = frozenset()
    """Names of tensors that a record has beside those of the models."""

    def __str__(self):
        return f"{self.method}-{self.settings}"

    def parameters_of(self, position):
        """Those of a model by its place in the recipe; in turns where there are many models."""
        return {name: values[position % len(values)] for name, values in self.per_model.items()}

    def recipe(self, labels, **more):
        """The recipe for models in folders of these names."""
        listed = labels[1:] if self.needs_base else labels
        models = [
            {"model": label, "parameters": self.parameters_of(position)}
            | ({"statistics": folder_of(label, self.statistics)} if self.statistics else {})
            for position, label in enumerate(listed)
        ]
        base = {"base_model": labels[0]} if self.needs_base else {}
        return {
            "merge_method": self.method,
            **base,
            "models": models,
            "parameters": self.own,
            **more,
        }

    def voting(self, given):
        """The deltas of the tensor at hand that elect a sign."""
        if isinstance(self.votes, str):
            return getattr(given, self.votes)
        return [delta[given.name] for delta in self.votes(given)]

    def given(self, labels, models, *, name, seed, arithmetic, memo):
        tensors = [model[name] for model in models]
        listed = labels[1:] if self.needs_base else labels
        per_model = [self.parameters_of(position) for position in range(len(listed))]
        return Given(tensors, per_model, self.own, listed, name, seed, arithmetic, models, memo)
