"""Models of the Hugging Face Hub: planned from a few kilobytes, downloaded when they are merged.

All traffic is that of a process of its own, `python -m graphmerge.hub`, which alone imports
huggingface_hub: its memory, and that of downloads, is no part of a merge's budget.
"""

from graphmerge.hub.client import download, open_repository, push, told_as
from graphmerge.hub.names import is_repository

__all__ = ["download", "is_repository", "open_repository", "push", "told_as"]
