"""Methods with statistics of whole models, as the papers' formulas say: float64, numpy.

Task vectors are lists over models of dicts over tensor names, rounded to the dtype of the
arithmetic.
"""

import numpy as np
import reference


def flat(delta):
    """A whole task vector as one vector."""
    return np.concatenate([x.ravel() for x in delta.values()])


def trim(deltas, densities):
    """TIES-Merging, section 4: the k largest magnitudes of each whole task vector, ties kept."""
    trimmed = []
    for delta, density in zip(deltas, densities, strict=True):
        magnitudes = np.sort(np.abs(flat(delta)))[::-1]
        keep = max(1, int(density * magnitudes.size))
        least = magnitudes[keep - 1] if density else np.inf
        trimmed.append({name: np.where(np.abs(x) >= least, x, 0.0) for name, x in delta.items()})
    return trimmed


def restored(deltas, trimmed):
    """Trimmed task vectors with the L1 norm of the whole ones."""
    found = []
    for delta, kept in zip(deltas, trimmed, strict=True):
        factor = np.abs(flat(delta)).sum() / np.abs(flat(kept)).sum()
        found.append({name: x * factor for name, x in kept.items()})
    return found


def majority(sparse, weights):
    """The sign of the sum of all votes; zero counts as +."""
    names = sparse[0]
    votes = [sum(w * d[name] for w, d in zip(weights, sparse, strict=True)) for name in names]
    return 1.0 if sum(np.sign(vote).sum() for vote in votes) >= 0 else -1.0


def elect(base, parts, weights, sign_of_draws, *, normalize, scale):
    """TIES-Merging, section 4: elect and disjoint mean of one tensor."""
    parts = [weight * part for weight, part in zip(weights, parts, strict=True)]
    vote = sum(parts)
    sign = np.where(vote == 0, sign_of_draws, np.sign(vote))
    total, divisor = np.zeros_like(base), np.zeros_like(base)
    for weight, part in zip(weights, parts, strict=True):
        agrees = part * sign > 0
        total += np.where(agrees, part, 0.0)
        divisor += np.where(agrees, weight, 0.0)
    if normalize:
        total = total / np.where(divisor == 0, 1.0, divisor)
    return base + scale * total


def metagpt(base, parts, squares, scale):
    """MetaGPT: lambda_i = |d_i|^2 / sum_j |d_j|^2, given the squared norms."""
    total = sum(square * part for square, part in zip(squares, parts, strict=True))
    return base + scale * total / (sum(squares) or 1.0)


def nan(base, parts, norms, scale):
    """c_i = (1 / norm_i) / sum_j (1 / norm_j), task vectors of zero left out."""
    inverse = [1 / norm if norm else 0.0 for norm in norms]
    total = sum(c * part for c, part in zip(inverse, parts, strict=True))
    return base + scale * total / (sum(inverse) or 1.0)


def stitch(base, kept, scale):
    """Localize-and-Stitch, section 3.2: masks averaged where they overlap."""
    count = sum((part != 0).astype(float) for part in kept)
    return base + scale * sum(kept) / np.maximum(count, 1)


def pcb_scores(deltas):
    """PCB-Merging, section 3.2: strength within a task, times agreement with all, not below 0."""
    total = {name: sum(delta[name] for delta in deltas) for name in deltas[0]}
    scores = []
    for delta in deltas:
        ordered = np.sort(np.abs(flat(delta)))
        clamped = int(1e-4 * ordered.size)
        low, high = ordered[clamped], ordered[-1 - clamped]
        scores.append({})
        for name, x in delta.items():
            strength = (np.clip(np.abs(x), low, high) - low) / ((high - low) or 1.0)
            agreement = np.maximum(np.tanh(x * total[name]), 0.0)
            scores[-1][name] = np.exp(len(deltas) * strength**2) * agreement
    return scores


def pcb_shares(deltas, ratio, arithmetic):
    """PCB-Merging, section 3.2: the scores above their threshold, mapped to 0 to 1."""
    shares = []
    for scores in pcb_scores(deltas):
        scores = {name: x.astype(arithmetic).astype(float) for name, x in scores.items()}
        ordered = np.sort(flat(scores))[::-1]
        least, most = ordered[max(1, int(ratio * ordered.size)) - 1], ordered[0]
        width = (most - least) or 1.0
        shares.append({name: np.maximum(x - least, 0) / width for name, x in scores.items()})
    return shares


def pcb(base, parts, shares, scale):
    """PCB-Merging, section 3.2: the mean of task vectors by their shares."""
    total = sum(share * part for share, part in zip(shares, parts, strict=True))
    return base + scale * total / np.maximum(sum(shares), 1e-12)


def unified(parts):
    """EMR-Merging, section 3.2: the elected sign, and the largest magnitude among those with it."""
    sign = np.where(sum(parts) > 0, 1.0, -1.0)
    return sign * np.max([np.maximum(part * sign, 0.0) for part in parts], axis=0)


def emr_factor(deltas, index):
    """EMR-Merging, section 3.2: the rescaler of a task, over the whole model."""
    dense = sparse = 0.0
    for name, part in deltas[index].items():
        dense += np.abs(part).sum()
        sparse += np.abs(masked([delta[name] for delta in deltas], index)).sum()
    return dense / sparse if sparse else 1.0


def masked(parts, index):
    """EMR-Merging, section 3.2: the unified task vector where a task agrees with it."""
    return np.where(parts[index] * unified(parts) > 0, unified(parts), 0.0)


def agreement_bits(parts):
    """EMR-Merging, section 3.2: bit i where task i has the sign of the unified task vector."""
    whole = unified(parts)
    return sum(2.0**i * (part * whole > 0) for i, part in enumerate(parts))


def lines_ratio(deltas):
    """LiNeS, section 4.3: what alpha is multiplied by where there are several tasks."""
    merged, *tuned = deltas
    if not tuned:
        return 1.0
    total = sum(np.abs(sum(delta[x] for delta in tuned)).sum() for x in merged)
    return total / (len(tuned) * np.abs(flat(merged)).sum())


def depth(name, names):
    """Where a tensor is among the layers: 0 in the first and outside of them, 1 in the last."""
    numbers = {x: int(x.split(".")[1]) for x in names if x.startswith("layers.")}
    last = max(numbers.values(), default=0)
    return numbers.get(name, 0) / last if last else 0.0


def whole_task_vectors(models, arithmetic):
    """Task vectors of all models but the first, the base."""
    base, *tuned = models
    return [
        {name: reference.task_vectors(base[name], [model[name]], arithmetic)[0] for name in base}
        for model in tuned
    ]
