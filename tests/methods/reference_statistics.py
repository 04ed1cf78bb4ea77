"""Methods with statistics of data, as the papers' formulas say: float64, numpy."""

import numpy as np


def fisher(tensors, fishers, weights, norms, floor):
    """Fisher merging, section 3: sum_i c_i F_i T_i / sum_i c_i F_i, the F_i bounded from below."""
    shares = [
        w / norm * np.maximum(f, floor) for w, norm, f in zip(weights, norms, fishers, strict=True)
    ]
    return sum(share * x for share, x in zip(shares, tensors, strict=True)) / sum(shares)


def regmean(tensors, grams, weights, alpha, ridge):
    """RegMean, section 3: (sum_i w_i T_i G_i)(sum_i w_i G_i)^-1, by a general solver."""
    reduced = [alpha * g + (1 - alpha) * np.diag(np.diag(g)) for g in grams]
    mean = sum(w * np.trace(g) for w, g in zip(weights, grams, strict=True))
    columns = tensors[0].shape[1]
    added = ridge * mean / (sum(weights) * columns) if mean else 1.0
    damped = [w * (g + added * np.eye(columns)) for w, g in zip(weights, reduced, strict=True)]
    right = sum(x @ g for x, g in zip(tensors, damped, strict=True))
    return np.linalg.solve(sum(damped), right.T).T


def mean(tensors, weights):
    """The weighted mean."""
    return sum(w * x for w, x in zip(weights, tensors, strict=True)) / sum(weights)
