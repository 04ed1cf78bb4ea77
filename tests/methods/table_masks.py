"""The rows of methods that choose entries of task vectors by masks of their own."""

import reference_masks
from rows import CANCELLING, NEGATIVE, PLAIN, WITH_ZERO, Row
from table_basic import added, elected

DENSITY = (0.3, 0.5, 0.75, 0.1)
GAMMA = (0.01, 0.1, 0.4, 0.0)
EDGES = (0.0, 1.0, 1e-9, 0.5)


def _of(formula):
    """A reference for a formula of the task vectors, times lambda."""

    def of(given):
        return given.tensors[0] + given.own.get("lambda", 1.0) * formula(given)

    return of


def _row(method, settings, formula, per_model=(), votes="", **own):
    counts = (2, 3, 5) if settings == "plain" else (5,)
    return Row(method, settings, formula, own, dict(per_model), counts=counts, votes=votes)


def _crumbs(settings, weights=PLAIN, density=DENSITY, gamma=GAMMA, *, ties=False, **own):
    per_model = {"weight": weights, "density": density, "gamma": gamma}
    if ties:
        formula = elected("crumbs", normalize=False)
        return _row("breadcrumbs_ties", settings, formula, per_model, "crumbs", **own)
    return _row("breadcrumbs", settings, added("crumbs"), per_model, **own)


def _ram(given):
    return reference_masks.ram(given.deltas, given.own.get("epsilon", 1e-5), given.arithmetic)


def _ramplus(given):
    r, alpha = given.own.get("r", 0.1), given.own.get("alpha", 0.2)
    epsilon = given.own.get("epsilon", 1e-5)
    return reference_masks.ram(given.deltas, epsilon, given.arithmetic, r=r, alpha=alpha)


def _consensus(given):
    thresholds = given.values("mask_threshold", 0.4)
    least = given.own.get("least_masks", 2)
    return reference_masks.consensus(given.deltas, thresholds, least, given.arithmetic)


def _magmax(given):
    return given.own.get("lambda", 0.5) * reference_masks.magmax(given.deltas)


def _magmax_row(settings, **own):
    def formula(given):
        return given.tensors[0] + _magmax(given)

    return _row("magmax", settings, formula, **own)


def _sce(given):
    return reference_masks.sce(given.deltas, given.own.get("select_topk", 1.0), given.arithmetic)


def _cabs(given):
    n, m = given.own.get("n", 64), given.own.get("m", 256)
    return reference_masks.cabs(given.deltas, given.values("weight"), n, m)


def _sce_row(settings, **own):
    return _row("sce", settings, _of(_sce), votes="deltas", **own)


def _cabs_row(settings, weights=PLAIN, **own):
    return _row("cabs", settings, _of(_cabs), {"weight": weights}, **own)


def _arcee(given):
    (delta,) = given.deltas
    base, other = given.tensors
    return reference_masks.arcee(base, other, delta, given.arithmetic) if base.size else delta


def _della(settings, weights=PLAIN, density=(0.4, 0.5, 0.75, 0.3), epsilon=(0.15,) * 4, **own):
    per_model = {"weight": weights, "density": density, "epsilon": epsilon}
    return _row("della", settings, elected("ranked", normalize=True), per_model, "ranked", **own)


def _della_linear(settings, weights=PLAIN, density=(0.4, 0.5, 0.75, 0.3), **own):
    per_model = {"weight": weights, "density": density, "epsilon": (0.1, 0.0, 0.2, -0.1)}
    return _row("della_linear", settings, added("ranked"), per_model, **own)


ROWS = (
    _crumbs("plain"),
    _crumbs("edges", density=EDGES),
    _crumbs("all-outliers", density=(0.5, 1.0, 0.25, 1.0), gamma=(1.0, 1.0, 0.75, 0.5)),
    _crumbs("normalized", NEGATIVE, normalize=True),
    _crumbs("rescaled", rescale=True, **{"lambda": 0.75}),
    _crumbs("lambda-zero", **{"lambda": 0.0}),
    _crumbs("plain", ties=True),
    _crumbs("edges", CANCELLING, density=EDGES, ties=True),
    _crumbs("normalized", WITH_ZERO, ties=True, normalize=True),
    _crumbs("rescaled", NEGATIVE, ties=True, rescale=True),
    _della("plain"),
    _della("density-edges", NEGATIVE, (0.0, 1.0, 0.99, 0.02), (0.2, 0.2, 0.005, 0.01)),
    _della("not-normalized", WITH_ZERO, normalize=False, rescale=False),
    _della_linear("plain"),
    _della_linear("normalized", density=(0.0, 1.0, 0.5, 0.8), normalize=True),
    _della_linear("not-rescaled", NEGATIVE, rescale=False, **{"lambda": 0.5}),
    _sce_row("plain"),
    _sce_row("select", select_topk=0.3),
    _sce_row("select-one", select_topk=1e-5),
    _sce_row("select-none", select_topk=0.0),
    _row("ram", "plain", _of(_ram)),
    _row("ram", "epsilon", _of(_ram), epsilon=0.06),
    _row("ram", "epsilon-zero", _of(_ram), epsilon=0.0),
    _row("ramplus_tl", "plain", _of(_ramplus)),
    _row("ramplus_tl", "epsilon", _of(_ramplus), epsilon=0.06, r=0.7, alpha=0.9),
    _row("ramplus_tl", "nothing-active", _of(_ramplus), epsilon=10.0),
    _row("consensus_ta", "plain", _of(_consensus)),
    _row(
        "consensus_ta",
        "thresholds",
        _of(_consensus),
        {"mask_threshold": (0.5, 0.25, 0.0, 1.5)},
        least_masks=3,
        **{"lambda": 0.3},
    ),
    _row("consensus_ta", "any", _of(_consensus), least_masks=1),
    _magmax_row("plain"),
    _magmax_row("lambda-one", **{"lambda": 1.0}),
    Row("arcee_fusion", "plain", _of(_arcee), counts=(2,)),
    _cabs_row("plain"),
    _cabs_row("one-of-16", NEGATIVE, n=1, m=16),
    _cabs_row("nearly-all", WITH_ZERO, n=1000, m=1024, **{"lambda": 0.5}),
)
