"""How does a message of a link cross the bus: in pieces, numbered so that a lost one is noticed (format)?

A piece is `kind number payload` (one byte, eight big-endian). Core NATS delivers in order and at most once: a
number that is not the next one means that the server has dropped something, and the connection is over. The
link then goes on over another one and repeats what the other side does not have.
"""

import struct
from collections.abc import Iterator
from enum import IntEnum

from relayd.errors import LinkError
from relayd.remote.frames import MESSAGE_BYTES
from relayd.units import KIB

PIECE_BYTES = 256 * KIB
"""The longest message on the bus."""

_HEAD = struct.Struct(">BQ")
_ROOM = PIECE_BYTES - _HEAD.size


class PieceKind(IntEnum):
    """Of a piece."""

    MORE = 0
    """The message goes on in the next one."""
    LAST = 1
    CLOSE = 2
    """The other side has closed the connection; the payload is the reason."""


def pieces(message: bytes, number: int) -> Iterator[bytes]:
    """Yield the pieces of a message, of which the first one has a number."""
    for at in range(0, max(1, len(message)), _ROOM):
        kind = PieceKind.LAST if at + _ROOM >= len(message) else PieceKind.MORE
        yield _HEAD.pack(kind, number) + message[at : at + _ROOM]
        number += 1


def closing(reason: str, number: int) -> bytes:
    """Return the piece that ends a connection."""
    return _HEAD.pack(PieceKind.CLOSE, number) + reason.encode()[:1000]


def is_first(piece: bytes) -> bool:
    """Return whether a piece begins a connection."""
    return len(piece) > _HEAD.size and _HEAD.unpack_from(piece) in ((PieceKind.MORE, 0), (PieceKind.LAST, 0))


def is_end(piece: bytes) -> bool:
    """Return whether a piece ends a connection."""
    return piece[:1] == bytes((PieceKind.CLOSE,))


class Pieces:
    """Messages of one direction of a connection, made of pieces as they come."""

    def __init__(self) -> None:
        self._next = 0
        self._parts: list[bytes] = []
        self._size = 0

    def __repr__(self) -> str:
        return f"<Pieces next={self._next} held={self._size}>"

    def take(self, piece: bytes) -> bytes | str | None:
        """Return the message that a piece completes, the reason of a connection's end, or None for neither.

        Raises:
            LinkError: A piece was lost on the way, or it is malformed.
        """
        if len(piece) < _HEAD.size or piece[0] > PieceKind.CLOSE:
            raise LinkError("a malformed piece came over the bus")
        kind, number = _HEAD.unpack_from(piece)
        payload = piece[_HEAD.size :]
        if kind == PieceKind.CLOSE:
            return payload.decode("utf-8", "replace") or "no reason given"
        if number != self._next:
            raise LinkError(f"the bus lost {number - self._next} messages")
        self._next += 1
        self._size += len(payload)
        if self._size > MESSAGE_BYTES:
            raise LinkError(f"a message of more than {MESSAGE_BYTES} bytes came")
        self._parts.append(payload)
        if kind == PieceKind.MORE:
            return None
        message = b"".join(self._parts)
        self._parts, self._size = [], 0
        return message
