"""Where in a stream of bytes does a response end?

A replica's bytes go to the client as they came, so this module only finds their end. It must
never disagree with the client about where that is: what RFC 9112 does not allow outright is
refused, never repaired.
"""

import re
from functools import lru_cache
from typing import ClassVar

from relayd.errors import UpstreamError

_LONGEST_LINE = 8192
SHORT_LINE = 18
"""Where the line of a chunk's size ends at the latest: it has 15 digits at most."""

_LAST_CHUNK = b"0\r\n\r\n"
"""The end of a body without trailers."""

_HEX = re.compile(rb"[0-9A-Fa-f]{1,15}")
CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})\r\n")


class Framing:
    """A walk over one response body, fed as it arrives.

    Attributes:
        ends_with_connection: Only a close marks the end.
        over: The last byte has been seen.
        pieces: Takes the payload, freed of its framing; None when it is not wanted.
        is_between: No part of a chunk waits for its rest; of other bodies there are none.
        whole: Where in the bytes that were fed last their last whole chunk ends, unless `is_between`.
    """

    __slots__ = ("is_between", "over", "pieces", "whole")

    ends_with_connection: ClassVar[bool] = False

    def __init__(self, pieces: list[bytes] | None = None) -> None:
        self.over = False
        self.pieces = pieces
        self.is_between = True
        self.whole = 0

    def feed(self, data: bytes) -> int:
        """Walk on and return how many bytes of `data` belong to this response.

        Raises:
            UpstreamError: The framing is broken.
        """
        if self.pieces is not None:
            self.pieces.append(data)
        return len(data)


class UntilClose(Framing):
    """A body that ends with its connection (RFC 9112, 6.3, rule 8)."""

    __slots__ = ()

    ends_with_connection = True


class Counted(Framing):
    """A body whose length was announced."""

    __slots__ = ("_left",)

    def __init__(self, length: int, pieces: list[bytes] | None = None) -> None:
        self.pieces = pieces
        self.is_between = True
        self.whole = 0
        self._left = length
        self.over = not length

    def feed(self, data: bytes) -> int:
        """Take what was announced and no more."""
        if len(data) > self._left:
            data = data[: self._left]
        if self.pieces is not None:
            self.pieces.append(data)
        self._left -= len(data)
        self.over = not self._left
        return len(data)


class Chunked(Framing):
    """A body in chunks, each behind its size (RFC 9112, 7.1); chunk extensions are refused."""

    __slots__ = ("_in_trailers", "_is_chunk_open", "_left", "_line")

    def __init__(self, pieces: list[bytes] | None = None) -> None:
        self.pieces = pieces
        self.over = False
        self.is_between = True
        self.whole = self._left = 0
        self._line = b""
        self._is_chunk_open = self._in_trailers = False

    def feed(self, data: bytes) -> int:
        """Step from line to line; what is between them is payload and not looked at."""
        position, end = 0, len(data)
        self.whole = 0
        if self.is_between:
            if self.pieces is None:
                line = data.find(b"\r\n", 0, SHORT_LINE)
                payload = size_in(data[:line]) if line > 0 else 0
                if payload and line + payload + 4 == end and data.endswith(b"\r\n"):
                    return end  # one whole chunk, as an event comes
            if self.pieces is None and data == _LAST_CHUNK:
                self.over = True
                return end
            self.whole = position = self._pass_whole(data)
            if data.startswith(_LAST_CHUNK, position):
                self.over = True
                return position + len(_LAST_CHUNK)
            if position == end:
                return end
        while position < end and not self.over:
            start = position
            if self._left:
                position = min(start + self._left, end)
                self._left -= position - start
                if self.pieces is not None:
                    self.pieces.append(data[start:position])
            else:
                position = data.find(b"\n", start) + 1 or end
                self._gather(data[start:position])
            self.is_between = not (self._left or self._is_chunk_open or self._in_trailers or self._line)
            self.whole = position if self.is_between else self.whole
        return position

    def _pass_whole(self, data: bytes) -> int:
        """Step over the chunks that are here as a whole, as most are, and return where the rest begins."""
        position, length = 0, len(data)
        while position < length and (size := CHUNK_SIZE.match(data, position)) is not None:
            start = size.end()
            end = start + int(size[1], 16)
            if start == end or not data.startswith(b"\r\n", end):
                break
            if self.pieces is not None:
                self.pieces.append(data[start:end])
            position = end + 2
        return position

    def _gather(self, part: bytes) -> None:
        line = self._line + part
        complete = line.endswith(b"\n")
        if len(line) > _LONGEST_LINE:
            raise UpstreamError("The replica sent a chunk line without an end.")
        self._line = b"" if complete else line
        if complete:
            self._read_line(line)

    def _read_line(self, line: bytes) -> None:
        if self._in_trailers:
            self.over = line == b"\r\n"
        elif self._is_chunk_open:
            self._is_chunk_open = False
            if line != b"\r\n":
                raise UpstreamError("The replica sent a chunk longer than announced.")
        elif CHUNK_SIZE.fullmatch(line):
            self._left = int(line, 16)
            self._in_trailers = not self._left
            self._is_chunk_open = not self._in_trailers
        else:
            raise UpstreamError("The replica sent no chunk size.")


@lru_cache(maxsize=4096)
def size_in(line: bytes) -> int:
    """Return the size that the line of a chunk states; 0 for the last one, and where it states none.

    Lines repeat, and what was read once is found in a third of the time.
    """
    return int(line, 16) if _HEX.fullmatch(line) else 0
