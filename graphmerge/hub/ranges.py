"""Fetch the header of a safetensors file, and nothing of its data."""

from __future__ import annotations

import httpx
from huggingface_hub.utils import build_hf_headers, get_session, hf_raise_for_status

from graphmerge.checkpoint.header import LENGTH_BYTES, MAX_HEADER_BYTES
from graphmerge.hub.patience import persistently

_FIRST_BYTES = 64 * 1024
"""Asked for first: most headers are shorter."""
_CHUNK_BYTES = 64 * 1024


def fetch_header(url: str, file_bytes: int) -> bytes:
    """The length and the header that a file begins with, as far as there are any.

    Raises:
        httpx.TransportError: the connection broke, several times.
        HfHubHTTPError: the Hub refuses.
    """
    first = _range(url, 0, min(_FIRST_BYTES, file_bytes))
    length = int.from_bytes(first[:LENGTH_BYTES], "little")
    end = min(LENGTH_BYTES + length, file_bytes)
    if end <= len(first) or length > MAX_HEADER_BYTES:
        return first[:end]
    return first + _range(url, len(first), end)


def _range(url: str, begin: int, end: int) -> bytes:
    """The bytes from `begin` to `end` of a file."""
    if begin >= end:
        return b""
    return persistently(lambda: _range_once(url, begin, end), despite=httpx.TransportError)


def _range_once(url: str, begin: int, end: int) -> bytes:
    wanted = {"Range": f"bytes={begin}-{end - 1}", "Accept-Encoding": "identity"}
    headers = {**build_hf_headers(), **wanted}
    data = bytearray()
    with get_session().stream("GET", url, headers=headers) as response:
        hf_raise_for_status(response)
        skipped = 0 if response.status_code == httpx.codes.PARTIAL_CONTENT else begin
        for chunk in response.iter_bytes(_CHUNK_BYTES):
            data += chunk
            if len(data) >= skipped + end - begin:
                break  # a server that knows no ranges would go on
    return bytes(data[skipped : skipped + end - begin])
