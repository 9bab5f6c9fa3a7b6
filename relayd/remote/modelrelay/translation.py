"""How does an HTTP/1.1 request become a message for a worker, and what it answers HTTP/1.1 again?

The router writes requests to a worker as to any replica, and reads an answer of bytes. Three things are
not in the protocol and are made up for here:

- An answer to a streamed request starts without a status: the stock worker sends the body of a refusal as
  a chunk. What does not begin like an event is held until the message with the status has come.
- Chunks are cut anywhere. They are passed on at the ends of events, so that an answer that breaks off does
  that between two, where it can be continued.
- There are only POSTs of text. Any other request is refused here.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus

import msgspec

from relayd.remote.modelrelay.messages import LONGEST_REQUEST, MOST_HEADERS, ResponseComplete, WorkerRequest
from relayd.units import KIB, MIB

NOT_FORWARDED = frozenset({
    "authorization", "connection", "content-length", "cookie", "expect", "host", "keep-alive",
    "proxy-authorization", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade", "x-api-key",
})  # fmt: skip
"""Fields that belong to one connection (RFC 9110, 7.6.1), and credentials, which are the hub's own."""

_NOT_RETURNED = frozenset({
    "connection", "content-encoding", "content-length", "keep-alive", "proxy-connection", "te", "trailer",
    "transfer-encoding", "upgrade",
})  # fmt: skip

_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"[\t\x20-\x7e]*")
_EVENT_STARTS = ("data:", "event:", "id:", "retry:")
_LONGEST_FIELD = 6
"""Letters of the longest field of an event, with its colon."""

_MOST_HELD = 4 * MIB
"""Of an answer whose status is not known yet."""

_LONGEST_EVENT = 256 * KIB
"""An event that is longer is passed on as it comes."""

_STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\n"
    b"X-Accel-Buffering: no\r\nTransfer-Encoding: chunked\r\n\r\n"
)
_LAST_CHUNK = b"0\r\n\r\n"
_WITHOUT_BODY = frozenset({204, 304})


class _BodyStart(msgspec.Struct, frozen=True):
    """What the head of a message repeats of a request's body."""

    model: str = ""
    stream: bool | None = None


_body_start = msgspec.json.Decoder(_BodyStart)


@dataclass(frozen=True, slots=True)
class NotForwarded:
    """A request that the protocol cannot carry.

    Attributes:
        status: What it is answered.
        message: Why.
    """

    status: int
    message: str


class WorkerRequestReader:
    """Collects one HTTP/1.1 request after the other of what the router writes to one connection."""

    __slots__ = ("_data",)

    def __init__(self) -> None:
        self._data = bytearray()

    def __repr__(self) -> str:
        return f"<WorkerRequestReader waiting={len(self._data)}>"

    def feed(self, data: bytes | bytearray | memoryview) -> tuple[bytes, bytes] | None:
        """Take bytes, and return head and body of a request once all of it is here."""
        self._data += data
        end = self._data.find(b"\r\n\r\n")
        if end < 0:
            return None
        head = bytes(self._data[:end])
        start = end + 4
        length = _length_of(head)
        if len(self._data) < start + length:
            return None
        body = bytes(self._data[start : start + length])
        del self._data[: start + length]
        return head, body


def _length_of(head: bytes) -> int:
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    return 0


def message_of(head: bytes, body: bytes, request_id: str) -> WorkerRequest | NotForwarded:
    """Return the message that has a worker carry out a request of the router."""
    first, *lines = head.decode("latin-1").split("\r\n")
    method, path, _ = first.split(" ", 2)
    if method != "POST":
        return NotForwarded(404, f"A worker of ModelRelay's protocol answers POST only, not {method} {path}.")
    try:
        text = body.decode()
        asked = _body_start.decode(body)
    except (UnicodeDecodeError, msgspec.DecodeError):
        return NotForwarded(415, "A worker of ModelRelay's protocol takes JSON only: its messages are text.")
    headers: dict[str, str] = {}
    for line in lines[:MOST_HEADERS]:
        name, _, value = line.partition(":")
        if (name := name.lower()) not in NOT_FORWARDED:
            headers[name] = value.strip()
    message = WorkerRequest(request_id, asked.model[:1024], path, asked.stream is True, text, headers)
    if len(body) > LONGEST_REQUEST:
        return NotForwarded(
            413, f"A worker of ModelRelay's protocol takes {LONGEST_REQUEST // MIB} MiB at most."
        )
    return message


class WorkerAnswer:
    """What a worker answers to one request, as bytes of an HTTP/1.1 response.

    Attributes:
        is_over: Its last byte has been returned.
        has_begun: A byte of it has been returned.
    """

    __slots__ = ("_held", "_is_streaming", "has_begun", "is_over")

    def __init__(self, *, is_streaming: bool) -> None:
        self._is_streaming = is_streaming
        self._held = ""
        self.has_begun = self.is_over = False

    def __repr__(self) -> str:
        state = "over" if self.is_over else "begun" if self.has_begun else "awaited"
        return f"<WorkerAnswer {state} held={len(self._held)}>"

    def chunk(self, text: str) -> bytes:
        """Return what can be passed on once `text` has come.

        Raises:
            ValueError: More was sent than is held of an answer without a status.
        """
        if self.is_over:
            return b""
        self._held = held = self._held + text if self._held else text
        if not self.has_begun:
            if not self._is_streaming or not begins_like_event(held):
                if len(held) > _MOST_HELD:
                    raise ValueError(f"the worker sent {len(held)} characters of no event and no status")
                return b""
            if _is_undecided(held):
                return b""
        end = _end_of_events(held)
        if not end:
            return b""
        whole, self._held = (held, "") if end == len(held) else (held[:end], held[end:])
        framed = _framed(whole)
        if self.has_begun:
            return framed
        self.has_begun = True
        return _STREAM_HEAD + framed

    def complete(self, message: ResponseComplete) -> bytes:
        """Return the rest of the answer: the end of a stream, or all of one that is not streamed."""
        if self.is_over:
            return b""
        self.is_over = True
        rest, self._held = self._held + (message.body or ""), ""
        if self.has_begun:
            return (_framed(rest) if rest else b"") + _LAST_CHUNK
        self.has_begun = True
        status = message.status_code if 200 <= message.status_code <= 599 else 502
        if self._is_streaming and 200 <= status < 300 and begins_like_event(rest) and rest:
            return _STREAM_HEAD + _framed(rest) + _LAST_CHUNK
        return plain_answer(status, message.headers, rest.encode())

    def refuse(self, status: int, message: str, code: str) -> bytes:
        """Return a refusal in place of an answer that has not begun."""
        self.is_over = self.has_begun = True
        body = msgspec.json.encode({"error": {"message": message, "type": code, "code": status}})
        return plain_answer(status, {"content-type": "application/json"}, body)


def begins_like_event(text: str) -> bool:
    """Return whether a body may be server-sent events, by what has come of it."""
    if not text or text[0] in ":\r\n":
        return True
    if text.startswith(_EVENT_STARTS):
        return True
    return len(text) < _LONGEST_FIELD and any(field.startswith(text) for field in _EVENT_STARTS)


def _is_undecided(text: str) -> bool:
    """Return whether too little has come to know whether it is an event."""
    return not text or (text[0] not in ":\r\n" and not text.startswith(_EVENT_STARTS))


def _end_of_events(text: str) -> int:
    """Return where the last whole event ends; all of it where an event is longer than is waited for."""
    end = text.rfind("\n\n") + 2
    if end == 1:
        end = 0
    crlf = text.rfind("\r\n\r\n")
    end = max(end, crlf + 4 if crlf >= 0 else 0)
    return end if end or len(text) < _LONGEST_EVENT else len(text)


def _framed(text: str) -> bytes:
    data = text.encode()
    return b"%x\r\n%b\r\n" % (len(data), data)


def plain_answer(status: int, headers: Mapping[str, str], body: bytes) -> bytes:
    """Return a whole response; fields that are not HTTP are left out, and those that frame a body."""
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = ""
    fields = "".join(
        f"{name}: {value}\r\n"
        for name, value in headers.items()
        if name.lower() not in _NOT_RETURNED and _NAME.fullmatch(name) and _VALUE.fullmatch(value)
    )
    if status in _WITHOUT_BODY:
        return f"HTTP/1.1 {status} {phrase}\r\n{fields}\r\n".encode("latin-1")
    return (
        f"HTTP/1.1 {status} {phrase}\r\n{fields}Content-Length: {len(body)}\r\n\r\n".encode("latin-1") + body
    )
