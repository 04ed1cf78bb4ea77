"""Merges of two sets of tensors in float64, by the formulas."""

import torch


def linear(base, tuned):
    return 0.75 * base + 0.25 * tuned


def slerp(base, tuned):
    t, lengths = 0.4, (base.norm(), tuned.norm())
    cosine = (base * tuned).sum() / (lengths[0] * lengths[1])
    if not cosine.abs() <= 0.9995:  # NaN where a tensor is zero
        return (1 - t) * base + t * tuned
    angle = torch.arccos(cosine)
    parts = torch.sin((1 - t) * angle) * base + torch.sin(t * angle) * tuned
    return parts / torch.sin(angle)


def ties(base, tuned):
    """One task vector: its larger half, in full."""
    delta = (tuned.float() - base.float()).double()
    count = max(1, int(0.5 * delta.numel()))
    kept = delta.abs().flatten().sort(descending=True, stable=True).indices[:count]
    trimmed = torch.zeros_like(delta).flatten()
    trimmed[kept] = delta.flatten()[kept]
    return base + trimmed.reshape(delta.shape)


RECIPES = {
    linear: {
        "models": [
            {"model": "base", "parameters": {"weight": 0.75}},
            {"model": "tuned", "parameters": {"weight": 0.25}},
        ]
    },
    slerp: {"base_model": "base", "models": [{"model": "tuned"}], "parameters": {"t": 0.4}},
    ties: {
        "base_model": "base",
        "models": [{"model": "tuned", "parameters": {"weight": 1, "density": 0.5}}],
    },
}
"""The recipe of each merge, for folders `base` and `tuned` beside it."""


def recipe_of(method):
    return {"merge_method": method.__name__, **RECIPES[method]}


def merged_in_memory(method, base, tuned):
    """Every tensor of the merge, in float64; integers as they are in both."""
    return {
        name: method(tensor.double(), tuned[name].double())
        if tensor.is_floating_point()
        else tensor
        for name, tensor in base.items()
    }


def largest_difference(found, wanted):
    """Largest distance of an element from the wanted one; names and shapes must be the same."""
    assert found.keys() == wanted.keys()
    assert all(found[name].shape == wanted[name].shape for name in wanted)
    differences = [
        (found[name].double() - wanted[name].double()).abs().max().item()
        for name in wanted
        if wanted[name].numel()
    ]
    return max(differences)
