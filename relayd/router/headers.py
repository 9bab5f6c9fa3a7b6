"""Which request head does a replica get, and which header fields of its answer may pass on?"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from types import MappingProxyType

import msgspec

from relayd.endpoint import Endpoint
from relayd.errors import UpstreamError
from relayd.router.collect import Collector
from relayd.router.framing import Chunked, Counted, Framing, UntilClose
from relayd.units import KIB

OWN_FIELDS: Mapping[str, str] = MappingProxyType({"Server": "relayd", "X-Content-Type-Options": "nosniff"})
"""What every answer carries: no version, and that no browser shall guess what it is."""

LONGEST_HEAD = 32 * KIB

_MOST_FIELDS = 128
_STATUS_LINE = re.compile(r"HTTP/1\.([01]) ([1-5][0-9]{2})(?: [\t\x20-\x7e]*)?")
_FIELD = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\t\x20-\x7e]*?)[ \t]*")
_LENGTH = re.compile(r"[0-9]{1,18}")
_JSON = "application/json; charset=utf-8"
_LENGTH_NAME = b"\r\nContent-Length: "
_MOST_DIGITS = 18
_ONE_LINE = re.compile(r"[\t\x20-\x7e]*")
_TELLS_THE_END = frozenset({"content-length", "transfer-encoding"})

_STAYS_BEHIND = frozenset({
    "authorization", "connection", "content-length", "date", "keep-alive", "location", "proxy-authenticate",
    "proxy-authentication-info", "proxy-authorization", "proxy-connection", "server", "set-cookie", "te",
    "trailer", "transfer-encoding", "upgrade", "www-authenticate", "x-request-id",
    "alt-svc", "openai-organization", "openai-project", "openai-version", "strict-transport-security", "via",
})  # fmt: skip
"""Hop-by-hop names (RFC 9110, 7.6.1), and what only the server that clients talk to may say."""


_OF_THE_DOOR = ("access-control-", "x-relayd-", "x-ratelimit-", "anthropic-ratelimit-")
"""How the names of fields begin that only the door may write: an upstream's are about relayd's own key."""


class Call(msgspec.Struct, frozen=True):
    """One request as a replica shall get it.

    Attributes:
        path: Where it goes: a constant of the route, never a client's words.
        body: Final bytes.
        stream: The answer is asked for as events.
        content_type: Of the body; without a body it is not sent.
        method: GET or POST.
        with_key: Whether the replica's key goes along.
        collector: Makes the plain answer that the client asked for of those events; None passes them on.
        hides_progress: The events that state how far the prompt is are not for the client.
        sent: What its client sent, where a server elsewhere may get it; None where only replicas do.
        fields: What else the head of the request carries, for a server elsewhere.
    """

    path: str
    body: bytes
    stream: bool = False
    content_type: str = "application/json"
    method: str = "POST"
    with_key: bool = True
    collector: Callable[[], Collector] | None = None
    hides_progress: bool = False
    sent: "SentBody | None" = None
    fields: tuple[tuple[str, str], ...] = ()

    @property
    def answers_events(self) -> bool:
        """Whether the client gets events."""
        return self.stream and self.collector is None

    @classmethod
    def get(cls, path: str, *, with_key: bool = True) -> "Call":
        """Return a call that only reads."""
        return cls(path, b"", method="GET", with_key=with_key)

    def head(self, endpoint: Endpoint) -> bytes:
        """Return the request head for one replica."""
        length = b"%d\r\n" % len(self.body) if self.method == "POST" else b""
        return b"%b%b\r\n" % (self.opening(endpoint), length)

    def opening(self, endpoint: Endpoint) -> bytes:
        """Return that head up to the length of the body; of the client's own, only the content type is in it.

        Raises:
            ValueError: That is more than one line.
        """
        if not _ONE_LINE.fullmatch(self.content_type):
            raise ValueError(f"content type {self.content_type!r} is more than one line")
        key = _key(endpoint) if self.with_key else ""
        entity = f"Content-Type: {self.content_type}\r\nContent-Length: " if self.method == "POST" else ""
        own = "".join(f"{name}: {value}\r\n" for name, value in self.fields)
        return (
            f"{self.method} {endpoint.profile.base}{self.path} HTTP/1.1\r\n"
            f"Host: {endpoint.address.authority}\r\nConnection: keep-alive\r\n"
            f"{key}Accept: */*\r\n{own}{entity}"
        ).encode("ascii")


class SentBody(msgspec.Struct, frozen=True):
    """What a client sent, for a server elsewhere: it has no allow-list of llama-server's.

    Attributes:
        members: Of the body as it came; values are still bytes.
        dropped: Those that no replica gets.
        is_translated: The door has rewritten the body for another API, so that its names are not these.
        is_preset: Its model presets or limits members, so that not all of them are as sent.
        fields: The id of the request, and what the API of the client has in its head.
    """

    members: Mapping[str, msgspec.Raw]
    dropped: frozenset[str] = frozenset()
    is_translated: bool = False
    is_preset: bool = False
    fields: tuple[tuple[str, str], ...] = ()


def _key(endpoint: Endpoint) -> str:
    """Return the field that carries the key of an endpoint; empty where it has none."""
    if not (key := endpoint.key.reveal()):
        return ""
    name = endpoint.profile.key_header
    return f"{name}: Bearer {key}\r\n" if name == "Authorization" else f"{name}: {key}\r\n"


class Head(msgspec.Struct, frozen=True):
    """The head of a replica's response, checked.

    Attributes:
        status: 100 to 599.
        length: Bytes of the body, if announced.
        chunked: The body comes in chunks.
        keep_alive: The connection may be used again.
        passing: The fields that a client may see.
        is_event_stream: Whether the body is server-sent events.
        is_success: Whether the request was carried out.
    """

    status: int
    length: int | None
    chunked: bool
    keep_alive: bool
    passing: tuple[tuple[str, str], ...] = ()
    is_event_stream: bool = False
    is_success: bool = True

    def of_plain(self, length: int, status: int) -> "Head":
        """Return the head of the plain answer, or of the refusal, that was made of this stream."""
        passing = _of_plain(self.passing)
        return Head(status, length, chunked=False, keep_alive=True, passing=passing, is_success=status < 300)

    def framing(self, pieces: list[bytes] | None = None) -> Framing:
        """Return a walk over this body; `pieces`, if given, takes its payload."""
        if self.chunked:
            return Chunked(pieces)
        return UntilClose(pieces) if self.length is None else Counted(self.length, pieces)


def whole_answer(data: bytes) -> tuple[Head, bytes] | None:
    """Return head and body of an answer that is here at once, as plain ones are; None where it is not.

    Raises:
        UpstreamError: It is not HTTP/1.1.
    """
    raw, found, body = data.partition(b"\r\n\r\n")
    if not found or len(raw) > LONGEST_HEAD:
        return None
    head = parse_head(raw)
    return (head, body) if head.status >= 200 and head.length == len(body) else None


@lru_cache(maxsize=1024)
def parse_head(raw: bytes) -> Head:
    """Read a response head, from its status line to before its empty line.

    A replica writes the same few heads again and again, many of them but for their length, so what was
    read once is kept: as it is, and apart from that.

    Raises:
        UpstreamError: It is not HTTP/1.1, or leaves doubt about where its body ends.
    """
    before, name, after = raw.partition(_LENGTH_NAME)
    digits, end, rest = after.partition(b"\r\n")
    if not digits.isdigit() or len(digits) > _MOST_DIGITS:
        return _read_head(raw)
    head = _read_head(b"%b%b1%b%b" % (before, name, end, rest))
    if not head.length:
        return head  # a status without a body
    return msgspec.structs.replace(head, length=int(digits))


@lru_cache(maxsize=128)
def _read_head(raw: bytes) -> Head:
    first, *lines = raw.decode("latin-1").split("\r\n")
    line = _STATUS_LINE.fullmatch(first)
    if line is None:
        raise _malformed(f"a status line {first[:40]!r}")
    if len(lines) > _MOST_FIELDS:
        raise _malformed(f"{len(lines)} header fields")
    fields = tuple(map(_field, lines))
    is_newest, status = line[1] == "1", int(line[2])
    length, chunked = _body_length(status, [field for field in fields if field[0] in _TELLS_THE_END])
    if chunked and not is_newest:
        raise _malformed("chunks in HTTP/1.0")
    hop = _hop_by_hop(fields)
    stream = any(name == "content-type" and value.startswith("text/event-stream") for name, value in fields)
    keep_alive = is_newest and "close" not in hop
    passing, is_success = tuple(_passing(fields, hop)), 200 <= status < 300
    return Head(status, length, chunked, keep_alive, passing, stream, is_success)


@lru_cache(maxsize=32)
def _of_plain(passing: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    others = (field for field in passing if field[0] not in {"Content-Type", "X-Accel-Buffering"})
    return ("Content-Type", _JSON), *others


def _passing(fields: Iterable[tuple[str, str]], hop: set[str]) -> Iterator[tuple[str, str]]:
    for name, value in fields:
        if name not in _STAYS_BEHIND and name not in hop and not name.startswith(_OF_THE_DOOR):
            yield name.title(), value


def _field(line: str) -> tuple[str, str]:
    field = _FIELD.fullmatch(line)
    if field is None:
        raise _malformed(f"a header field {line[:40]!r}")
    return field[1].lower(), field[2]


def _hop_by_hop(fields: Iterable[tuple[str, str]]) -> set[str]:
    """Return what the Connection fields name, in lower case."""
    named = [value for name, value in fields if name == "connection"]
    return {token.strip().lower() for value in named for token in value.split(",")}


def _body_length(status: int, told: list[tuple[str, str]]) -> tuple[int | None, bool]:
    """Return the announced length, and whether the body is chunked (RFC 9112, 6.3)."""
    if len(told) > 1:
        raise _malformed(f"two ways to find its end: {told}")
    name, value = told[0] if told else ("", "")
    if name == "transfer-encoding" and value != "chunked":
        raise _malformed(f"a transfer coding {value!r}")
    if name == "content-length" and not _LENGTH.fullmatch(value):
        raise _malformed(f"a length {value!r}")
    if status < 200 or status in {204, 304}:
        return 0, False
    return (int(value) if name == "content-length" else None), name == "transfer-encoding"


def _malformed(what: str) -> UpstreamError:
    return UpstreamError(f"The replica's answer is not HTTP: it has {what}.")
