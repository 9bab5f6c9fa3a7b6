"""Raw HTTP that is wrong, strange or slow: what is written to a connection, piece by piece."""

from collections.abc import Iterator
from dataclasses import dataclass

from tests.attack.case import CHAT, request

_BODY = request(CHAT, "tiny", {})
_PLAIN = b"Host: 127.0.0.1\r\nContent-Type: application/json\r\n"
_SMUGGLED = b"GET /healthz?smuggled HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"


_LINES = r"""
GET /healthz
GET

GET /healthz HTTP/0.9
GET /healthz HTTP/1.2
GET /healthz HTTP/2.0
GET /healthz HTTP/1.1 x
GET  /healthz HTTP/1.1
GET\t/healthz\tHTTP/1.1
get /healthz HTTP/1.1
GET /healthz http/1.1
GET /healthz HTTP/11
GET /healthz HTTP/1.1\x00
GET /health\x00z HTTP/1.1
GET http://127.0.0.1/healthz HTTP/1.1
GET http://example.org/healthz HTTP/1.1
GET * HTTP/1.1
OPTIONS * HTTP/1.1
CONNECT 127.0.0.1:22 HTTP/1.1
TRACE /healthz HTTP/1.1
PRI * HTTP/2.0
DELETE /v1/models/tiny HTTP/1.1
PUT /healthz HTTP/1.1
HEAD /v1/models HTTP/1.1
SSH-2.0-x
GET //healthz HTTP/1.1
GET /./healthz HTTP/1.1
GET /v1/../healthz HTTP/1.1
GET /v1/models/%2e%2e/tiny HTTP/1.1
GET /v1/models/..%2f..%2fetc HTTP/1.1
GET /%00 HTTP/1.1
GET /v1/models/%zz HTTP/1.1
GET /v1/models/%ff HTTP/1.1
GET /v1/models/\xff HTTP/1.1
GET /healthz#a HTTP/1.1
GET healthz HTTP/1.1
G\xc3\x89T / HTTP/1.1
GET /slots HTTP/1.1
GET /props HTTP/1.1
GET /tools HTTP/1.1
POST /slots/0?action=erase HTTP/1.1
"""
"""Request lines, one a line, bytes as Python escapes them."""

_HEADERS = r"""
Expect: 100-continue
Expect: 200-ok
Upgrade: websocket\r\nConnection: Upgrade
Upgrade: h2c
Connection: close, keep-alive
Connection: Host
Connection: Content-Length
TE: trailers
Content-Encoding: gzip
Content-Encoding: gzip\r\nContent-Encoding: identity
Content-Encoding: br
Content-Encoding: identity\r\nContent-Encoding: identity
Content-Type: text/plain
Content-Type:
Content-Type: application/json; charset=utf-16
Content-Type: multipart/form-data; boundary=x
Origin: null
Origin: http://example.org
Origin: app://x
Origin: \xff
Origin: a\r\nOrigin: b
Sec-Fetch-Site: cross-site
Sec-Fetch-Site: same-origin\r\nSec-Fetch-Site: cross-site
Authorization: Bearer a\r\nAuthorization: Bearer b
Authorization: \xff
X-Request-ID: a\tb
X-Request-ID: a\r\nX-Request-ID: b
X-Request-ID:
X-Forwarded-For: 1.2.3.4
Forwarded: for=_x
Range: bytes=0-1
If-None-Match: *
Accept: text/html
X-Request-Timeout: -1
X-Request-Timeout: 1e999
Accept-Encoding: gzip;q=9
Proxy-Connection: close
"""
"""Headers of a request that is in order otherwise; one a line."""


@dataclass(frozen=True, slots=True)
class Pause:
    """Seconds in which nothing is sent."""

    seconds: float


@dataclass(frozen=True, slots=True)
class HalfClose:
    """The client sends no more, and reads on."""


Step = bytes | Pause | HalfClose


@dataclass(frozen=True, slots=True)
class Form:
    """A connection.

    Attributes:
        kind: The family of attacks it is from.
        name: What is special in it.
        steps: What is done.
        answers: How many answers it may get at most: one more, and a request was smuggled.
        refused_from: The lowest status that is a refusal of it; 0 where it may be served.
    """

    kind: str
    name: str
    steps: tuple[Step, ...]
    answers: int = 1
    refused_from: int = 0


def _spelled(lines: str) -> list[bytes]:
    return [
        line.encode("latin-1").decode("unicode_escape").encode("latin-1") for line in lines.split("\n")[1:-1]
    ]


def _post(head: bytes, body: bytes = _BODY, *, length: bool = True) -> bytes:
    size = b"Content-Length: %d\r\n" % len(body) if length else b""
    return b"POST " + CHAT.encode() + b" HTTP/1.1\r\n" + _PLAIN + head + size + b"\r\n" + body


def _chunked(chunks: bytes, head: bytes = b"Transfer-Encoding: chunked\r\n") -> bytes:
    return _post(head, chunks, length=False)


def _get(line: bytes, head: bytes = b"Host: 127.0.0.1\r\n") -> bytes:
    return line + b"\r\n" + head + b"\r\n"


def forms() -> Iterator[Form]:
    """Yield every form."""
    yield from (Form("lengths", name, (sent,)) for name, sent in _lengths().items())
    yield from (Form("chunks", name, (sent,)) for name, sent in _chunks().items())
    yield from (Form("heads", name, (sent,)) for name, sent in _heads().items())
    yield from (Form("lines", name, (sent,)) for name, sent in _lines().items())
    yield from (Form("headers", name, (_post(head),)) for name, head in _headers().items())
    yield from _connections()
    yield from _slow()


def _lengths() -> dict[str, bytes]:
    """Return requests whose body has no length, or two: what follows it must never be a request."""
    size = len(_BODY)
    values = {
        "a plus": b"+%d",
        "a minus": b"-%d",
        "hexadecimal": b"0x%x",
        "a comma": b"%d, 5",
        "words": b"%d a",
        "an underscore": b"1_%d",
        "quotes": b'"%d"',
        "a dot": b"%d.0",
        "an exponent": b"%de0",
    }
    made = {
        f"a length with {name}": _post(b"Content-Length: " + value % size + b"\r\n", length=False) + _SMUGGLED
        for name, value in values.items()
    }
    both = b"Transfer-Encoding: chunked\r\nContent-Length: %d\r\n"
    return made | {
        "an empty length": _post(b"Content-Length:\r\n", length=False) + _SMUGGLED,
        "a length of 400 digits": _post(b"Content-Length: " + b"9" * 400 + b"\r\n", length=False),
        "a length beyond 64 bits": _post(b"Content-Length: 18446744073709551617\r\n", length=False),
        "a length with zeros before it": _post(b"Content-Length: 0000%d\r\n" % size, length=False),
        "a negative zero": _post(b"Content-Length: -0\r\n", length=False) + _SMUGGLED,
        "two lengths": _post(b"Content-Length: 7\r\n") + _SMUGGLED,
        "two equal lengths": _post(b"Content-Length: %d\r\n" % size) + _SMUGGLED,
        "a length in a list, equal": _post(b"Content-Length: %d, %d\r\n" % (size, size), length=False),
        "no length": _post(b"", length=False) + _SMUGGLED,
        "a length and chunks": _post(both % 5, b"0\r\n\r\n", length=False) + _SMUGGLED,
        "a length and chunks, long": _post(both % 500, b"0\r\n\r\n", length=False) + _SMUGGLED,
        "a length that is too short": _post(b"Content-Length: 10\r\n", length=False) + _SMUGGLED,
        "a length with a blank before the colon": _post(b"Content-Length : %d\r\n" % size, length=False),
        "a length on a folded line": _post(b"Content-Length:\r\n %d\r\n" % size, length=False),
        "a length in an Arabic digit": _post("Content-Length: \u0665\r\n".encode(), length=False),
    }


def _chunks() -> dict[str, bytes]:
    size = b"%x\r\n" % len(_BODY)
    end = b"\r\n0\r\n\r\n"
    codings = (
        *(
            b"chunked, identity",
            b"identity, chunked",
            b"identity",
            b"xchunked",
            b"chunked, chunked",
            b"gzip, chunked",
        ),
        *(b"CHUNKED", b"\x0bchunked", b"chunked\x00", b'"chunked"', b"chunked;q=1", b" chunked ", b""),
    )
    made = {
        f"coding {coding!r}": _chunked(size + _BODY + end, b"Transfer-Encoding: " + coding + b"\r\n")
        + (b"" if coding.strip(b" \t").lower() == b"chunked" else _SMUGGLED)  # another request may follow
        for coding in codings
    }
    sizes = {
        "a blank": b"%x \r\n",
        "a tab": b"\t%x\r\n",
        "0x": b"0x%x\r\n",
        "a plus": b"+%x\r\n",
        "a minus": b"-%x\r\n",
        "capitals": b"%X\r\n",
        "zeros": b"000000000000000000%x\r\n",
        "a NUL": b"%x\0\r\n",
        "LF alone": b"%x\n",
        "CR alone": b"%x\r",
        "an extension": b"%x;a=b\r\n",
        "a quoted one": b'%x;a="b;c\\""\r\n',
        "an extension with LF": b"%x;a\nb\r\n",
        "a long one": b"%x;" + b"a" * 40_000 + b"\r\n",
    }
    for name, form in sizes.items():
        made[f"a chunk size with {name}"] = _chunked((form % len(_BODY)) + _BODY + end)
    return made | {
        "a chunk size beyond 64 bits": _chunked(b"10000000000000005\r\n" + _BODY + end),
        "a chunk of 2^63": _chunked(b"7fffffffffffffff\r\n" + _BODY),
        "a chunk size of no digits": _chunked(b"\r\n" + _BODY + end),
        "a chunk size of letters": _chunked(b"zz\r\n" + _BODY + end),
        "a chunk without its CRLF": _chunked(size + _BODY + b"0\r\n\r\n"),
        "a chunk that is too short": _chunked(b"5\r\n" + _BODY + end),
        "a chunk of one byte each": _chunked(
            b"".join(b"1\r\n%c\r\n" % byte for byte in _BODY) + b"0\r\n\r\n"
        ),
        "100,000 empty extensions": _chunked(size[:-2] + b";" * 100_000 + b"\r\n" + _BODY + end),
        "two codings": _chunked(size + _BODY + end, b"Transfer-Encoding: chunked\r\n" * 2),
        "trailers": _chunked(size + _BODY + b"\r\n0\r\nX-A: b\r\n\r\n"),
        "a length in the trailers": _chunked(size + _BODY + b"\r\n0\r\nContent-Length: 5\r\n\r\n"),
        "10,000 trailers": _chunked(size + _BODY + b"\r\n0\r\n" + b"X-A: b\r\n" * 10_000 + b"\r\n"),
        "a trailer without colon": _chunked(size + _BODY + b"\r\n0\r\nnonsense\r\n\r\n"),
        "HTTP/1.0 with chunks": _chunked(size + _BODY + end).replace(b"HTTP/1.1", b"HTTP/1.0", 1),
        "chunks and a smuggled end": _chunked(b"0\r\n\r\n"),
    }


def _heads() -> dict[str, bytes]:
    host = b"Host: 127.0.0.1\r\n"
    wrong = {
        "no host": b"X: y\r\n",
        "two hosts": host * 2,
        "another host": b"Host: example.org\r\n",
        "a host with a user": b"Host: a@127.0.0.1\r\n",
        "a host with a path": b"Host: 127.0.0.1/healthz\r\n",
        "an empty host": b"Host:\r\n",
        "a host of 10,000": b"Host: " + b"a" * 10_000 + b"\r\n",
        "a blank in a name": host + b"X Y: z\r\n",
        "a blank before the colon": host + b"X : z\r\n",
        "a blank before a name": b" X: z\r\n" + host,
        "a folded line": host + b"X: y\r\n z\r\n",
        "a line without colon": host + b"nonsense\r\n",
        "an empty name": host + b": y\r\n",
        "a NUL in a value": host + b"X: a\0b\r\n",
        "a NUL in a name": host + b"X\0: a\r\n",
        "a CR in a value": host + b"X: a\rb\r\n",
        "LF alone": host.replace(b"\r\n", b"\n"),
        "control characters": host + b"X: " + bytes(range(1, 9)) + b"\r\n",
        "bytes above 127": host + b"X: " + bytes(range(128, 256)) + b"\r\n",
        "a name of UTF-8": host + "\u00e9: y\r\n".encode(),
        "a name of 100,000": host + b"X" * 100_000 + b": y\r\n",
        "a value of 100,000": host + b"X: " + b"y" * 100_000 + b"\r\n",
        "a value of 10 MB": host + b"X: " + b"y" * 10_000_000 + b"\r\n",
        "10,000 headers": host + b"".join(b"X%d: y\r\n" % n for n in range(10_000)),
        "10,000 equal headers": host + b"X: y\r\n" * 10_000,
        "200 cookies": host + b"Cookie: a=b\r\n" * 200,
    }
    return {name: _get(b"GET /healthz HTTP/1.1", head) for name, head in wrong.items()}


def _lines() -> dict[str, bytes]:
    lines = (
        *_spelled(_LINES),
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200),
        bytes(range(256)) * 4,
        b"GET /healthz?" + b"a" * 100_000 + b" HTTP/1.1",
        b"GET /" + b"a/" * 20_000 + b" HTTP/1.1",
        b"A" * 100_000 + b" / HTTP/1.1",
    )
    return {f"line {line!r:.60}": _get(line) for line in lines}


def _headers() -> dict[str, bytes]:
    """Return headers of a request that is in order otherwise."""
    lines = (
        *_spelled(_HEADERS),
        b"Authorization: " + b"a" * 20_000,
        b"X-Request-ID: " + b"a" * 20_000,
    )
    return {f"header {line!r:.60}": line + b"\r\n" for line in lines}


def _connections() -> Iterator[Form]:
    get, post = _get(b"GET /healthz HTTP/1.1"), _post(b"")
    yield Form("pipelines", "two requests", (post + get,), 2)
    yield Form("pipelines", "100 requests", (get * 100,), 100)
    yield Form("pipelines", "30 completions", (post * 30,), 30)
    yield Form("pipelines", "a fault, then a request", (_get(b"GET") + get,))
    yield Form("pipelines", "a request, then noise", (get + bytes(range(256)),), 2)
    yield Form("pipelines", "after Connection: close", (_post(b"Connection: close\r\n") + get,))
    yield Form(
        "pipelines",
        "a GET with a body",
        (_get(b"GET /healthz HTTP/1.1", _PLAIN + b"Content-Length: 5\r\n") + b"abcde",),
    )
    yield Form("pipelines", "blank lines before it", (b"\r\n" * 1_000 + get,))
    yield Form("half-close", "after a request", (post, HalfClose()))
    yield Form("half-close", "after a stream", (_post(b"", _BODY[:-1] + b',"stream":true}'), HalfClose()))
    yield Form("half-close", "after a head", (post[: -len(_BODY)], HalfClose()))
    yield Form("half-close", "in a body", (post[:-10], HalfClose()))
    yield Form("half-close", "in a chunk", (_chunked(b"ff\r\nabc"), HalfClose()))
    yield Form("half-close", "at once", (HalfClose(),))


def _slow() -> Iterator[Form]:
    post = _post(b"")
    bytewise = [step for byte in post for step in (bytes([byte]), Pause(0.002))]
    yield Form("slow", "byte by byte", tuple(bytewise))
    yield Form("slow", "the body late", (post[:-20], Pause(1), post[-20:]))
    yield Form("slow", "a head without end", (post[:40], Pause(8)))
    yield Form("slow", "a body without end", (post[:-20], Pause(8)))
    lines = tuple(step for _ in range(60) for step in (b"X: y\r\n", Pause(0.1)))
    yield Form("slow", "a head that grows", (b"GET /healthz HTTP/1.1\r\n", *lines))
    yield Form("slow", "chunks that never end", (_chunked(b"5\r\nabcde\r\n"), Pause(8)))
    yield Form("slow", "nothing", (Pause(8),))
