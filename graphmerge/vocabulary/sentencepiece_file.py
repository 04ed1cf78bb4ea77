"""Read a sentencepiece model: its pieces, and how text is prepared for them.

Source of the numbers of fields: sentencepiece_model.proto of google/sentencepiece.
"""

from __future__ import annotations

from enum import IntEnum
from struct import Struct
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from graphmerge.checkpoint.access import open_file, read_bytes
from graphmerge.errors import CheckpointError, Problem
from graphmerge.frozen_classes import frozen
from graphmerge.vocabulary.protobuf import WireError, read_fields, read_varint

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from graphmerge.vocabulary.protobuf import Value

T = TypeVar("T", int, float, bytes)

_PIECES, _TRAINER, _NORMALIZER, _DENORMALIZER = 1, 2, 3, 5
_PIECE, _SCORE, _TYPE = 1, 2, 3
_MODEL_TYPE, _SUFFIX, _BYTE_FALLBACK = 3, 24, 35
_CHARSMAP, _PREFIX, _REMOVE, _ESCAPE = 2, 3, 4, 5
_PIECES_TAG, _PIECE_TAG, _SCORE_TAG, _TYPE_TAG = 0x0A, 0x0A, 0x15, 0x18
_KINDS = {1: "Unigram", 2: "BPE", 3: "WORD", 4: "CHAR"}
_FLOAT = Struct("<f")
_MOST = 6
"""The last of the types of pieces."""


class PieceType(IntEnum):
    """What a piece is for."""

    NORMAL = 1
    UNKNOWN = 2
    CONTROL = 3
    USER_DEFINED = 4
    UNUSED = 5
    BYTE = 6


@frozen(eq=False)
class SentencePieces:
    """A sentencepiece model."""

    path: Path
    """The file that it is in."""
    kind: str
    """BPE or Unigram."""
    pieces: tuple[str, ...]
    """All pieces; the place of one is its id in the library, not always in a model."""
    scores: NDArray[np.float32]
    """Shape (pieces,): log probability in a Unigram, minus the rank of the merge in BPE."""
    types: NDArray[np.uint8]
    """Shape (pieces,): the PieceType of each."""
    has_byte_fallback: bool
    """Whether characters that are no pieces become bytes."""
    charsmap: bytes
    """How characters are normalised, in the library's compiled form; empty if they are not."""
    adds_prefix: bool
    """Whether a space is put before the text."""
    removes_spaces: bool
    """Whether only single spaces between words are kept."""
    oddities: tuple[str, ...]
    """What few models do: spaces at the end of words, spaces as they are, rules for decoding."""

    def of_type(self, wanted: PieceType) -> list[str]:
        """The pieces of a type, in their order."""
        return [self.pieces[place] for place in np.flatnonzero(self.types == wanted)]


def is_sentencepiece(path: Path) -> bool:
    """Whether a file begins as sentencepiece models do; others have the same names.

    Raises:
        MachineError: the file cannot be read.
    """
    with open_file(path) as stream:
        return stream.read(1) == bytes([_PIECES_TAG])


def read_sentencepiece(path: Path) -> SentencePieces:
    """The model in a file.

    Raises:
        CheckpointError: the file is no such model, or is cut off, or one of single words or
            characters.
        MachineError: the file cannot be read.
    """
    data = read_bytes(path)
    try:
        return _model(path, data)
    except (WireError, UnicodeDecodeError) as error:
        hint = "get the file once more from where the model is from"
        what = "not a sentencepiece model, or a broken one"
        raise CheckpointError(Problem(what, str(path), str(error), hint=hint)) from error


def _model(path: Path, data: bytes) -> SentencePieces:
    pieces: list[str] = []
    scores: list[float] = []
    types = bytearray()
    place, end = 0, len(data)
    while place < end and data[place] == _PIECES_TAG:
        place = _short_pieces(data, place, pieces, scores, types)
        if place < end and data[place] == _PIECES_TAG:
            size, begin = read_varint(data, place + 1, end)
            place = begin + size
            if place > end:
                raise WireError(f"piece {len(pieces)} is cut off")
            _any_piece(data[begin:place], pieces, scores, types)
    sections = dict(read_fields(data, place, end))
    if _PIECES in sections:
        raise WireError("there are pieces behind other sections")
    _check(pieces, types)
    values = np.array(scores, np.float32)
    if not np.isfinite(values).all():
        raise WireError("a score is no number")
    return _with_settings(path, sections, tuple(pieces), values, np.frombuffer(types, np.uint8))


def _short_pieces(
    data: bytes, place: int, pieces: list[str], scores: list[float], types: bytearray
) -> int:
    """Read pieces as the library writes them, each of less than 128 bytes; where another begins.

    It is one loop, as there are a hundred thousand pieces: two calls for each take twice as long.
    """
    unpack, end = _FLOAT.unpack_from, len(data)
    while end - place > 4 and data[place] == _PIECES_TAG and data[place + 2] == _PIECE_TAG:
        size, length = data[place + 1], data[place + 3]
        stop, text_end = place + 2 + size, place + 4 + length
        left = stop - text_end
        if size > 0x7F or left not in (5, 7) or stop > end or data[text_end] != _SCORE_TAG:
            break
        if left == 7 and (data[stop - 2] != _TYPE_TAG or not 0 < data[stop - 1] <= _MOST):
            break
        pieces.append(data[place + 4 : text_end].decode())
        scores.append(unpack(data, text_end + 1)[0])
        types.append(data[stop - 1] if left == 7 else 1)
        place = stop
    return place


def _any_piece(stored: bytes, pieces: list[str], scores: list[float], types: bytearray) -> None:
    """Read one piece, however it is written."""
    fields = dict(read_fields(stored, 0, len(stored)))
    kind = _of(fields, _TYPE, int(PieceType.NORMAL))
    if not 0 < kind <= _MOST:
        raise WireError(f"a piece has the type {kind}")
    pieces.append(_of(fields, _PIECE, b"").decode())
    scores.append(_of(fields, _SCORE, 0.0))
    types.append(kind)


def _check(pieces: list[str], types: bytearray) -> None:
    """What the library checks when it loads a model."""
    if not pieces:
        raise WireError("there are no pieces")
    if not all(pieces):
        raise WireError(f"piece {pieces.index('')} is empty")
    if len(set(pieces)) < len(pieces):
        raise WireError("a piece is there twice")
    unknown = types.count(PieceType.UNKNOWN)
    if unknown != 1:
        raise WireError(f"{unknown} pieces stand for unknown text, not 1")


def _with_settings(
    path: Path,
    sections: Mapping[int, Value],
    pieces: tuple[str, ...],
    scores: NDArray[np.float32],
    types: NDArray[np.uint8],
) -> SentencePieces:
    if not {_TRAINER, _NORMALIZER} <= sections.keys():
        raise WireError("it ends before the settings that follow the pieces")
    trainer, normalizer = (_section(sections, number) for number in (_TRAINER, _NORMALIZER))
    kind = _KINDS.get(_of(trainer, _MODEL_TYPE, 1), "unknown")
    if kind not in ("BPE", "Unigram"):
        raise WireError(f"a model of kind {kind}, not of BPE or Unigram")
    odd = {
        "spaces belong to the words before them": bool(_of(trainer, _SUFFIX, 0)),
        "spaces are not replaced by ▁": not _of(normalizer, _ESCAPE, 1),
        "decoded text is changed by rules": bool(
            _of(_section(sections, _DENORMALIZER), _CHARSMAP, b"")
        ),
    }
    return SentencePieces(
        path,
        kind,
        pieces,
        scores,
        types,
        has_byte_fallback=bool(_of(trainer, _BYTE_FALLBACK, 0)),
        charsmap=_of(normalizer, _CHARSMAP, b""),
        adds_prefix=bool(_of(normalizer, _PREFIX, 1)),
        removes_spaces=bool(_of(normalizer, _REMOVE, 1)),
        oddities=tuple(what for what, is_so in odd.items() if is_so),
    )


def _section(sections: Mapping[int, Value], number: int) -> dict[int, Value]:
    stored = _of(sections, number, b"")
    return dict(read_fields(stored, 0, len(stored)))


def _of(fields: Mapping[int, Value], number: int, default: T) -> T:
    """The value of a field, or its default; of repeated ones the last."""
    value = fields.get(number, default)
    if type(value) is not type(default):
        raise WireError(f"field {number} is of another kind")
    return value
