"""Recognise checkpoints whose tensors are codes of numbers, with scales beside them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attrs import evolve, field

from graphmerge.checkpoint.language_config import language_values
from graphmerge.checkpoint.packed_weights import (
    BLOCKS_END,
    SCALES_END,
    PackedWeight,
    find_packed_weights,
)
from graphmerge.checkpoint.scaled_weights import (
    FLOAT8,
    ScaledWeight,
    UnknownScalingError,
    find_scaled_weights,
)
from graphmerge.errors import Problem
from graphmerge.frozen_classes import frozen

if TYPE_CHECKING:
    from collections.abc import Mapping

    from graphmerge.checkpoint.values import Checkpoint

_PACKED = "MXFP4"
_SCALED = ("block-scaled FP8", "scaled FP8 or INT8")
_PARTS = {
    ".qweight": "GPTQ or AWQ",
    ".qzeros": "GPTQ or AWQ",
    ".weight.absmax": "bitsandbytes 4-bit",
    ".weight.quant_map": "bitsandbytes 4-bit",
    ".SCB": "bitsandbytes 8-bit",
    "_scale_inv": _SCALED[0],
    ".weight_scale": _SCALED[1],
    ".weight_packed": "packed integers of compressed-tensors",
    ".weight_zero_point": "integers of compressed-tensors",
    "_scale": _SCALED[1],
    BLOCKS_END: _PACKED,
}
"""What the end of a tensor's name says; `_scale` only beside codes of 8-bit floats, `_blocks` only
with `_scales`."""
_WAYS_OUT = {
    _SCALED[0]: "use the bfloat16 version of the model, or convert it with the script that "
    "its publisher provides (DeepSeek: fp8_cast_bf16.py)",
    _PACKED: "AutoModelForCausalLM.from_pretrained(PATH, quantization_config=Mxfp4Config("
    "dequantize=True)).save_pretrained(NEW)",
}
_WAY_OUT = (
    "use the version that is not quantised; or model = AutoModelForCausalLM.from_pretrained(PATH); "
    "model.dequantize().save_pretrained(NEW)"
)
_DEQUANTISE = "dequantise it: run a recipe with `merge_method: passthrough` and this model alone"
_SECTIONS = ("quantization_config", "compression_config")
"""Where config.json says how a model is quantised; the second name is an older one."""


@frozen(eq=False)
class Quantisation:
    """How a checkpoint is quantised."""

    kind: str
    """Name of the format: what config.json says, or what the tensors' names say."""
    example: str
    """A tensor that shows it."""
    way_out: str
    """How to get a model of plain numbers."""
    why_refused: str = ""
    """Why its weights cannot be computed; empty if they can."""
    weights: Mapping[str, ScaledWeight | PackedWeight] = field(factory=dict)
    """What they are computed from, by name; empty for a model that is refused."""
    activation_scales: tuple[str, ...] = ()
    """Tensors that say nothing of weights."""

    @property
    def parts(self) -> frozenset[str]:
        """Tensors that are no weights by themselves."""
        weights = self.weights.values()
        found = {part.name for weight in weights for part in (weight.codes, weight.scales)}
        return frozenset((found | {*self.activation_scales}) - self.weights.keys())

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should know."""
        count = len(self.activation_scales)
        return (f"{count} scales of activations are left out",) if count else ()

    @property
    def is_refused(self) -> bool:
        """Whether nothing can be done with such a model."""
        return not self.weights

    def problem(self, where: str) -> Problem:
        """The refusal of such a model."""
        what = "the model is quantised; its codes and scales cannot be merged as they are"
        why = f": {self.why_refused}" if self.why_refused else ""
        return Problem(what, where, f"{self.kind} (tensor {self.example}){why}", hint=self.way_out)


def find_quantisation(checkpoint: Checkpoint) -> Quantisation | None:
    """How a checkpoint is quantised; None where its tensors are plain numbers.

    The tensors decide: a config.json may name a method by which a plain model is to be loaded.
    Only where there are numbers of 8 bits without scales does it say that these are codes.
    """
    names = checkpoint.names.matching(lambda name: name.endswith(tuple(_PARTS)))
    found = {name: kind for name in names if (kind := _kind(name, checkpoint))}
    settings = _settings(checkpoint)
    if settings and not found:
        found = _codes_alone(checkpoint)
    if not found:
        return None
    foreign = next((name for name, kind in found.items() if kind not in _SCALED), None)
    example = foreign or next(iter(found))
    method = settings.get("quant_method")
    kind = method if isinstance(method, str) and method else found[example]
    refused = Quantisation(kind, example, _WAYS_OUT.get(found[example], _WAY_OUT))
    is_packed = method == "mxfp4" and set(found.values()) == {_PACKED}
    if foreign and not is_packed:
        return refused
    try:
        return _computed(checkpoint, settings, refused, found, is_packed=is_packed)
    except UnknownScalingError as error:
        return evolve(refused, why_refused=str(error))


def _computed(
    checkpoint: Checkpoint,
    settings: Mapping[str, Any],
    refused: Quantisation,
    found: Mapping[str, str],
    *,
    is_packed: bool,
) -> Quantisation:
    """The quantisation with the weights that it stands for.

    Raises:
        UnknownScalingError: something of it is not understood.
    """
    if is_packed:
        packed = find_packed_weights(checkpoint.tensors)
        return evolve(refused, way_out=_DEQUANTISE, weights=packed)
    scaled = find_scaled_weights(checkpoint.tensors, settings)
    lone = found.keys() - {weight.scales.name for weight in scaled.weights.values()}
    if lone:
        raise UnknownScalingError(f"{min(lone)} belongs to no codes of 8-bit floats")
    scales = scaled.activation_scales
    return evolve(refused, way_out=_DEQUANTISE, weights=scaled.weights, activation_scales=scales)


def without_quantisation(config: Mapping[str, Any]) -> dict[str, Any]:
    """The config of the same model with plain numbers."""
    return {
        key: without_quantisation(value) if isinstance(value, dict) else value
        for key, value in config.items()
        if key not in _SECTIONS
    }


def _kind(name: str, checkpoint: Checkpoint) -> str:
    """What a tensor says of the format; empty if nothing."""
    end = next(end for end in _PARTS if name.endswith(end))
    tensors, stem = checkpoint.tensors, name[: -len(end)]
    if end == "_scale" and (stem not in tensors or tensors[stem].spec.dtype not in FLOAT8):
        return ""
    return "" if end == BLOCKS_END and stem + SCALES_END not in tensors else _PARTS[end]


def _codes_alone(checkpoint: Checkpoint) -> dict[str, str]:
    """The first tensor of codes, of a model without any scales; with what it says of the format."""
    tensors = checkpoint.tensors.values()
    first = next((entry.name for entry in tensors if entry.spec.dtype in FLOAT8), None)
    return {} if first is None else {first: _SCALED[0]}


def _settings(checkpoint: Checkpoint) -> Mapping[str, Any]:
    """What config.json says of the format, if it does."""
    found = (value for key in _SECTIONS for value in language_values(checkpoint.config, key, dict))
    return next(found, {})
