"""The rows of methods on matrices of task vectors."""

import reference_matrix
from rows import Row

DEFAULTS = {"eta": 0.4, "common": 0.8, "ridge": 1e-8, "rank": 0.04}
WEIGHTS = (0.5, 2.0, 1.0, 0.75)


def _rule(method, names):
    function = getattr(reference_matrix, method)

    def merged(given):
        arguments = [given.own.get(name, DEFAULTS.get(name, 1.0)) for name in names]
        if method == "actmat":
            arguments = [given.values("weight", 1.0)]
        return function(given.deltas, *arguments)

    return merged


def _added(method, names):
    """B + lambda f(task vectors) for a matrix, with their mean for any other tensor."""
    merge = _rule(method, names)

    def of(given):
        exclude = given.own.get("exclude", "embed, lm_head, wte, wpe")
        scale = given.own.get("lambda", 1.0)
        if not reference_matrix.is_matrix(given.tensors[0], given.name, exclude):
            mean = sum(given.deltas) / len(given.deltas)
            return given.tensors[0] + (1.0 if method == "cart" else scale) * mean
        return given.tensors[0] + (1.0 if method == "cart" else scale) * merge(given)

    return of


def _row(method, settings, names=(), per_model=None, tolerance=1e-9, **own):
    counts = (2, 5) if settings == "plain" else (4,)
    formula = _added(method, names)
    return Row(method, settings, formula, own, per_model or {}, counts=counts, tolerance=tolerance)


ROWS = (
    _row("star", "plain", ("eta",)),
    _row("star", "all", ("eta",), eta=1.0, **{"lambda": 0.5}),
    _row("star", "core", ("eta",), eta=0.75, space="core"),
    _row("tsv_m", "plain"),
    _row("iso_c", "plain"),
    _row("iso_c", "scaled-excluded", exclude="few", **{"lambda": 0.75}),
    _row("iso_cts", "plain", ("common",)),
    _row("iso_cts", "half", ("common",), common=0.5),
    _row("wudi", "plain", ("ridge",), tolerance=1e-7),
    _row("wudi", "ridge", ("ridge",), ridge=0.01),
    _row("actmat", "plain"),
    _row("actmat", "weights", per_model={"weight": WEIGHTS}),
    _row("cart", "plain", ("rank", "lambda")),
    _row("cart", "half", ("rank", "lambda"), rank=0.5, **{"lambda": 0.25}),
)
