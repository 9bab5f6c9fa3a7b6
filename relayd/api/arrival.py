"""How does the body of a request arrive, piece by piece, until it ends where its head declares?"""

import asyncio
import re
from collections.abc import AsyncIterator, Callable

from relayd.api.head import MALFORMED
from relayd.units import KIB

_LONGEST_LINE = 512
_TRAILERS = 8 * KIB
_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})\r\n")
_TRAILER = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t\x20-\x7e\x80-\xff]*\r\n")

_CHUNKS = 1 << 14
_CHUNK_BYTES = 16
"""A body has at most so many chunks, and one more for each so many bytes: each costs some work."""

_UNREAD = 256 * KIB
"""Unread bytes beyond which the client is no longer read."""


class ByLength:
    """A body whose length was declared."""

    __slots__ = ("left",)

    def __init__(self, length: int) -> None:
        self.left = length

    @property
    def is_over(self) -> bool:
        """Whether the last byte has been seen."""
        return not self.left

    def feed(self, data: bytes, payload: list[bytes]) -> int:
        """Return how many bytes of `data` belong to the body; what they carry goes into `payload`."""
        taken = data[: self.left]
        self.left -= len(taken)
        payload.append(taken)
        return len(taken)


class UntilEnd:
    """What follows an upgrade: everything, until the connection ends."""

    __slots__ = ()

    is_over = False

    def feed(self, data: bytes, payload: list[bytes]) -> int:
        """Return how many bytes of `data` belong to it: all."""
        payload.append(data)
        return len(data)


class ByChunks:
    """A body in chunks (RFC 9112, 7.1); extensions are refused, trailers dropped."""

    __slots__ = ("_chunks", "_left", "_line", "_state", "_total", "is_over")

    _SIZE, _DATA, _END, _TRAILERS = range(4)

    def __init__(self) -> None:
        self._state = self._SIZE
        self._left = 0
        self._line = b""
        self._chunks = 0
        self._total = 0
        self.is_over = False

    def feed(self, data: bytes, payload: list[bytes]) -> int:
        """Return how many bytes of `data` belong to the body; what they carry goes into `payload`.

        Raises:
            RequestError: The framing is broken.
        """
        position, end = 0, len(data)
        while position < end and not self.is_over:
            start = position
            if self._state == self._DATA:
                position = min(start + self._left, end)
                self._left -= position - start
                payload.append(data[start:position])
                if not self._left:
                    self._state = self._END
            else:
                position = data.find(b"\n", start) + 1 or end
                self._gather(data[start:position])
        return position

    def _gather(self, part: bytes) -> None:
        line = self._line + part if self._line else part
        if len(line) > _LONGEST_LINE:
            raise MALFORMED
        if line.endswith(b"\n"):
            self._line = b""
            self._read(line)
        else:
            self._line = line

    def _read(self, line: bytes) -> None:
        if self._state == self._END:
            if line != b"\r\n":
                raise MALFORMED
            self._state = self._SIZE
        elif self._state == self._TRAILERS:
            self._total += len(line)
            self.is_over = line == b"\r\n"
            if self._total > _TRAILERS or not (self.is_over or _TRAILER.fullmatch(line)):
                raise MALFORMED
        else:
            self._begin(line)

    def _begin(self, line: bytes) -> None:
        size = _SIZE.fullmatch(line)
        if size is None:
            raise MALFORMED
        self._left = int(size[1], 16)
        self._chunks += 1
        self._total += self._left
        if self._chunks > _CHUNKS + self._total // _CHUNK_BYTES:
            raise MALFORMED
        self._state = self._DATA
        if not self._left:
            self._state, self._total = self._TRAILERS, 0


BodyEnd = ByLength | ByChunks | UntilEnd
"""Finds where a body ends."""


class ArrivingBody:
    """The payload of a request, for one reader; like aiohttp's `StreamReader` as far as it is used.

    Attributes:
        unread: Bytes that wait for the reader.
        on_read: Called when the reader has taken what waited.
    """

    __slots__ = ("_complete", "_error", "_pieces", "_waiter", "on_read", "unread")

    def __init__(self, on_read: Callable[[], None], *, complete: bool) -> None:
        self._pieces: list[bytes] = []
        self._complete = complete
        self._error: Exception | None = None
        self._waiter: asyncio.Future[None] | None = None
        self.on_read = on_read
        self.unread = 0

    def __repr__(self) -> str:
        return f"<ArrivingBody unread={self.unread} {'complete' if self._complete else 'arriving'}>"

    def is_eof(self) -> bool:
        """Return whether all of it has arrived."""
        return self._complete

    @property
    def is_broken(self) -> bool:
        """Whether it can no longer be read."""
        return self._error is not None

    @property
    def is_full(self) -> bool:
        """Whether so much waits for the reader that the client should pause."""
        return self.unread > _UNREAD

    def read_nowait(self) -> bytes:
        """Return what has arrived and was not read.

        Raises:
            Exception: What `fail` was given.
        """
        if self._error is not None:
            raise self._error
        data = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        self._pieces.clear()
        if self.is_full:
            self.on_read()
        self.unread = 0
        return data

    async def iter_any(self) -> AsyncIterator[bytes]:
        """Yield what arrives, until all of it has."""
        while True:
            if data := self.read_nowait():
                yield data
            elif self._complete:
                return
            else:
                self._waiter = asyncio.get_running_loop().create_future()
                await self._waiter

    def feed(self, pieces: list[bytes], *, complete: bool) -> None:
        """Add what has arrived."""
        self._pieces += pieces
        self._complete = complete
        self.unread += sum(map(len, pieces))
        self._wake()

    def fail(self, error: Exception) -> None:
        """Raise `error` where the body is read."""
        self._error = error
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
