"""Upload a folder to the Hub."""

from __future__ import annotations

from typing import TYPE_CHECKING

from huggingface_hub import HfApi

from graphmerge.checkpoint.adapter_config import ADAPTER_CONFIG
from graphmerge.checkpoint.shards import INDEX_SUFFIX, SAFETENSORS
from graphmerge.errors import InputError, Problem

if TYPE_CHECKING:
    from graphmerge.hub.messages import Push

_REPLACED = [
    f"*{SAFETENSORS}",
    f"*{INDEX_SUFFIX}",
    "*pytorch_model*.bin",
    "*pytorch_model*.bin.index.json",
    "adapter_model.bin",
    ADAPTER_CONFIG,
]
"""Weights of an older model in the repository, which a loader would take for part of this one."""


def push(request: Push) -> str:
    """Upload a folder as one model, and the URL of its commit.

    Raises:
        InputError: the repository is public and must be private.
        Exception: whatever huggingface_hub raises.
    """
    api, repository = HfApi(), request.repository
    api.create_repo(repository, private=request.private or None, exist_ok=True)
    if request.private and not api.model_info(repository).private:
        what = "the repository is there already, and public"
        hint = f"make it private at {api.endpoint}/{repository}/settings, or push without --private"
        raise InputError(Problem(what, repository, hint=hint))
    if request.revision:
        api.create_branch(repository, branch=request.revision, exist_ok=True)
    commit = api.upload_folder(
        repo_id=repository,
        folder_path=request.folder,
        revision=request.revision,
        commit_message=request.message,
        delete_patterns=_REPLACED,
    )
    return str(commit.commit_url)
