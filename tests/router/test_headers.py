"""What passes between relayd and a replica, and what does not?"""

from pathlib import Path

import pytest

from relayd.endpoint import Address, Endpoint, TcpAddress, UnixAddress
from relayd.errors import UpstreamError
from relayd.router.framing import Chunked, Counted, UntilClose
from relayd.router.headers import Call, parse_head
from relayd.secret import Secret

pytestmark = pytest.mark.pure

OK = b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize(
    ("address", "host"), [(UnixAddress(Path("/r/a.sock")), "localhost"), (TcpAddress(8100), "127.0.0.1:8100")]
)
def test_r18_a_request_names_the_replica_and_brings_its_key(address: Address, host: str) -> None:
    head = Call("/v1/embeddings", b"{}").head(Endpoint(address, Secret("k"), "m#0", 1))

    assert (
        f"POST /v1/embeddings HTTP/1.1\r\nHost: {host}\r\nConnection: keep-alive\r\n"
        "Authorization: Bearer k\r\nAccept: */*\r\n"
        "Content-Type: application/json\r\nContent-Length: 2\r\n\r\n"
    ).encode() == head


@pytest.mark.parametrize("evil", ["a\r\nX: 1", "a\nb", "a\x00", "ä"])
def test_a_content_type_cannot_bring_a_header_along(evil: str) -> None:
    with pytest.raises(ValueError, match="line"):
        Call("/", b"", content_type=evil).head(Endpoint(TcpAddress(1), Secret("k"), "m#0", 1))


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        (b"Content-Length: 5", Counted),
        (b"transfer-encoding: chunked", Chunked),
        (b"Content-Type: text/plain", UntilClose),
    ],
)
def test_the_head_tells_how_the_body_ends(fields: bytes, kind: type) -> None:
    assert type(parse_head(OK + fields).framing()) is kind


@pytest.mark.parametrize("status", [b"204 No Content", b"304 Not Modified", b"100 Continue"])
def test_some_statuses_have_no_body(status: bytes) -> None:
    assert parse_head(b"HTTP/1.1 " + status + b"\r\nTransfer-Encoding: chunked").framing().over


@pytest.mark.parametrize(
    ("raw", "keep_alive"),
    [
        (b"HTTP/1.1 200 OK\r\nA: b", True),
        (b"HTTP/1.1 200\r\nConnection: Keep-Alive", True),
        (b"HTTP/1.1 200 OK\r\nConnection: Close", False),
        (b"HTTP/1.0 200 OK\r\nConnection: keep-alive", False),
    ],
)
def test_the_head_tells_whether_its_connection_lives_on(raw: bytes, keep_alive: bool) -> None:
    assert parse_head(raw).keep_alive is keep_alive


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"nonsense",
        b"HTTP/2 200 OK",
        b"HTTP/1.1 099 Low",
        b"HTTP/1.1 600 High",
        b"HTTP/1.1 20 Short",
        b"HTTP/1.1 200 O\x00K",
        b"ICY 200 OK",
        OK + b"no colon",
        OK + b": no name",
        OK + b"space : a",
        OK + b" folded: a",
        OK + b"A: b\r\n folded",
        OK + b"A: \x00",
        OK + b"A: \xff",
        OK + b"A: b\nInjected: c",
        OK + b"A: b\rInjected: c",
        OK + b"\r\n".join(b"A: b" for _ in range(129)),
        OK + b"Content-Length: 1\r\nContent-Length: 2",
        OK + b"Content-Length: 1\r\nTransfer-Encoding: chunked",
        OK + b"Transfer-Encoding: gzip, chunked",
        OK + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        OK + b"Transfer-Encoding: xchunked",
        OK + b"Content-Length: -1",
        OK + b"Content-Length: +1",
        OK + b"Content-Length: 1, 1",
        OK + b"Content-Length: 0x1",
        OK + b"Content-Length: ",
        OK + b"Content-Length: 9999999999999999999",
        b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked",
    ],
)
def test_r25_a_head_that_leaves_doubt_is_refused(raw: bytes) -> None:
    with pytest.raises(UpstreamError):
        parse_head(raw)
