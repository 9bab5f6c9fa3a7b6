"""A bounded reader of values at the beginning of an untrusted file."""

import struct
from itertools import repeat
from typing import Any, BinaryIO

from relayd.errors import ModelFileError
from relayd.units import KIB

FIRST_READ = 256 * KIB
"""Read at once; the read grows with the header, so that a small one costs little."""

LENGTH = struct.Struct("<Q")


class Cursor:
    """A place in a header, and the bytes up to it.

    Bytes are read as far as values need them, never past the end of the file or `limit`, whatever
    length the file claims. All values are little-endian.

    Args:
        stream: The file, at its beginning.
        size: Bytes of the file.
        limit: Bytes of the header that may be read.
        name: How errors name the file.

    Attributes:
        position: Bytes taken so far.
        size: Bytes of the file.
    """

    def __init__(self, stream: BinaryIO, size: int, limit: int, name: str) -> None:
        self._stream = stream
        self._data = bytearray()
        self._limit = limit
        self._name = name
        self._item = 0
        self.size = size
        self.position = 0

    def fail(self, problem: str, remedy: str = "") -> ModelFileError:
        """Return the error that stops here; it names the byte where the value taken last begins."""
        return ModelFileError(f"{self._name}: byte {self._item}: {problem}", remedy=remedy)

    def demand(self, end: int, what: str) -> None:
        """Make sure that the file has `end` bytes.

        Raises:
            ModelFileError: It has fewer.
        """
        if end > self.size:
            raise self.fail(
                f"{what} needs {end} bytes of file, it has {self.size}",
                remedy="It is cut short or damaged. Fetch it again.",
            )

    def skip(self, count: int, what: str) -> int:
        """Step over `count` bytes that are there; return where they begin.

        Raises:
            ModelFileError: The file or the limit ends before them.
        """
        self._item = begin = self.position
        if begin + count > len(self._data):
            self._read_to(begin + count, what)
        self.position = begin + count
        return begin

    def take(self, layout: struct.Struct, what: str) -> tuple[Any, ...]:
        """Return the values of `layout` and step over them.

        Raises:
            ModelFileError: The file or the limit ends before them.
        """
        return layout.unpack_from(self._data, self.skip(layout.size, what))

    def take_count(self, most: int, each_bytes: int, what: str) -> int:
        """Return a count of things that take at least `each_bytes` each.

        Raises:
            ModelFileError: They are more than `most`, or the rest of the file cannot hold them.
        """
        (count,) = LENGTH.unpack_from(self._data, self.skip(LENGTH.size, f"the number of {what}"))
        if count > most:
            raise self.fail(f"{count} {what}: expected at most {most}")
        if count * each_bytes > self.size - self.position:
            raise self.fail(f"{count} {what}: the {self.size - self.position} bytes left cannot hold them")
        return int(count)

    def take_bytes(self, most: int, what: str) -> bytes:
        """Return a string, which is preceded by its length.

        Raises:
            ModelFileError: It is longer than `most`, or longer than what is left.
        """
        begin = self.skip(self.take_count(most, 1, f"bytes in {what}"), what)
        return bytes(self._data[begin : self.position])

    def skip_strings(self, count: int, what: str) -> int:
        """Step over `count` strings, from length to length, and return the longest; none of them is made.

        Raises:
            ModelFileError: The file or the limit ends before their end.
        """
        data, position, length_at = self._data, self.position, LENGTH.unpack_from
        rounds, longest = repeat(None, count), 0
        while True:
            try:
                # A vocabulary is half a million rounds: no call but one, and no check of the bounds,
                # because a length past the end of `data` cannot be unpacked.
                for _ in rounds:
                    if (length := length_at(data, position)[0]) > longest:
                        longest = length
                    position += 8 + length
                break
            except (struct.error, OverflowError):
                self._item = position
                self._read_to(position + LENGTH.size, what)
                length = length_at(data, position)[0]
                position, longest = position + 8 + length, max(longest, length)
        self.position = position
        self.skip(0, what)
        return longest

    def _read_to(self, end: int, what: str) -> None:
        self.demand(end, what)
        if end > self._limit:
            raise self.fail(f"{what} needs a header of {end} bytes: expected at most {self._limit}")
        wanted = min(max(end, 2 * len(self._data), FIRST_READ), self.size, self._limit)
        self._data += self._stream.read(wanted - len(self._data))
        if len(self._data) < end:
            raise self.fail(f"{what} needs {end} bytes, the file shrank to {len(self._data)}")
