"""One row per method and setting: a recipe fragment, its parameters, and its reference.

A new method is a few rows here; the tests that run over the table then cover it with every dtype,
shape and number of models.
"""

from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np
import reference
from attrs import field, frozen

from graphmerge.kernels.random_drop import keep_mask
from graphmerge.ops import MaskKey

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
    votes: str = ""
    """The deltas that elect a sign, as `Given` calls them, if any do."""

    def __str__(self):
        return f"{self.method}-{self.settings}"

    def parameters_of(self, position):
        return {name: values[position] for name, values in self.per_model.items()}

    def recipe(self, labels, **more):
        """The recipe for models in folders of these names."""
        listed = labels[1:] if self.needs_base else labels
        models = [
            {"model": label, "parameters": self.parameters_of(position)}
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

    def given(self, labels, tensors, *, name, seed, arithmetic):
        listed = labels[1:] if self.needs_base else labels
        per_model = [self.parameters_of(position) for position in range(len(listed))]
        return Given(tensors, per_model, self.own, listed, name, seed, arithmetic)


def _linear(given):
    normalize = given.own.get("normalize", True)
    return reference.linear(given.tensors, given.values("weight"), normalize=normalize)


def _slerp(given):
    return reference.slerp(*given.tensors, given.own["t"])


def _passthrough(given):
    return given.tensors[0] * given.values("scale", 1.0)[0]


def _added(deltas):
    def of(given):
        return reference.task_arithmetic(
            given.tensors[0],
            getattr(given, deltas),
            given.values("weight"),
            normalize=given.own.get("normalize", False),
            scale=given.own.get("lambda", 1.0),
        )

    return of


def _elected(deltas, *, normalize):
    def of(given):
        return reference.elect(
            given.tensors[0],
            getattr(given, deltas),
            given.values("weight"),
            normalize=given.own.get("normalize", normalize),
            scale=given.own.get("lambda", 1.0),
        )

    return of


def _row(method, settings, formula, weights=PLAIN, votes="", density=None, **own):
    per_model = {"weight": weights} | ({"density": density} if density else {})
    return Row(method, settings, formula, own, per_model, counts=_counts(settings), votes=votes)


def _counts(settings):
    return (2, 3, 5) if settings == "plain" else (5,)


def _task_arithmetic(settings, weights=PLAIN, **own):
    return _row("task_arithmetic", settings, _added("deltas"), weights, **own)


def _ties(settings, weights=PLAIN, density=(0.3, 0.5, 0.75, 0.1), **own):
    formula = _elected("sparse", normalize=True)
    return _row("ties", settings, formula, weights, "sparse", density, **own)


def _dare_linear(settings, weights=PLAIN, density=(0.4, 0.5, 0.9, 0.1), **own):
    return _row("dare_linear", settings, _added("dropped"), weights, "", density, **own)


def _dare_ties(settings, weights=PLAIN, density=(0.4, 0.5, 0.9, 0.1), **own):
    formula = _elected("dropped", normalize=False)
    return _row("dare_ties", settings, formula, weights, "dropped", density, **own)


def _linear_row(settings, weights=PLAIN, **own):
    return Row(
        "linear",
        settings,
        _linear,
        own,
        {"weight": weights},
        needs_base=False,
        counts=_counts(settings),
    )


def _slerp_row(t):
    return Row("slerp", f"t={t}", _slerp, {"t": t}, counts=(2,))


def _passthrough_row(settings, per_model):
    return Row("passthrough", settings, _passthrough, {}, per_model, needs_base=False, counts=(1,))


EDGES = (0.0, 1.0, 1e-9, 0.5)
"""Densities: none, all, a single entry, half."""

TABLE = (
    _linear_row("plain"),
    _linear_row("negative", NEGATIVE),
    _linear_row("weight-zero", WITH_ZERO),
    _linear_row("not-normalized", normalize=False),
    _slerp_row(0.3),
    _slerp_row(0.0),
    _slerp_row(1.0),
    _slerp_row(0.875),
    _task_arithmetic("plain"),
    _task_arithmetic("normalized", normalize=True),
    _task_arithmetic("negative", NEGATIVE, **{"lambda": 0.75}),
    _task_arithmetic("weight-zero", WITH_ZERO),
    _task_arithmetic("weights-cancel", CANCELLING, normalize=True),
    _task_arithmetic("lambda-zero", **{"lambda": 0.0}),
    _ties("plain"),
    _ties("density-edges", density=EDGES),
    _ties("not-normalized", normalize=False),
    _ties("negative", NEGATIVE),
    _ties("weight-zero", WITH_ZERO),
    _ties("weights-cancel", CANCELLING),
    _ties("rescaled", rescale=True),
    _ties("rescaled-edges", NEGATIVE, (0.0, 1.0, 0.01, 0.5), rescale=True, **{"lambda": 1.25}),
    _ties("lambda-zero", **{"lambda": 0.0}),
    _dare_linear("plain"),
    _dare_linear("normalized", normalize=True),
    _dare_linear("not-rescaled", rescale=False),
    _dare_linear("density-edges", NEGATIVE, density=EDGES),
    _dare_ties("plain"),
    _dare_ties("normalized", normalize=True),
    _dare_ties("not-rescaled", NEGATIVE, rescale=False),
    _dare_ties("density-edges", WITH_ZERO, density=EDGES, normalize=True),
    _passthrough_row("copy", {}),
    _passthrough_row("scaled", {"scale": (-0.75,)}),
)  # fmt: skip
"""Every row."""

ONE_EACH = tuple({row.method: row for row in reversed(TABLE)}.values())[::-1]
"""The first row of every method, for tests of what all methods share."""
