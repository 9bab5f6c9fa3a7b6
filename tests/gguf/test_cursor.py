"""Values from the beginning of a file, and a file that changes while it is read."""

import struct
from io import BytesIO

import pytest

from relayd.errors import ModelFileError
from relayd.gguf.cursor import FIRST_READ, Cursor
from relayd.units import MIB

pytestmark = pytest.mark.pure

PAIR = struct.Struct("<IH")


def cursor(data: bytes, size: int | None = None) -> Cursor:
    return Cursor(BytesIO(data), len(data) if size is None else size, MIB, "model.gguf")


def text(content: bytes) -> bytes:
    return struct.pack("<Q", len(content)) + content


def test_values_follow_one_another() -> None:
    place = cursor(PAIR.pack(7, 8) + text(b"name") + text(b"") * 3 + b"!")

    assert (7, 8) == place.take(PAIR, "a pair")
    assert b"name" == place.take_bytes(9, "a name")
    place.skip_strings(3, "names")
    assert 42 == place.position


def test_no_more_is_read_than_values_need() -> None:
    stream = BytesIO(bytes(MIB))
    place = Cursor(stream, MIB, MIB, "model.gguf")

    place.skip(8, "a number")
    assert FIRST_READ == stream.tell()

    place.skip(FIRST_READ, "numbers")
    assert 2 * FIRST_READ == stream.tell()


def test_strings_are_skipped_across_the_ends_of_reads() -> None:
    content = text(b"x" * 1000) * 900
    place = cursor(content)

    place.skip_strings(900, "names")

    assert len(content) == place.position


def test_a_file_that_shrinks_while_it_is_read_is_refused() -> None:
    place = cursor(bytes(10), size=100)

    with pytest.raises(
        ModelFileError, match=r"model\.gguf: byte 0: a block needs 50 bytes, the file shrank to 10"
    ):
        place.skip(50, "a block")
