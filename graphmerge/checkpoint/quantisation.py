"""Recognise checkpoints whose tensors are codes of numbers, with scales beside them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import frozen

from graphmerge.errors import Problem

if TYPE_CHECKING:
    from graphmerge.checkpoint.values import Checkpoint

_PARTS = {
    ".qweight": "GPTQ or AWQ",
    ".qzeros": "GPTQ or AWQ",
    ".weight.absmax": "bitsandbytes 4-bit",
    ".weight.quant_map": "bitsandbytes 4-bit",
    ".SCB": "bitsandbytes 8-bit",
    ".weight_scale_inv": "block-scaled FP8",
    ".weight_scale": "scaled FP8 or INT8",
    ".weight_packed": "packed integers of compressed-tensors",
    "_blocks": "MXFP4",
}
"""What the end of a tensor's name says; `_blocks` only with `_scales` beside it."""
_WAYS_OUT = {
    "block-scaled FP8": "use the bfloat16 version of the model, or convert it with the script that "
    "its publisher provides (DeepSeek: fp8_cast_bf16.py)",
    "MXFP4": "AutoModelForCausalLM.from_pretrained(PATH, quantization_config=Mxfp4Config("
    "dequantize=True)).save_pretrained(NEW)",
}
_WAY_OUT = (
    "use the version that is not quantised; or model = AutoModelForCausalLM.from_pretrained(PATH); "
    "model.dequantize().save_pretrained(NEW)"
)


@frozen
class Quantisation:
    """How a checkpoint is quantised."""

    kind: str
    """Name of the format: what config.json says, or what the tensors' names say."""
    example: str
    """A tensor that shows it."""
    way_out: str
    """How to get a model of plain numbers."""

    def problem(self, where: str) -> Problem:
        """The refusal of such a model."""
        what = "the model is quantised; its codes and scales cannot be merged as they are"
        return Problem(what, where, f"{self.kind} (tensor {self.example})", hint=self.way_out)


def find_quantisation(checkpoint: Checkpoint) -> Quantisation | None:
    """How a checkpoint is quantised; None where its tensors are plain numbers.

    The tensors decide: a config.json may name a method by which a plain model is to be loaded.
    """
    names = checkpoint.tensors.keys()
    for name in checkpoint.names.matching(lambda name: name.endswith(tuple(_PARTS))):
        end = next(end for end in _PARTS if name.endswith(end))
        if end == "_blocks" and f"{name[: -len(end)]}_scales" not in names:
            continue
        kind = _PARTS[end]
        way_out = _WAYS_OUT.get(kind, _WAY_OUT)
        return Quantisation(_method(checkpoint) or kind, name, way_out)
    return None


def _method(checkpoint: Checkpoint) -> str:
    """What config.json calls the method, if it says so."""
    section = checkpoint.config.get("quantization_config")
    method = section.get("quant_method") if isinstance(section, dict) else None
    return method if isinstance(method, str) else ""
