"""Which request does a stream of a link carry, and may the node's replicas get it (pure)?

The hub's router writes HTTP/1.1 as it would to a replica: a request line, a few fields, a body of a declared
length. Only what a replica answers passes, by method and path; what the hub sends beside that is dropped.
"""

import re
from collections.abc import Mapping

import msgspec

from relayd.endpoint import Endpoint
from relayd.errors import LinkError, RequestError
from relayd.profile import LOCAL
from relayd.router import Call
from relayd.router.body import peek
from relayd.router.llamaserver import LLAMA_SERVER
from relayd.units import KIB

_HEAD_BYTES = 32 * KIB
_LINE = re.compile(rb"(GET|POST) (/[\x21-\x7e]{0,255}) HTTP/1\.1")
_FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\t\x20-\x7e]*?)[ \t]*")
_CHOICES = re.compile(rb'"n(?:_cmpl)?"')
_LENGTH = re.compile(r"[0-9]{1,12}")

BESIDE = frozenset({
    "/tokenize", "/detokenize", "/apply-template", "/v1/messages/count_tokens",
    "/chat/completions/input_tokens", "/v1/chat/completions/input_tokens", "/responses/input_tokens",
    "/v1/responses/input_tokens",
})  # fmt: skip
"""Paths of POST requests that a replica answers without a slot."""

READ = frozenset({"/props", "/slots", "/metrics", "/lora-adapters", "/health", "/v1/models"})
"""Paths of GET requests that pass, likewise without a slot."""

PASSING_FIELDS = frozenset({"x-request-id", "traceparent", "anthropic-version", "anthropic-beta"})
"""Of the hub's head, what a server gets too that relayd has not started."""


class _Streamed(msgspec.Struct):
    stream: bool | None = False


_is_streamed = msgspec.json.Decoder(_Streamed).decode


class LinkRequest(msgspec.Struct, frozen=True):
    """A request of the hub, complete.

    Attributes:
        method: GET or POST.
        path: Of the replica, one that passes.
        body: As it came.
        content_type: Of the body.
        fields: Those that pass to servers which relayd has not started.
    """

    method: str
    path: str
    body: bytes
    content_type: str
    fields: tuple[tuple[str, str], ...] = ()

    @property
    def request_id(self) -> str:
        """The id that the hub's client has; empty without one."""
        return next((value for name, value in self.fields if name == "x-request-id"), "")

    @property
    def is_beside(self) -> bool:
        """Whether it takes no slot."""
        return self.method == "GET" or self.path in BESIDE

    @property
    def is_stream(self) -> bool:
        """Whether its answer comes as events."""
        return self.method == "POST" and _asks_for_stream(self.body)

    @property
    def width(self) -> int:
        """Slots that it takes at a replica: its choices, times its prompts."""
        rules = LLAMA_SERVER.get(self.path)
        if rules is None or not (rules.prompts or _CHOICES.search(self.body)):
            return 1
        try:
            return max(1, peek(self.body, rules).width)
        except RequestError:
            return 1  # who answers it refuses it

    def call(self, endpoint: Endpoint) -> Call:
        """Return what the replica gets."""
        return Call(
            self.path,
            self.body,
            stream=self.is_stream,
            content_type=self.content_type or "application/json",
            method=self.method,
            fields=() if endpoint.profile is LOCAL else self.fields,
        )


def _asks_for_stream(body: bytes) -> bool:
    try:
        return bool(_is_streamed(body).stream)
    except msgspec.DecodeError:
        return False


class RequestReader:
    """Reads one request from the bytes of a stream.

    Args:
        most_bytes: The longest body.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._buffer = bytearray()
        self._head: tuple[str, str, Mapping[str, str], int] | None = None

    def __repr__(self) -> str:
        return f"<RequestReader {len(self._buffer)} bytes>"

    def feed(self, data: bytes) -> LinkRequest | None:
        """Take bytes, and return the request once it is complete; what comes behind it is not read.

        Raises:
            LinkError: It is malformed, too long, or of a path that does not pass.
        """
        self._buffer += data
        if self._head is None:
            raw, found, rest = bytes(self._buffer).partition(b"\r\n\r\n")
            if not found:
                if len(raw) > _HEAD_BYTES:
                    raise LinkError(f"the head of a request is longer than {_HEAD_BYTES} bytes")
                return None
            self._head = _read(raw)
            if self._head[3] > self._most_bytes:
                raise LinkError(f"a body of {self._head[3]} bytes; this node takes {self._most_bytes}")
            self._buffer = bytearray(rest)
        method, path, fields, length = self._head
        if len(self._buffer) < length:
            return None
        passing = tuple((name, value) for name, value in fields.items() if name in PASSING_FIELDS)
        return LinkRequest(
            method, path, bytes(self._buffer[:length]), fields.get("content-type", ""), passing
        )


def _read(raw: bytes) -> tuple[str, str, Mapping[str, str], int]:
    """Return method, path, fields and length of a request's head."""
    first, *lines = raw.split(b"\r\n")
    line = _LINE.fullmatch(first)
    if line is None:
        raise LinkError(f"a request line {first[:60]!r}")
    method, path = line[1].decode(), line[2].decode()
    bare = path.partition("?")[0]
    if not (bare in READ if method == "GET" else bare in BESIDE or bare in LLAMA_SERVER):
        raise LinkError(f"this node passes no {method} {bare} on")
    fields: dict[str, str] = {}
    for one in lines:
        field = _FIELD.fullmatch(one)
        if field is None or field[1].decode().lower() in fields:
            raise LinkError(f"a header field {one[:40]!r}")
        fields[field[1].decode().lower()] = field[2].decode()
    length = fields.get("content-length", "0")
    if "transfer-encoding" in fields or not _LENGTH.fullmatch(length):
        raise LinkError("the body of a request has no plain length")
    return method, path, fields, int(length)
