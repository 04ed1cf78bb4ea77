"""The rows of methods on the sphere, of their kin, and of averages over checkpoints."""

import reference_spherical as reference
from rows import NEGATIVE, PLAIN, WITH_ZERO, Row

DEFAULTS = {
    "multislerp": {"normalize_weights": True, "eps": 1e-8},
    "karcher": {"max_iter": 10, "tol": 1e-5},
    "geometric_median": {"max_iter": 100, "tol": 1e-20, "eps": 1e-6},
}


def _own(given, method):
    return DEFAULTS[method] | given.own


def _around(given, combine):
    """Of the models, or of task vectors that are added to the base."""
    if len(given.per_model) == len(given.tensors):
        return combine(given.tensors)
    return given.tensors[0] + combine(given.deltas)


def _nuslerp(given):
    axis = None
    if not given.own.get("nuslerp_flatten", True):
        axis = 0 if given.own.get("nuslerp_row_wise", False) else -1
    return _around(given, lambda pair: reference.nuslerp(*pair, given.values("weight"), axis))


def _multislerp(given):
    own = _own(given, "multislerp")
    if len(given.per_model) == 1:
        return given.tensors[-1]

    def combine(tensors):
        normalize = own["normalize_weights"]
        weights = given.values("weight")
        return reference.multislerp(tensors, weights, normalize=normalize, eps=own["eps"])

    return _around(given, combine)


def _karcher(given):
    return reference.karcher(given.tensors, **_own(given, "karcher"))


def _stock(given):
    axis = -1 if given.own.get("filter_wise", False) else None
    return _around(given, lambda deltas: reference.stock(deltas, axis))


def _median(given):
    return reference.geometric_median(given.tensors, **_own(given, "geometric_median"))


def _with(function, parameter, default):
    return lambda given: function(*given.tensors, given.own.get(parameter, default))


def _expo(given):
    base, tuned = given.tensors
    return tuned + given.own.get("alpha", 0.3) * (tuned - base)


def _ema(given):
    return reference.ema(given.tensors, given.own.get("decay", 0.9))


def _wsm(given):
    return reference.wsm(given.tensors, given.own.get("decay", "1-sqrt"))


def _weighted(method, formula, settings, weights, counts, *, base=False, **own):
    per_model = {"weight": weights}
    return Row(method, settings, formula, own, per_model, needs_base=base, counts=counts)


def _listed(method, formula, settings, counts, *, base=False, **own):
    return Row(method, settings, formula, own, needs_base=base, counts=counts)


def _multi(settings, weights=PLAIN, counts=(5,), *, base=False, **own):
    return _weighted("multislerp", _multislerp, settings, weights, counts, base=base, **own)


def _nu(settings, weights=PLAIN, *, base=False, **own):
    counts = (3,) if base else (2,)
    return _weighted("nuslerp", _nuslerp, settings, weights, counts, base=base, **own)


ROWS = (
    _nu("plain"),
    _nu("of-task-vectors", base=True),
    _nu("weights-cancel", (0.5, -0.5)),
    _nu("beyond", (1.25, -0.25), base=True),
    _nu("rows", nuslerp_flatten=False),
    _nu("columns", base=True, nuslerp_flatten=False, nuslerp_row_wise=True),
    _multi("plain", counts=(1, 2, 5)),
    _multi("of-task-vectors", NEGATIVE, (2, 5), base=True),
    _multi("weight-zero", WITH_ZERO),
    _multi("not-normalized", normalize_weights=False),
    _multi("wide-eps", base=True, eps=0.25),
    _listed("karcher", _karcher, "plain", (1, 2, 5)),
    _listed("karcher", _karcher, "one-step", (5,), max_iter=1, tol=1e-9),
    _listed("karcher", _karcher, "no-step", (3,), max_iter=0),
    _listed("model_stock", _stock, "plain", (3, 5), base=True),
    _listed("model_stock", _stock, "filter-wise", (4,), base=True, filter_wise=True),
    _listed("nearswap", _with(reference.nearswap, "t", None), "plain", (2,), base=True, t=0.03),
    _listed("nearswap", _with(reference.nearswap, "t", None), "none", (2,), base=True, t=-1.0),
    _listed("nearswap", _with(reference.nearswap, "t", None), "all", (2,), base=True, t=99.0),
    _listed("geometric_median", _median, "plain", (1, 2, 5), max_iter=30, tol=1e-6),
    _listed("geometric_median", _median, "few-steps", (5,), max_iter=2, tol=0.01, eps=0.25),
    _listed("train_difference", _with(reference.train_difference, "alpha", 1.0), "plain", (3,),
            base=True),
    _listed("train_difference", _with(reference.train_difference, "alpha", 1.0), "half", (3,),
            base=True, alpha=-0.5),
    _listed("add_perpendicular", _with(reference.add_perpendicular, "alpha", 1.0), "plain", (3,),
            base=True),
    _listed("add_perpendicular", _with(reference.add_perpendicular, "alpha", 1.0), "half", (3,),
            base=True, alpha=0.5),
    _listed("expo", _expo, "plain", (2,), base=True),
    _listed("expo", _expo, "far", (2,), base=True, alpha=1.5),
    _listed("ema", _ema, "plain", (1, 2, 5)),
    _listed("ema", _ema, "quick", (5,), decay=0.25),
    _listed("ema", _ema, "last", (3,), decay=0.0),
    _listed("wsm", _wsm, "plain", (1, 2, 5)),
    _listed("wsm", _wsm, "linear", (5,), decay="linear"),
    _listed("wsm", _wsm, "cosine", (5,), decay="cosine"),
)  # fmt: skip
