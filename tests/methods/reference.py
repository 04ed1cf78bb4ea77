"""Every method as its formula says: whole tensors, float64, numpy, nothing clever.

Signs and ranks of task vectors are decided in the dtype of the arithmetic, so that task vectors are
rounded to it once; everything after is float64.
"""

import numpy as np


def linear(tensors, weights, *, normalize=True):
    total = sum(weight * tensor for weight, tensor in zip(weights, tensors, strict=True))
    return total / sum(weights) if normalize else total


def slerp(base, other, t):
    norms = [np.sqrt(np.sum(x * x)) for x in (base, other)]
    units = [x / norm if norm > 1e-8 else x for x, norm in zip((base, other), norms, strict=True)]
    cosine = float(np.sum(units[0] * units[1]))
    if abs(cosine) > 0.9995:
        return (1 - t) * base + t * other
    angle = np.arccos(cosine)
    return (np.sin((1 - t) * angle) * base + np.sin(t * angle) * other) / np.sin(angle)


def task_vectors(base, tuned, arithmetic):
    """T - B, rounded to the dtype of the arithmetic."""
    return [(model - base).astype(arithmetic).astype(np.float64) for model in tuned]


def task_arithmetic(base, deltas, weights, *, normalize=False, scale=1.0):
    total = sum(weight * delta for weight, delta in zip(weights, deltas, strict=True))
    divisor = sum(weights) if normalize else 1.0
    return base + scale * total / (divisor if abs(divisor) >= 1e-8 else 1.0)


def trim(delta, density):
    """The max(1, int(density * N)) largest magnitudes; of equal ones those of lowest flat index."""
    if density == 0 or delta.size == 0:
        return np.zeros_like(delta)
    keep = max(1, int(density * delta.size))
    order = np.argsort(-np.abs(delta), axis=None, kind="stable")
    mask = np.zeros(delta.size, dtype=bool)
    mask[order[:keep]] = True
    return delta * mask.reshape(delta.shape)


def rescaled(dense, sparse):
    """`sparse` with the L1 norm of `dense`, if it has any."""
    norm = np.sum(np.abs(sparse))
    return sparse * (np.sum(np.abs(dense)) / norm) if norm else sparse


def elect(base, deltas, weights, *, normalize, scale=1.0):
    """Sign consensus: the weighted entries of the elected sign, over the sum of their weights."""
    parts = [weight * delta for weight, delta in zip(weights, deltas, strict=True)]
    sign = np.where(sum(parts) >= 0, 1.0, -1.0)
    kept = [np.where(part * sign > 0, part, 0.0) for part in parts]
    total = sum(kept)
    if normalize:
        divisor = sum(
            np.where(part != 0, weight, 0.0) for weight, part in zip(weights, kept, strict=True)
        )
        total = total / np.where(divisor == 0, 1.0, divisor)
    return base + scale * total


def undecided(deltas, weights):
    """Where a vote is so close to a draw (but none) that rounding in float32 may turn it."""
    parts = [weight * delta for weight, delta in zip(weights, deltas, strict=True)]
    vote = np.abs(sum(parts))
    return (vote > 0) & (vote <= 1e-6 * sum(np.abs(part) for part in parts))
