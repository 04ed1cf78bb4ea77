"""One checksum per tensor, the same for tiles of any size in any order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import xxhash

from graphmerge.output.buffers import byte_view

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from graphmerge.spec import TensorSpec

CHECKSUM_BLOCK_ELEMENTS = 65536
"""Elements that are hashed together; another value gives other checksums. It is 128 KiB of
bfloat16: long enough to hash at full speed, short enough to be in cache still after arithmetic."""

_DIGEST_BYTES = 8


class TensorChecksum:
    """Collects the blocks of one tensor, from any number of threads.

    checksum = xxh3_64(digest_0 | digest_1 | ...), digest_i = xxh3_64(block i, seed=i) as 8 bytes,
    least significant first. It depends on the bytes and the width of elements, not on the shape.
    """

    def __init__(self, spec: TensorSpec) -> None:
        self._spec = spec
        self._block_bytes = CHECKSUM_BLOCK_ELEMENTS * spec.dtype.bits // 8
        count = -(-spec.numel // CHECKSUM_BLOCK_ELEMENTS)
        self._digests = bytearray(count * _DIGEST_BYTES)
        self._seen = bytearray(count)

    @property
    def is_complete(self) -> bool:
        """Whether every block has been given."""
        return all(self._seen)

    def update(self, start_element: int, data: memoryview | NDArray[Any]) -> None:
        """Take in whole blocks; only the last block of the tensor may be short.

        Threads need no lock: each block has its own place, and blocks given twice are hashed twice.

        Args:
            start_element: Index of the first element, a multiple of `CHECKSUM_BLOCK_ELEMENTS`.
            data: The elements, a C-contiguous array of any type and shape.

        Raises:
            ValueError: the data does not start or end where blocks do.
        """
        first, misplaced = divmod(start_element, CHECKSUM_BLOCK_ELEMENTS)
        end_byte = first * self._block_bytes + data.nbytes
        is_whole = end_byte % self._block_bytes == 0 or end_byte == self._spec.nbytes
        if misplaced or not is_whole or end_byte > self._spec.nbytes:
            raise ValueError(
                f"{data.nbytes} bytes from element {start_element} of {self._spec} are not whole "
                f"blocks of {CHECKSUM_BLOCK_ELEMENTS} elements"
            )
        view = byte_view(data)
        for block, begin in enumerate(range(0, len(view), self._block_bytes), first):
            digest = xxhash.xxh3_64_digest(view[begin : begin + self._block_bytes], block)
            place = block * _DIGEST_BYTES
            self._digests[place : place + _DIGEST_BYTES] = digest[::-1]
            self._seen[block] = True

    def hexdigest(self) -> str:
        """The checksum, 16 hex digits.

        Raises:
            ValueError: some blocks have not been given.
        """
        if not self.is_complete:
            missing = self._seen.index(0)
            raise ValueError(f"block {missing} of {self._spec} was never given")
        return xxhash.xxh3_64_hexdigest(bytes(self._digests))


def checksum_of(data: memoryview, spec: TensorSpec) -> str:
    """The checksum of all bytes of a tensor, 16 hex digits."""
    if 0 < spec.numel <= CHECKSUM_BLOCK_ELEMENTS:  # one block, as `TensorChecksum` has it
        return xxhash.xxh3_64_hexdigest(xxhash.xxh3_64_digest(data)[::-1])
    checksum = TensorChecksum(spec)
    checksum.update(0, data)
    return checksum.hexdigest()
