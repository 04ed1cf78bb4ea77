"""The finished checkpoint: shards, journal, manifest, side files, and the rename to publish all."""

from graphmerge.output.card_parts import (
    CardPart,
    block,
    front_matter,
    licence_section,
    use_section,
)
from graphmerge.output.checksums import CHECKSUM_BLOCK_ELEMENTS, TensorChecksum
from graphmerge.output.contributions import contributions
from graphmerge.output.failures import resolved
from graphmerge.output.journal import Journal, JournalIdentity, unfinished_commits
from graphmerge.output.layout import Shard, ShardLayout, TensorSlot, layout_shards
from graphmerge.output.lock import lock_partial
from graphmerge.output.manifest import (
    Manifest,
    ManifestInput,
    ManifestTensor,
    manifest_input,
    manifest_tensors,
    read_manifest,
    write_manifest,
)
from graphmerge.output.model_card import Card, CardLayers, CardStep, model_card
from graphmerge.output.publish import (
    check_replaceable,
    prepare,
    publish,
    refuse_output_inside_inputs,
)
from graphmerge.output.rereading import intact_tensors
from graphmerge.output.side_files import (
    copy_side_files,
    has_dtype,
    output_config,
    write_config,
    write_text,
)
from graphmerge.output.sink import CheckpointSink
from graphmerge.output.verify import VerifyReport, verify
from graphmerge.output.whole_folder import whole_folder
from graphmerge.output.writer import ShardWriter

__all__ = [
    "CHECKSUM_BLOCK_ELEMENTS",
    "Card",
    "CardLayers",
    "CardPart",
    "CardStep",
    "CheckpointSink",
    "Journal",
    "JournalIdentity",
    "Manifest",
    "ManifestInput",
    "ManifestTensor",
    "Shard",
    "ShardLayout",
    "ShardWriter",
    "TensorChecksum",
    "TensorSlot",
    "VerifyReport",
    "block",
    "check_replaceable",
    "contributions",
    "copy_side_files",
    "front_matter",
    "has_dtype",
    "intact_tensors",
    "layout_shards",
    "licence_section",
    "lock_partial",
    "manifest_input",
    "manifest_tensors",
    "model_card",
    "output_config",
    "prepare",
    "publish",
    "read_manifest",
    "refuse_output_inside_inputs",
    "resolved",
    "unfinished_commits",
    "use_section",
    "verify",
    "whole_folder",
    "write_config",
    "write_manifest",
    "write_text",
]
