"""Methods on the sphere and their kin, as their formulas say: whole tensors, float64."""

import numpy as np

TOLD = 1e-7
"""Shorter combinations of unit vectors are zero to the product, which has inner products only."""


def norm(x):
    return float(np.sqrt(np.sum(x * x)))


def dot(x, y):
    return float(np.sum(x * y))


def weighted(weights, tensors):
    return sum(weight * x for weight, x in zip(weights, tensors, strict=True))


def sums(x, axis):
    """Along an axis, kept with length 1; of the whole tensor where it has no other axis."""
    return np.sum(x, axis=axis if x.ndim > 1 and x.size else None, keepdims=True)


def norms(x, axis=None):
    return np.sqrt(sums(x * x, axis))


def arc(first, second, t, axis=None):
    """The point at t on the great circle, of vectors of any length."""
    lengths = [np.maximum(norms(x, axis), 1e-7) for x in (first, second)]
    cosine = np.clip(sums(first * second, axis) / (lengths[0] * lengths[1]), -1, 1)
    angle = np.arccos(cosine)
    is_line = np.abs(np.sin(angle)) <= TOLD
    sine = np.where(is_line, 1.0, np.sin(angle))
    one, two = (np.where(is_line, part, np.sin(part * angle) / sine) for part in (1 - t, t))
    return one * first + two * second


def nuslerp(first, second, weights, axis=None):
    total = sum(weights)
    return arc(first, second, weights[1] / total if abs(total) >= 1e-6 else 0.5, axis)


def multislerp(tensors, weights, *, normalize, eps):
    """With the tangent, which is zero but for rounding, as mergekit's documentation has it."""
    if len(tensors) == 1:
        return tensors[0]
    if normalize:
        weights = [weight / sum(weights) for weight in weights]
    lengths = [norm(x) for x in tensors]
    units = [x / (length + eps) if length else x for x, length in zip(tensors, lengths)]  # noqa: B905
    mean = weighted(weights, units)
    if norm(mean) < max(eps, TOLD):
        return weighted(weights, tensors)
    mean = mean / norm(mean)
    tangent = weighted(weights, [unit - dot(unit, mean) * mean for unit in units])
    far = norm(tangent) + eps
    moved = mean * np.cos(far) + (tangent * (np.sin(far) / far) if far else 0)
    return moved * weighted(weights, lengths)


def karcher(tensors, *, max_iter, tol):
    lengths = [norm(x) for x in tensors]
    units = [x / length for x, length in zip(tensors, lengths, strict=True) if length > tol]
    if not units:
        return np.zeros_like(tensors[0])
    mean = sum(units) / len(units)
    mean = units[0] if norm(mean) < max(tol, TOLD) else mean / norm(mean)
    for _ in range(max_iter):
        step = sum(logarithm(mean, unit) for unit in units) / len(units)
        if norm(step) < tol:
            break
        mean = np.cos(norm(step)) * mean + np.sin(norm(step)) * step / norm(step)
    return mean * (sum(lengths) / len(lengths))


def logarithm(mean, unit):
    """The way from the mean to a unit vector, as long as the angle between them."""
    cosine = float(np.clip(dot(mean, unit), -1, 1))
    angle = np.arccos(cosine)
    if np.sin(angle) <= TOLD:
        return (unit - cosine * mean) * (cosine > 0)
    return angle / np.sin(angle) * (unit - cosine * mean)


def stock(deltas, axis=None):
    """t mean(d), by the mean cosine of all pairs."""
    count = len(deltas)
    lengths = [np.maximum(norms(delta, axis), 1e-6) for delta in deltas]
    cosines = [
        sums(deltas[i] * deltas[j], axis) / (lengths[i] * lengths[j])
        for i in range(count)
        for j in range(i)
    ]
    cosine = sum(cosines) / len(cosines)
    divisor = 1 + (count - 1) * cosine
    t = np.where(divisor >= 1e-6, count * cosine / np.where(divisor >= 1e-6, divisor, 1.0), 0.0)
    return t * sum(deltas) / count


def nearswap(base, other, t):
    share = np.clip(t / np.maximum(np.abs(base - other), 1e-6), 0, 1)
    return share * other + (1 - share) * base


def geometric_median(tensors, *, max_iter, tol, eps):
    median = sum(tensors) / len(tensors)
    distances = [norm(x - median) for x in tensors]
    for _ in range(max_iter):
        closeness = [1 / max(distance, eps) for distance in distances]
        median = weighted(closeness, tensors) / sum(closeness)
        before, distances = sum(distances), [norm(x - median) for x in tensors]
        if not before - sum(distances) > tol * before:
            break
    return median


def train_difference(base, first, second, alpha):
    far, near = np.abs(second - first), np.abs(second - base)
    share = np.divide(far, far + near, out=np.zeros_like(far), where=far + near > 0)
    return first + (second - base) * 1.8 * alpha * share


def add_perpendicular(base, first, second, alpha):
    one, two = first - base, second - base
    along = one * (dot(one, two) / dot(one, one)) if norm(one) else 0 * one
    return first + alpha * (two - along)


def ema(tensors, decay):
    average = tensors[0]
    for x in tensors[1:]:
        average = decay * average + (1 - decay) * x
    return average


def wsm(tensors, shape):
    """Steps of a run, each counted by what the rate would have been."""
    rates = {
        "linear": lambda x: 1 - x,
        "cosine": lambda x: 0.5 * (1 + np.cos(np.pi * x)),
        "1-sqrt": lambda x: 1 - np.sqrt(x),
    }
    result = tensors[0]
    for step in range(1, len(tensors)):
        rate = rates[shape](step / len(tensors))
        result = result + rate * (tensors[step] - tensors[step - 1])
    return result
