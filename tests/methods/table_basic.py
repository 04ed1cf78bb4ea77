"""The rows of averages, task vectors, their sparsified kinds, slerp and passthrough."""

import reference
from rows import CANCELLING, NEGATIVE, PLAIN, WITH_ZERO, Row


def _linear(given):
    normalize = given.own.get("normalize", True)
    return reference.linear(given.tensors, given.values("weight"), normalize=normalize)


def _slerp(given):
    return reference.slerp(*given.tensors, given.own["t"])


def _passthrough(given):
    return given.tensors[0] * given.values("scale", 1.0)[0]


def added(deltas):
    def of(given):
        return reference.task_arithmetic(
            given.tensors[0],
            getattr(given, deltas),
            given.values("weight"),
            normalize=given.own.get("normalize", False),
            scale=given.own.get("lambda", 1.0),
        )

    return of


def elected(deltas, *, normalize):
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
    return _row("task_arithmetic", settings, added("deltas"), weights, **own)


def _ties(settings, weights=PLAIN, density=(0.3, 0.5, 0.75, 0.1), **own):
    formula = elected("sparse", normalize=True)
    return _row("ties", settings, formula, weights, "sparse", density, **own)


def _dare_linear(settings, weights=PLAIN, density=(0.4, 0.5, 0.9, 0.1), **own):
    return _row("dare_linear", settings, added("dropped"), weights, "", density, **own)


def _dare_ties(settings, weights=PLAIN, density=(0.4, 0.5, 0.9, 0.1), **own):
    formula = elected("dropped", normalize=False)
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

ROWS = (
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
    _dare_linear("inverse-density", density=(*EDGES[:2], 0.4, 0.9), rescale="inverse_density"),
    _dare_ties("plain"),
    _dare_ties("normalized", normalize=True),
    _dare_ties("not-rescaled", NEGATIVE, rescale=False),
    _dare_ties("inverse-density", density=(0.5, 0.25, 1.0, 0.125), rescale="inverse_density"),
    _dare_ties("density-edges", WITH_ZERO, density=EDGES, normalize=True),
    _passthrough_row("copy", {}),
    _passthrough_row("scaled", {"scale": (-0.75,)}),
)  # fmt: skip
