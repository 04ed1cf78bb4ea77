"""Methods on matrices as their formulas say: full singular value decompositions, float64, numpy."""

import numpy as np

ZERO = 1e-6
"""Singular values below this share of the largest count as zero."""
PARALLEL = 1e-4
"""Directions nearer than this are one when they are made orthogonal."""


def svd(x):
    """U, S, V with columns as vectors; directions without strength are zero columns."""
    u, s, vt = np.linalg.svd(x, full_matrices=False)
    has = s > ZERO * s[:1].max(initial=0)
    return u * has, s * has, vt.T * has


def star(deltas, eta):
    parts = []
    for x in deltas:
        u, s, v = svd(x)
        rank = int(np.searchsorted(np.cumsum(s), eta * s.sum())) + 1
        kept = (u[:, :rank] * s[:rank]) @ v[:, :rank].T
        parts.append(kept * (s.sum() / s[:rank].sum()) if s.any() else kept)
    return sum(parts) / len(parts)


def orthogonal(x):
    """The nearest orthogonal matrix, over the directions that there are."""
    u, s, vt = np.linalg.svd(x, full_matrices=False)
    has = s > PARALLEL * s.max(initial=0)
    return (u * has) @ vt


def tsv_m(deltas):
    rank = max(1, min(deltas[0].shape) // len(deltas))
    parts = [svd(x) for x in deltas]
    u, s, v = (np.concatenate([part[i][..., :rank] for part in parts], axis=-1) for i in range(3))
    return orthogonal(u) * s @ orthogonal(v).T


def iso_c(deltas):
    u, s, v = svd(sum(deltas))
    return s.mean() * u @ v.T


def iso_cts(deltas, share):
    count, rank = len(deltas), min(deltas[0].shape)
    each = min(round((rank - int(share * rank)) / count), rank // count)
    common = rank - count * each
    parts = [tuple(part[..., :common] for part in svd(sum(deltas)))]
    outside = np.eye(len(deltas[0])) - parts[0][0] @ parts[0][0].T
    parts += [tuple(part[..., :each] for part in svd(outside @ x)) for x in deltas]
    u, s, v = (np.concatenate([part[i] for part in parts], axis=-1) for i in range(3))
    return s.mean() * orthogonal(u) @ orthogonal(v).T


def wudi(deltas, ridge):
    norms = [np.sum(x * x) for x in deltas]
    factors = [1 / norm if norm else 0.0 for norm in norms]
    grams = [factor * x.T @ x for factor, x in zip(factors, deltas, strict=True)]
    right = sum(x @ gram for x, gram in zip(deltas, grams, strict=True))
    return np.linalg.solve(sum(grams) + ridge * np.eye(right.shape[1]), right.T).T


def actmat(deltas, weights):
    grams = [weight * x.T @ x for weight, x in zip(weights, deltas, strict=True)]
    right = sum(x @ gram for x, gram in zip(deltas, grams, strict=True))
    return right @ np.linalg.pinv(sum(grams), rcond=ZERO**2, hermitian=True)


def cart(deltas, share, scale):
    mean = sum(deltas) / len(deltas)
    rank = int(share * min(mean.shape)) or int(share > 0)
    result = mean
    for x in deltas:
        u, s, v = svd(x - mean)
        result = result + scale * (u[:, :rank] * s[:rank]) @ v[:, :rank].T
    return result


def is_matrix(x, name, exclude="embed, lm_head, wte, wpe"):
    return x.ndim == 2 and x.size and not any(part.strip() in name for part in exclude.split(","))
