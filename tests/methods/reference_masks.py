"""Methods that choose entries by masks, as their formulas say: whole tensors, float64, numpy."""

import numpy as np

from graphmerge.kernels.random_drop import drawn_bytes, second_draws
from graphmerge.ops.masks import mask_parameters


def breadcrumbs(delta, density, gamma):
    """Upwards by magnitude: skip max(0, N - kept - top) entries, keep the next int(density * N)."""
    count = delta.size
    kept, top = int(density * count), int(gamma * count)
    bottom = max(0, count - kept - top)
    downwards = np.argsort(-np.abs(delta), axis=None, kind="stable")
    upwards = downwards[::-1]
    mask = np.zeros(count, dtype=bool)
    mask[upwards[bottom : bottom + kept]] = True
    return delta * mask.reshape(delta.shape)


def active(deltas, epsilon, arithmetic):
    """Where each task vector has changed an entry."""
    return np.stack([np.abs(delta) > arithmetic(epsilon) for delta in deltas])


def ram(deltas, epsilon, arithmetic, *, r=0.0, alpha=0.0):
    """The mean of the active entries; lone ones times 1 + r * clip(shared / unique, 0, alpha)."""
    deltas = np.stack(deltas)
    mask = active(deltas, epsilon, arithmetic)
    count = mask.sum(axis=0)
    factors = []
    for own in mask:
        shared, unique = np.sum(own & (count > 1)), np.sum(own & (count == 1))
        factors.append(1 + r * min(shared / unique, alpha) if unique else 1.0)
    total = (deltas * mask).sum(axis=0)
    alone = sum(
        factor * delta * own for factor, delta, own in zip(factors, deltas, mask, strict=True)
    )
    return np.where(count > 1, total / np.maximum(count, 1), alone)


def consensus(deltas, thresholds, least_masks, arithmetic):
    """The sum of all, where |d_i| > l_i |sum - d_i| for at least so many."""
    rounded = [delta.astype(arithmetic) for delta in deltas]
    total = sum(rounded[1:], rounded[0])
    masks = sum(
        np.abs(delta) > np.abs(total - delta) * arithmetic(threshold)
        for delta, threshold in zip(rounded, thresholds, strict=True)
    )
    return np.where(masks >= least_masks, sum(deltas), 0.0)


def magmax(deltas):
    """Of each entry the largest magnitude, the positive one of opposites."""
    deltas = np.stack(deltas)
    size = np.abs(deltas).max(axis=0)
    return np.where((deltas == size).any(axis=0), size, -size)


def top_share(values, share):
    """Where the int(share * nonzero) largest values are; ties from the lowest flat index."""
    keep = int(share * np.count_nonzero(values))
    mask = np.zeros(values.size, dtype=bool)
    mask[np.argsort(-values, axis=None, kind="stable")[:keep]] = True
    return mask.reshape(values.shape)


def varied(deltas, arithmetic):
    """The variance of each entry over models, as far as it decides a rank: in the arithmetic."""
    first, *others = (delta.astype(arithmetic) for delta in deltas)
    shifted = [np.zeros_like(first), *(x - first for x in others)]
    mean = sum(shifted[1:], shifted[0]) / arithmetic(len(deltas))
    return sum(((x - mean) * (x - mean) for x in shifted), np.zeros_like(first))


def sce(deltas, share, arithmetic):
    """Select, calculate, erase."""
    mask = top_share(varied(deltas, arithmetic), share) if share < 1 else True
    deltas = [delta * mask for delta in deltas]
    energies = [np.sum(delta * delta) for delta in deltas]
    total = sum(energies)
    weights = [energy / total if total else 0.0 for energy in energies]
    sign = np.where(sum(deltas) >= 0, 1.0, -1.0)
    pairs = list(zip(weights, deltas, strict=True))
    kept = sum(weight * delta * (delta * sign > 0) for weight, delta in pairs)
    return kept / np.maximum(sum(weight * (delta * sign > 0) for weight, delta in pairs), 1e-6)


def prune(delta, n, m):
    """The n largest magnitudes of every m entries; ties from the lowest flat index."""
    flat = delta.reshape(-1)
    kept = np.zeros_like(flat)
    for start in range(0, flat.size, m):
        group = flat[start : start + m]
        order = np.argsort(-np.abs(group), kind="stable")[:n] + start
        kept[order] = flat[order]
    return kept.reshape(delta.shape)


def cabs(deltas, weights, n, m):
    """Prune one after the other, without what is taken already."""
    taken = np.zeros(deltas[0].shape, dtype=bool)
    total = np.zeros(deltas[0].shape)
    for delta, weight in zip(deltas, weights, strict=True):
        kept = prune(np.where(taken, 0.0, delta), n, m)
        taken = taken | (kept != 0)
        total = total + weight * kept
    return total


def probabilities(delta, density, epsilon):
    """How likely each entry is kept, by its rank in its row; ties by index."""
    if not delta.size:
        return np.zeros(delta.shape)
    rows = delta.reshape(-1, delta.shape[-1] if delta.ndim else 1)
    order = np.argsort(np.abs(rows), axis=1, kind="stable")
    count = rows.shape[1]
    ranks = np.empty(rows.shape)
    np.put_along_axis(ranks, order, np.broadcast_to(np.arange(count), rows.shape), axis=1)
    share = ranks / (count - 1) if count > 1 else np.full(rows.shape, 0.5)
    return (density - epsilon + 2 * epsilon * share).reshape(delta.shape)


def draws(key, shape):
    """Uniform numbers from the two streams of a mask: a byte, and 64 bits behind it."""
    parameters, count = mask_parameters(key, 0.0), int(np.prod(shape))
    first = drawn_bytes(parameters.seed, 0, count)
    second = second_draws(parameters.second_seed, np.arange(count), 0)
    return (first / 256 + second / 2.0**72).reshape(shape)


def arcee(base, other, delta, arithmetic):
    """The changes whose importance reaches a threshold; a row's divergence is rounded once."""
    rows = (-1, base.shape[-1] if base.ndim else 1)
    softmax = []
    for x in (other.reshape(rows), base.reshape(rows)):
        powers = np.exp(x - x.max(axis=1, keepdims=True))
        softmax.append(powers / powers.sum(axis=1, keepdims=True) + 1e-8)
    p, q = softmax
    divergence = np.maximum((p * np.log(p / q)).sum(axis=1, keepdims=True), 0)
    size = np.abs(delta.reshape(rows).astype(arithmetic)) * divergence.astype(arithmetic)
    ranked = np.sort(size, axis=None)
    median, upper, lower = (ranked[int(q * (ranked.size - 1))] for q in (0.5, 0.75, 0.25))
    threshold = median + arithmetic(1.5) * (upper - lower)
    return np.where(size >= threshold, delta.reshape(rows), 0.0).reshape(delta.shape)
