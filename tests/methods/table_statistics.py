"""The rows of methods with statistics of data, which are checkpoints beside the models."""

import data_statistics
import numpy as np
import reference_statistics as reference
from rows import Row

WEIGHTS = (0.5, 2.0, 0.0, 1.0, 0.75)


def _fishers(given, name):
    shape = given.models[0][name].shape
    return [data_statistics.fisher(label, name, shape).double().numpy() for label in given.labels]


def _norms(given):
    names = given.models[0]
    squares = [[np.sum(f**2) for f in _fishers(given, name)] for name in names]
    return np.sqrt(np.sum(squares, axis=0))


def _fisher(given):
    weights = given.values("weight", 1.0)
    norms = [1.0] * len(weights)
    if given.own.get("normalize", True):
        norms = given.once("norms", lambda: _norms(given))
    floor = given.own.get("floor", 1e-6)
    return reference.fisher(given.tensors, _fishers(given, given.name), weights, norms, floor)


def _regmean(given):
    weights, shape = given.values("weight", 1.0), given.tensors[0].shape
    grams = [data_statistics.gram(label, given.name, shape) for label in given.labels]
    if grams[0] is None:
        return reference.mean(given.tensors, weights)
    alpha, ridge = given.own.get("alpha", 0.9), given.own.get("ridge", 1e-8)
    wide = [gram.double().numpy() for gram in grams]
    return reference.regmean(given.tensors, wide, weights, alpha, ridge)


def _row(method, formula, kind, settings, weights=None, tolerance=1e-13, **own):
    per_model = {"weight": weights} if weights else {}
    more = {"statistics": kind, "tolerance": tolerance, "needs_base": False}
    return Row(method, settings, formula, own, per_model, **more)


def _fisher_row(settings, weights=None, **own):
    return _row("fisher", _fisher, data_statistics.FISHERS, settings, weights, **own)


def _regmean_row(settings, weights=None, tolerance=1e-10, **own):
    return _row("regmean", _regmean, data_statistics.GRAMS, settings, weights, tolerance, **own)


ROWS = (
    _fisher_row("plain"),
    _fisher_row("not-normalized", WEIGHTS, normalize=False, floor=0.001),
    _regmean_row("plain"),
    _regmean_row("full", WEIGHTS, alpha=1.0, ridge=1e-4, tolerance=1e-9),
)
