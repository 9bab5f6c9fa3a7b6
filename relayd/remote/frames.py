"""How are the frames of a link between two relayds written and read (wire format)?

One binary WebSocket message holds one or more frames, each `kind stream length payload` (big-endian: one
byte, four, four). What a frame of a stream means is in `link`; what the JSON of the others holds, in
`messages`.

    kind         stream  payload
    1 HELLO      0       JSON, of the node, first
    2 WELCOME    0       JSON, of the hub, the answer
    3 REFUSED    0       JSON, of the hub, instead of it
    4 OPEN       n       JSON: what the stream reaches; of the hub
    5 DATA       n       offset (8 bytes), then bytes
    6 CREDIT     n       bytes received (8), and up to which more may be sent (8)
    7 END        n       offset (8): nothing comes behind it
    8 RESET      n       code (2), then why: the stream is over, in both directions
    9 INVENTORY  0       JSON, of the node: what it serves
   10 OCCUPANCY  0       JSON, of the node: slots that others than this hub use
   11 COMMAND    0       JSON, of the hub
   12 REPLY      0       JSON, of the node
   13 PING       0       nonce (8)
   14 PONG       0       the same
   15 GOAWAY     0       JSON: this side takes no new streams, and why
   16 WANTED     0       JSON: bytes of a file that this side asks for
   17 BLOCK      0       which of them (8), then the bytes

A kind that is not known is skipped, so that kinds can be added. A message that breaks these rules ends the
connection.
"""

import struct
from collections.abc import Iterator
from enum import IntEnum

import msgspec

from relayd.errors import LinkError
from relayd.units import KIB, MIB

VERSIONS = (1,)
"""Of the protocol, the newest last; a link uses the newest that both sides know."""

MESSAGE_BYTES = 1 * MIB
"""The longest message."""

DATA_BYTES = 64 * KIB
"""The most bytes of one DATA frame, so that no stream holds up the others for long."""

DOCUMENT_BYTES = 256 * KIB
"""The longest JSON of a frame."""

REASON_BYTES = 1 * KIB

STREAMS = 4096
"""Streams that a link has at the same time at most; their numbers go from 1 up and are not used again."""

LAST_STREAM = (1 << 32) - 1

_HEADER = struct.Struct(">BII")
_OFFSET = struct.Struct(">Q")
_CREDIT = struct.Struct(">QQ")
_CODE = struct.Struct(">H")


class FrameKind(IntEnum):
    """Of a frame."""

    HELLO = 1
    WELCOME = 2
    REFUSED = 3
    OPEN = 4
    DATA = 5
    CREDIT = 6
    END = 7
    RESET = 8
    INVENTORY = 9
    OCCUPANCY = 10
    COMMAND = 11
    REPLY = 12
    PING = 13
    PONG = 14
    GOAWAY = 15
    WANTED = 16
    BLOCK = 17


class ResetCode(IntEnum):
    """Why a stream is over before its end."""

    CANCELLED = 1
    """Who opened it wants it no more."""
    NO_SLOT = 2
    """The replica has no free slot: the claim is refused, nothing was sent to it."""
    NO_REPLICA = 3
    """There is no such replica, or not this incarnation any more."""
    FAILED = 4
    """The connection to the replica failed."""
    LOST = 5
    """One side does not know it any more."""
    REFUSED = 6
    """The node does not pass on such a request."""
    FLOW = 7
    """More was sent than there was credit for, or bytes were left out."""
    DRAINING = 8
    """The node takes no new requests."""


class DataFrame(msgspec.Struct, frozen=True, gc=False):
    """Bytes of a stream, from `offset` on."""

    stream: int
    offset: int
    data: bytes


class CreditFrame(msgspec.Struct, frozen=True, gc=False):
    """The sender has received so many bytes of a stream, and takes more up to `limit`."""

    stream: int
    received: int
    limit: int


class EndFrame(msgspec.Struct, frozen=True, gc=False):
    """A stream has `offset` bytes in this direction, and no more."""

    stream: int
    offset: int


class ResetFrame(msgspec.Struct, frozen=True, gc=False):
    """A stream is over; `code` is a `ResetCode`, or one of a later version."""

    stream: int
    code: int
    reason: str = ""


class BeatFrame(msgspec.Struct, frozen=True, gc=False):
    """A sign of life (PING), or the answer to one (PONG)."""

    nonce: int
    is_answer: bool = False


class DocumentFrame(msgspec.Struct, frozen=True, gc=False):
    """A frame whose payload is JSON; not decoded yet."""

    kind: FrameKind
    stream: int
    document: bytes


Frame = DataFrame | CreditFrame | EndFrame | ResetFrame | BeatFrame | DocumentFrame


def encode_data(stream: int, offset: int, data: bytes | bytearray | memoryview) -> bytes:
    """Return a DATA frame of at most `DATA_BYTES` bytes."""
    return b"".join((_HEADER.pack(FrameKind.DATA, stream, 8 + len(data)), _OFFSET.pack(offset), data))


def encode(frame: Frame) -> bytes:
    """Return the bytes of a frame."""
    match frame:
        case DataFrame(stream, offset, data):
            return encode_data(stream, offset, data)
        case CreditFrame(stream, received, limit):
            return _framed(FrameKind.CREDIT, stream, _CREDIT.pack(received, limit))
        case EndFrame(stream, offset):
            return _framed(FrameKind.END, stream, _OFFSET.pack(offset))
        case ResetFrame(stream, code, reason):
            return _framed(FrameKind.RESET, stream, _CODE.pack(code) + shortened(reason))
        case BeatFrame(nonce, is_answer):
            return _framed(FrameKind.PONG if is_answer else FrameKind.PING, 0, _OFFSET.pack(nonce))
        case DocumentFrame(kind, stream, document):
            return _framed(kind, stream, document)


def decode(message: bytes) -> Iterator[Frame]:
    """Yield the frames of a message.

    Raises:
        LinkError: It breaks the rules.
    """
    if len(message) > MESSAGE_BYTES:
        raise LinkError(f"a message of {len(message)} bytes came; the longest has {MESSAGE_BYTES}")
    at, end = 0, len(message)
    while at < end:
        if end - at < _HEADER.size:
            raise LinkError(f"a message ends within the head of a frame, at byte {at}")
        kind, stream, length = _HEADER.unpack_from(message, at)
        at += _HEADER.size
        if length > end - at:
            raise LinkError(f"a frame of {length} bytes is longer than its message, at byte {at}")
        if (frame := _frame(kind, stream, message, at, at + length)) is not None:
            yield frame
        at += length


def _frame(kind: int, stream: int, message: bytes, start: int, end: int) -> Frame | None:
    """Return the frame whose payload is in a part of a message; None of a kind that is not known.

    Raises:
        LinkError: It breaks the rules.
    """
    length = end - start
    if kind == FrameKind.DATA:
        if not 8 < length <= 8 + DATA_BYTES or not stream:
            raise LinkError(f"a DATA frame of {length} bytes of stream {stream} came")
        return DataFrame(stream, _OFFSET.unpack_from(message, start)[0], message[start + 8 : end])
    if kind not in _KINDS:
        return None
    if (kind in _OF_STREAM) is not bool(stream):
        raise LinkError(f"a frame {_KINDS[kind].name} of stream {stream} came")
    if kind in _DOCUMENTS:
        if length > DOCUMENT_BYTES:
            raise LinkError(f"a document of {length} bytes came; the longest has {DOCUMENT_BYTES}")
        return DocumentFrame(_KINDS[kind], stream, message[start:end])
    return _small(_KINDS[kind], stream, message[start:end])


def _small(kind: FrameKind, stream: int, payload: bytes) -> Frame:
    """Return a frame of a fixed length, or a RESET.

    Raises:
        LinkError: It has another length.
    """
    try:
        if kind is FrameKind.CREDIT:
            return CreditFrame(stream, *_CREDIT.unpack(payload))
        if kind is FrameKind.END:
            return EndFrame(stream, *_OFFSET.unpack(payload))
        if kind is FrameKind.RESET and len(payload) <= _CODE.size + REASON_BYTES:
            reason = payload[_CODE.size :].decode(errors="replace")
            return ResetFrame(stream, _CODE.unpack_from(payload)[0], reason)
        if kind is not FrameKind.RESET:
            return BeatFrame(_OFFSET.unpack(payload)[0], is_answer=kind is FrameKind.PONG)
    except struct.error:
        pass
    raise LinkError(f"a frame {kind.name} has {len(payload)} bytes")


def _framed(kind: FrameKind, stream: int, payload: bytes) -> bytes:
    return _HEADER.pack(kind, stream, len(payload)) + payload


def shortened(reason: str) -> bytes:
    """Return a reason as it is sent: of at most `REASON_BYTES` bytes, no character cut."""
    return reason.encode(errors="replace")[:REASON_BYTES].decode(errors="ignore").encode()


_KINDS = {int(kind): kind for kind in FrameKind}
_OF_STREAM = frozenset({FrameKind.OPEN, FrameKind.DATA, FrameKind.CREDIT, FrameKind.END, FrameKind.RESET})
_DOCUMENTS = frozenset(FrameKind) - {
    FrameKind.DATA,
    FrameKind.CREDIT,
    FrameKind.END,
    FrameKind.RESET,
    FrameKind.PING,
    FrameKind.PONG,
}
