"""Sentencepiece files are read as the library reads them, and broken ones are refused by name."""

from functools import partial

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from sentencepiece import sentencepiece_model_pb2 as messages
from sentencepiece_models import BYTES, LIKE_LLAMA, edited, library, train

from graphmerge.errors import InputError
from graphmerge.vocabulary.protobuf import WireError, read_fields
from graphmerge.vocabulary.sentencepiece_file import (
    PieceType,
    _any_piece,
    _short_pieces,
    read_sentencepiece,
)

SYMBOLS = {"user_defined_symbols": "<u>," + "long" * 40, "control_symbols": "<c>"}
MODELS = {
    "BPE": partial(train, "bpe", 500, **BYTES),
    "BPE with symbols": partial(train, "bpe", 200, pad_id=3, **LIKE_LLAMA, **SYMBOLS),
    "Unigram": partial(train, "unigram", 100),
    "Unigram without a prefix": partial(train, "unigram", 100, add_dummy_prefix=False),
}


def read(folder, data):
    path = folder / "tokenizer.model"
    path.write_bytes(data)
    return read_sentencepiece(path)


@pytest.mark.parametrize("name", MODELS)
def test_models_are_read_as_the_library_reads_them(name, tmp_path):
    data = MODELS[name]()
    found, wanted = read(tmp_path, data), library(data)
    numbers = range(wanted.get_piece_size())
    assert list(found.pieces) == [wanted.id_to_piece(number) for number in numbers]
    assert found.scores.tolist() == [wanted.get_score(number) for number in numbers]
    message = messages.ModelProto.FromString(data)
    assert found.types.tolist() == [piece.type for piece in message.pieces]
    assert [found.types[number] == PieceType.BYTE for number in numbers] == [
        wanted.is_byte(number) for number in numbers
    ]
    assert found.kind == name.split()[0]
    assert found.has_byte_fallback == message.trainer_spec.byte_fallback
    assert found.charsmap == message.normalizer_spec.precompiled_charsmap
    assert found.adds_prefix == message.normalizer_spec.add_dummy_prefix
    assert found.removes_spaces == message.normalizer_spec.remove_extra_whitespaces
    assert found.oddities == ()


def test_what_few_models_do_is_noticed(tmp_path):
    def change(message):
        message.trainer_spec.treat_whitespace_as_suffix = True
        message.normalizer_spec.escape_whitespaces = False
        message.denormalizer_spec.precompiled_charsmap = b"1"

    assert len(read(tmp_path, edited(train("unigram", 100), change)).oddities) == 3


PIECES = st.builds(
    messages.ModelProto.SentencePiece,
    piece=st.text(st.characters(codec="utf-8"), min_size=1, max_size=60),
    score=st.none() | st.floats(width=32, allow_nan=False),
    type=st.none() | st.sampled_from([int(kind) for kind in PieceType]),
)


@given(st.lists(PIECES, max_size=4))
def test_the_short_way_of_reading_pieces_gives_what_the_long_one_gives(listed):
    data = messages.ModelProto(pieces=listed).SerializeToString()
    short, long = ([], [], bytearray()), ([], [], bytearray())
    place = _short_pieces(data, 0, *short)
    for piece in listed:
        _any_piece(piece.SerializeToString(), *long)
    count = len(short[0])
    assert short == tuple(values[:count] for values in long)
    assert long[0] == [piece.piece for piece in listed]
    assert long[1] == [piece.score for piece in listed]
    assert list(long[2]) == [piece.type for piece in listed]
    assert place == len(messages.ModelProto(pieces=listed[:count]).SerializeToString())
    if count < len(listed):
        assert not listed[count].HasField("score") or listed[count].ByteSize() > 127


@example(b"\x00\x00")  # a number, of the field 0 that no message has
@given(st.binary(max_size=40))
def test_no_bytes_break_the_reader_of_messages(data):
    try:
        fields = list(read_fields(data, 0, len(data)))
    except WireError:
        return
    assert all(number > 0 for number, _ in fields)
    assert sum(len(value) for _, value in fields if isinstance(value, bytes)) <= len(data)


def test_a_file_that_is_cut_off_is_refused(tmp_path):
    data = train("bpe", 500, **BYTES)
    ends = len(
        messages.ModelProto(pieces=messages.ModelProto.FromString(data).pieces).SerializeToString()
    )
    for size in (1, 2, 3, 40, 41, 42, 43, ends // 2, ends - 1, ends, ends + 1, len(data) - 1):
        with pytest.raises(InputError, match=r"broken one @ .*tokenizer\.model.*get the file once"):
            read(tmp_path, data[:size])


@given(place=st.integers(0, 20_000), byte=st.integers(0, 255))
def test_a_byte_that_is_wrong_gives_another_model_or_a_refusal(place, byte, tmp_path_factory):
    data = bytearray(train("bpe", 500, **BYTES))
    data[place % len(data)] = byte
    told = outcome(tmp_path_factory.getbasetemp(), bytes(data))
    assert told == "read" or "tokenizer.model" in told


def outcome(folder, data):
    try:
        found = read(folder, data)
    except InputError as error:
        return str(error)
    assert len(found.pieces) == len(found.scores) == len(found.types)
    return "read"


def first(message):
    return message.pieces[3]


BROKEN = {
    "is there twice": lambda message: setattr(first(message), "piece", "<s>"),
    "is empty": lambda message: setattr(first(message), "piece", ""),
    "0 pieces stand for unknown": lambda message: setattr(message.pieces[0], "type", 1),
    "2 pieces stand for unknown": lambda message: setattr(first(message), "type", 2),
    "no number": lambda message: setattr(first(message), "score", float("nan")),
    "kind WORD": lambda message: setattr(message.trainer_spec, "model_type", 3),
    "kind CHAR": lambda message: setattr(message.trainer_spec, "model_type", 4),
    "no pieces": lambda message: message.ClearField("pieces"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_what_the_library_refuses_is_refused(what, tmp_path):
    with pytest.raises(InputError, match=rf"{what}.*"):
        read(tmp_path, edited(train("bpe", 500, **BYTES), BROKEN[what]))
