"""What does the head of a request say (parser), and how is the head of an answer written (encoder)?

The parser takes what RFC 9112 allows outright and refuses everything else: two programs that read one
head in two ways is how requests are smuggled. It is stricter than llhttp in every place, so whatever it
lets pass aiohttp reads the same way.

    a request line `METHOD target HTTP/1.0` or `HTTP/1.1`, methods as llhttp knows them but CONNECT,
    a target that is a path or an `http://` or `https://` URL, of visible ASCII characters only
    at most 128 fields of at most 8,190 bytes, each `name: value` with a token for a name
    lines end with CRLF, and no other CR, LF, NUL or control character is in them
    fields that mean one thing come once (Host, Content-Length, Content-Type, …)
    Host is there in HTTP/1.1
    the body ends by Content-Length (digits only) or by `Transfer-Encoding: chunked`, never by both
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from ipaddress import IPv6Address

from multidict import CIMultiDict, CIMultiDictProxy

from relayd.errors import RequestError
from relayd.units import KIB

HEAD_BYTES = 40 * KIB
"""The longest head that is waited for; what its fields may hold is limited by `check_framing`."""

LINE_BYTES = 8190
FIELDS = 128

_LINE = re.compile(rb"([A-Z-]{1,16}) ([\x21-\x7e]+) HTTP/([0-9])\.([0-9])")
_TARGET = re.compile(
    rb"https?://(?:\[([0-9A-Fa-f:.]+)\]|[A-Za-z0-9._-]+)(?::([0-9]{1,5}))?(?:[/?].*)?", re.IGNORECASE
)
_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_CONTROL = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_LENGTH = re.compile(r"[0-9]{1,19}")

_METHODS = frozenset(
    b"GET HEAD POST PUT DELETE CONNECT OPTIONS TRACE PATCH COPY LOCK MKCOL MOVE PROPFIND PROPPATCH SEARCH "
    b"UNLOCK BIND REBIND UNBIND ACL REPORT MKACTIVITY CHECKOUT MERGE M-SEARCH NOTIFY SUBSCRIBE UNSUBSCRIBE "
    b"PURGE MKCALENDAR LINK UNLINK QUERY SOURCE".split()
)

_ONCE = frozenset(
    b"content-length content-location content-range content-type etag host max-forwards server "
    b"transfer-encoding user-agent".split()
)
"""Names that aiohttp refuses to see twice."""

MALFORMED = RequestError(
    "The request is not well-formed HTTP/1.1.",
    remedy="Check the request line, the header fields and the framing.",
)


@dataclass(frozen=True, slots=True)
class Presented:
    """What a door judges of a request: its head, and between whom.

    Attributes:
        method: In upper case.
        target: As it came.
        version: Of HTTP.
        headers: Its fields.
        field_bytes: Bytes of all fields.
        arrived_at: The local address of its connection.
        peer: The client's address.
        secure: Whether the connection is encrypted.
    """

    method: str
    target: str
    version: tuple[int, int]
    headers: CIMultiDictProxy[str]
    field_bytes: int
    arrived_at: str
    peer: str
    secure: bool = False


@dataclass(frozen=True, slots=True)
class RequestHead:
    """The head of a request, checked.

    Attributes:
        method: In upper case.
        target: As it came.
        version: (1, 0) or (1, 1).
        headers: Every field, in order.
        field_bytes: Bytes of all fields.
        length: Bytes of the body; None when it comes in chunks.
        keep_alive: Whether the client may send another request on this connection.
        expects: It waits for `100 Continue` before it sends the body.
        is_json: It declares its body as JSON, and as nothing else.
        is_newest: It is of HTTP/1.1, so that its sender reads chunks.
    """

    method: str
    target: str
    version: tuple[int, int]
    headers: CIMultiDictProxy[str]
    field_bytes: int
    length: int | None
    keep_alive: bool
    expects: bool
    is_json: bool = False
    is_newest: bool = True

    def presented(self, arrived_at: str, peer: str, *, secure: bool = False) -> Presented:
        """Return what a door judges of it, between which two addresses it came, and whether encrypted."""
        return Presented(
            self.method, self.target, self.version, self.headers, self.field_bytes, arrived_at, peer, secure
        )


def parse_request(raw: bytes) -> RequestHead:
    """Read a request head, from its request line to before its empty line.

    Raises:
        RequestError: It is not HTTP/1.1 to the letter.
    """
    first, *lines = raw.split(b"\r\n")
    line = _LINE.fullmatch(first)
    if line is None or line[1] not in _METHODS or len(first) > LINE_BYTES or len(lines) > FIELDS:
        raise MALFORMED
    if line[1] == b"CONNECT" or not _is_target(line[2]):
        raise MALFORMED
    if _CONTROL.search(raw) or raw.count(b"\r") != len(lines) or raw.count(b"\n") != len(lines):
        raise MALFORMED
    version = (int(line[3]), int(line[4]))
    if version not in {(1, 0), (1, 1)}:
        raise MALFORMED
    headers = _fields(lines)
    if version == (1, 1) and "Host" not in headers:
        raise MALFORMED
    target = line[2].decode("utf-8", "surrogateescape")
    length = _body_length(headers, version)
    connection = ",".join(headers.getall("Connection", ())).lower()
    named = {token.strip() for token in connection.split(",")} if connection else frozenset()
    keep_alive = "close" not in named and (version == (1, 1) or "keep-alive" in named)
    expects = version == (1, 1) and headers.get("Expect", "").lower() == "100-continue"
    field_bytes = len(raw) - len(first)
    is_json = headers.get("Content-Type") == "application/json" and "Content-Encoding" not in headers
    return RequestHead(
        line[1].decode(), target, version, headers, field_bytes, length, keep_alive, expects, is_json,
        version == (1, 1),
    )  # fmt: skip


def _is_target(text: bytes) -> bool:
    """Return whether a target is a path, or a URL of a host and a port that there can be."""
    if text[0] == ord("/"):
        return True
    match = _TARGET.fullmatch(text)
    if match is None or int(match[2] or 0) > 65535:
        return False
    return match[1] is None or _is_ipv6(match[1].decode())


def _is_ipv6(text: str) -> bool:
    try:
        IPv6Address(text)
    except ValueError:
        return False
    return True


def is_hopeless(begun: bytes | bytearray) -> bool:
    """Return whether the beginning of a head can never become one that is well-formed."""
    if len(begun) > HEAD_BYTES or begun.count(b"\n") != begun.count(b"\r\n"):
        return True
    return bool(begun) and not ord("A") <= begun[0] <= ord("Z")


def _fields(lines: list[bytes]) -> CIMultiDictProxy[str]:
    headers: CIMultiDict[str] = CIMultiDict()
    seen = set()
    for line in lines:
        name, colon, value = line.partition(b":")
        if not colon or not _NAME.fullmatch(name) or len(line) > LINE_BYTES:
            raise MALFORMED
        lowered = name.lower()
        if lowered in _ONCE:
            if lowered in seen:
                raise MALFORMED
            seen.add(lowered)
        headers.add(name.decode(), value.strip(b" \t").decode("utf-8", "surrogateescape"))
    return CIMultiDictProxy(headers)


def _body_length(headers: CIMultiDictProxy[str], version: tuple[int, int]) -> int | None:
    length, coding = headers.get("Content-Length"), headers.get("Transfer-Encoding")
    if coding is not None:
        if length is not None or coding.lower() != "chunked" or version == (1, 0):
            raise MALFORMED
        return None
    if length is None:
        return 0
    if not _LENGTH.fullmatch(length):
        raise MALFORMED
    return int(length)


def encode_answer(
    status: int,
    fields: Iterable[tuple[str, str]],
    date: str,
    *,
    keep_alive: bool,
    version: tuple[int, int] = (1, 1),
) -> bytes:
    """Return the head of an answer, its empty line included.

    Args:
        status: HTTP status.
        fields: What it carries; names and values without line ends.
        date: The value of `Date`.
        keep_alive: Whether the connection may carry another request.
        version: Of the client.
    """
    lines = [_status_line(status, version), *map(": ".join, fields), f"Date: {date}"]
    if not keep_alive and version == (1, 1):
        lines.append("Connection: close")
    elif keep_alive and version == (1, 0):
        lines.append("Connection: keep-alive")
    lines.append("\r\n")
    return "\r\n".join(lines).encode("utf-8", "surrogateescape")


def encode_known(fields: Iterable[tuple[str, str]], varies: str) -> bytes:
    """Return the heads of answers (200) that share their fields and keep their connection, as one template.

    It has `%b` in place of each value that differs: the request's id, the length if there is one, the date.

    Args:
        fields: What they carry.
        varies: Stands for a value that differs.
    """
    head = encode_answer(200, fields, varies, keep_alive=True)
    return head.replace(b"%", b"%%").replace(varies.encode(), b"%b")


@lru_cache(maxsize=4)
def http_date(seconds: float) -> str:
    """Return a time of day (seconds since 1970) as HTTP writes it."""
    return formatdate(seconds, usegmt=True)


@lru_cache(maxsize=64)
def _status_line(status: int, version: tuple[int, int]) -> str:
    phrase = HTTPStatus(status).phrase if status in _STATUSES else ""
    return f"HTTP/{version[0]}.{version[1]} {status} {phrase}"


_STATUSES = frozenset(HTTPStatus)
