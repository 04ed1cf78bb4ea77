"""What config.json says of the number of layers, and which part of a model it is said of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from graphmerge.checkpoint.language_config import language_sections
from graphmerge.frozen_classes import frozen

if TYPE_CHECKING:
    from collections.abc import Mapping

ROLES = ("encoder", "decoder")
_COUNT_KEYS = (
    "num_hidden_layers",
    "n_layer",
    "n_layers",
    "num_layers",
    "num_encoder_layers",
    "encoder_layers",
    "num_decoder_layers",
    "decoder_layers",
    "depth",
)


@frozen
class LayerCount:
    """A number of layers that config.json states."""

    key: str
    """Path in config.json: `text_config.num_hidden_layers`."""
    value: int
    """Number of layers."""
    predictors: int
    """Layers that follow the counted ones and predict further tokens, as in DeepSeek-V3."""

    @property
    def role(self) -> str:
        """`encoder` or `decoder` by the nearest such word of the path; else empty."""
        return role_of(self.key)

    def fits(self, length: int) -> bool:
        """Whether a block list of this length can be the one that is counted."""
        return length in {self.value, self.value + self.predictors}


def layer_counts(config: Mapping[str, Any], *, towers: bool = False) -> list[LayerCount]:
    """Every count of layers in config.json, outer sections first: of towers, or of all else."""
    return [
        LayerCount(path + key, value, _whole(section.get("num_nextn_predict_layers")))
        for path, section in language_sections(config, towers=towers)
        for key in _COUNT_KEYS
        if (value := _whole(section.get(key))) > 0
    ]


def role_of(path: str) -> str:
    """The last of `encoder` and `decoder` in a path; empty if it has neither."""
    positions = {path.rfind(role): role for role in ROLES}
    return positions[max(positions)] if max(positions) >= 0 else ""


def _whole(value: Any) -> int:
    return value if type(value) is int else 0
