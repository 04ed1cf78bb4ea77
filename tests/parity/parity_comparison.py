"""Compare two checkpoints tensor by tensor."""

import json

import torch

F32_TOLERANCE = 2e-6
"""Of the tensor's largest magnitude: a few roundings of float32."""
ULPS_OF_16_BITS = 2
"""Where cancellation leaves less than a float32 rounding of the tensor, that is the tolerance."""


def differences(ours, theirs):
    """What differs between two checkpoints, one line per tensor; none if they agree."""
    missing = [f"{name}: only mergekit has it" for name in theirs.keys() - ours.keys()]
    added = [f"{name}: only graphmerge has it" for name in ours.keys() - theirs.keys()]
    lines = [difference(ours[name], theirs[name]) for name in ours.keys() & theirs.keys()]
    shared = zip(ours.keys() & theirs.keys(), lines, strict=True)
    return sorted(missing + added + [f"{name}: {line}" for name, line in shared if line])


def difference(ours, theirs):
    """What differs between two tensors; false if they agree up to rounding."""
    if ours.shape != theirs.shape:
        return f"shape {list(ours.shape)}, mergekit {list(theirs.shape)}"
    if ours.dtype != theirs.dtype:
        return f"{ours.dtype}, mergekit {theirs.dtype}"
    if not ours.dtype.is_floating_point:
        return "" if torch.equal(ours, theirs) else "values differ"
    error = (ours.double() - theirs.double()).abs() / allowed_error(theirs)
    outside = (~(error <= 1)).sum().item()
    worst = error.argmax()
    return outside and (
        f"{outside} of {ours.numel()} values differ, the most "
        f"{ours.flatten()[worst]:.9g} from {theirs.flatten()[worst]:.9g}"
    )


def allowed_error(tensor):
    """Largest allowed difference from each element."""
    largest = tensor.double().abs().max() * F32_TOLERANCE
    if tensor.dtype in (torch.float32, torch.float64):
        return largest.clamp(min=torch.finfo(tensor.dtype).tiny)
    return torch.maximum(ULPS_OF_16_BITS * ulp(tensor.double(), tensor.dtype), largest)


def ulp(values, dtype):
    """Distance of neighbouring numbers of a dtype at each value."""
    limits = torch.finfo(dtype)
    exponent = values.abs().clamp(min=limits.smallest_normal).log2().floor()
    return limits.eps * exponent.exp2()


def read_config(folder):
    return json.loads((folder / "config.json").read_text())
