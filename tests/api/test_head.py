"""Is a head read to the letter or not at all, and is an answer's head what aiohttp would have written?"""

import asyncio
import warnings

import pytest
from aiohttp.http_parser import HttpRequestParser
from hypothesis import given, settings
from hypothesis import strategies as st

from relayd.api.head import FIELDS, encode_answer, http_date, is_hopeless, parse_request
from relayd.errors import RequestError

pytestmark = pytest.mark.pure

HOST = b"Host: localhost"


def head(*lines: bytes, first: bytes = b"GET /healthz HTTP/1.1") -> bytes:
    return b"\r\n".join([first, *lines])


def is_malformed(raw: bytes) -> bool:
    try:
        parse_request(raw)
    except RequestError:
        return True
    return False


def test_a_head_is_read_as_it_came() -> None:
    read = parse_request(head(HOST, b"X-A:  b c\t", b"x-a: d", first=b"POST /v1/x?y=%20 HTTP/1.1"))

    assert ("POST", "/v1/x?y=%20", (1, 1)) == (read.method, read.target, read.version)
    assert [("Host", "localhost"), ("X-A", "b c"), ("x-a", "d")] == list(read.headers.items())
    assert (0, True, False) == (read.length, read.keep_alive, read.expects)


@pytest.mark.parametrize(
    ("version", "fields", "keeps"),
    [
        (b"1.1", [], True),
        (b"1.1", [b"Connection: close"], False),
        (b"1.1", [b"Connection: x, Close"], False),
        (b"1.1", [b"Connection: x", b"Connection: close"], False),
        (b"1.0", [], False),
        (b"1.0", [b"Connection: keep-alive"], True),
        (b"1.0", [b"Connection: keep-alive, close"], False),
    ],
)
def test_a_connection_is_kept_as_its_client_asks(version: bytes, fields: list[bytes], keeps: bool) -> None:
    assert keeps == parse_request(head(HOST, *fields, first=b"GET / HTTP/" + version)).keep_alive


@pytest.mark.parametrize(
    ("fields", "length"),
    [([], 0), ([b"Content-Length: 12"], 12), ([b"Transfer-Encoding: Chunked"], None)],
)
def test_the_end_of_a_body_is_known_from_the_head(fields: list[bytes], length: int | None) -> None:
    assert length == parse_request(head(HOST, *fields)).length


@pytest.mark.parametrize(
    "line",
    [
        b"", b" folded: x", b"Name : x", b": x", b"Name", b"Na me: x", b"X: a\x00b", b"X: a\rb", b"X: a\nb",
        b"X: a\x7fb", b"X: " + b"a" * 8190, b"Host: again", b"Content-Length: +1", b"Content-Length: 1, 1",
        b"Content-Length: 0x1", b"Content-Length: ", b"Content-Length: " + b"9" * 20,
        b"Transfer-Encoding: gzip, chunked", b"Transfer-Encoding: xchunked",
        b"Transfer-Encoding: chunked, chunked",
        b"Transfer-Encoding: chunked\r\nContent-Length: 1", b"Content-Length: 1\r\nContent-Length: 1",
        b"Content-Type: a\r\nContent-Type: a", b"X: a\r\n" * FIELDS + b"X: a",
    ],
)  # fmt: skip
def test_a_field_that_is_not_to_the_letter_is_malformed(line: bytes) -> None:
    assert is_malformed(head(HOST, line))


@pytest.mark.parametrize(
    "first",
    [
        b"", b"GET", b"GET /", b"GET  / HTTP/1.1", b"GET / HTTP/1.1 ", b" GET / HTTP/1.1", b"get / HTTP/1.1",
        b"FOO / HTTP/1.1", b"GET / HTTP/1.2", b"GET / HTTP/2.0", b"GET / http/1.1", b"GET /a b HTTP/1.1",
        b"GET /\x00 HTTP/1.1", b"GET /\t HTTP/1.1", b"GET * HTTP/1.1", b"GET a HTTP/1.1",
        b"CONNECT a:1 HTTP/1.1", b"CONNECT / HTTP/1.1", b"GET http:///x HTTP/1.1", b"GET ftp://a/ HTTP/1.1",
        b"GET http://[::1/ HTTP/1.1", b"GET http://a@b/ HTTP/1.1",
        b"GET /v1/models/\xff HTTP/1.1", b"GET /?\xc3\xa9 HTTP/1.1", b"GET /#\x80 HTTP/1.1",
        b"GET http://a/\x80 HTTP/1.1", b"GET http://a:65536/ HTTP/1.1", b"GET http://[1]/ HTTP/1.1",
        b"GET http://[1.2.3.4]/ HTTP/1.1", b"GET http://[::1]x/ HTTP/1.1",
        b"GET /" + b"a" * 8190 + b" HTTP/1.1",
    ],
)  # fmt: skip
def test_a_request_line_that_is_not_to_the_letter_is_malformed(first: bytes) -> None:
    assert is_malformed(head(HOST, first=first))


def test_a_host_is_needed_from_http_1_1_on() -> None:
    assert is_malformed(head(b"X: a"))
    assert not is_malformed(head(b"X: a", first=b"GET / HTTP/1.0"))
    assert is_malformed(b"GET / HTTP/1.1")


@pytest.mark.parametrize(
    ("begun", "hopeless"),
    [
        (b"", False), (b"G", False), (b"GET / HTTP/1.1\r", False), (b"GET / HTTP/1.1\r\nHost: a\r\n", False),
        (b"\x16\x03\x01", True), (b" GET", True), (b"get", True), (b"GET / HTTP/1.1\n", True),
        (b"G" * 50_000, True),
    ],
)  # fmt: skip
def test_what_can_never_become_a_head_is_not_waited_for(begun: bytes, hopeless: bool) -> None:
    assert hopeless == is_hopeless(begun)


PIECES = st.sampled_from(
    [
        b"GET", b"POST", b" ", b"/", b"http://a/", b"HTTP/1.1", b"HTTP/1.0", b"\r\n", b"\n", b"\r",
        b"Host: a",
        b"Content-Length: 5", b"Content-Length: 5", b"Transfer-Encoding: chunked", b":", b"X", b"\t", b"\x00",
        b"\xff", b"Connection: close", b"Connection: keep-alive", b"Expect: 100-continue", b"Upgrade: h2c",
        b"@",
    ]
)  # fmt: skip
LINES = st.sampled_from(
    [
        b"Host: a", b"Content-Length: 5", b"Content-Length: 0", b"Transfer-Encoding: chunked", b"X: \xff",
        b"Connection: close", b"Connection: keep-alive", b"X-A:b", b"A: \t b \t", b"Content-Length : 5",
        b" X: a",
    ]
)  # fmt: skip
TARGETS = st.one_of(
    st.binary(max_size=6).map(b"/%b".__mod__),
    st.lists(
        st.sampled_from(
            [b"http://", b"https://", b"/", b"a", b"?", b"#", b"[::1]", b"[1]", b"[", b"]", b":", b"65535",
             b"65536", b"@", b"%", b"%zz", b"*", b".", b"\x80", b"\xff", b"\xc3\xa9", b'"', b"\\", b"|"]
        ),
        min_size=1,
        max_size=5,
    ).map(b"".join),
)  # fmt: skip
REQUESTS = st.one_of(
    TARGETS.map(b"GET %b HTTP/1.1\r\nHost: a".__mod__),
    st.lists(PIECES, max_size=14).map(b"".join),
    st.tuples(
        st.sampled_from(
            [b"GET / HTTP/1.1", b"POST /a?b HTTP/1.0", b"GET http://a/ HTTP/1.1", b"PUT * HTTP/1.1"]
        ),
        st.lists(LINES, min_size=1, max_size=5),
    ).map(lambda parts: b"\r\n".join([parts[0], *parts[1]])),
)


@given(REQUESTS)
@settings(max_examples=400, deadline=None)
def test_r29_whatever_is_let_pass_aiohttp_reads_in_the_same_way(raw: bytes) -> None:
    if b"\r\n\r\n" in raw:
        return  # the lane splits there
    try:
        ours = parse_request(raw)
    except RequestError:
        return

    loop = asyncio.new_event_loop()
    try:
        parser = HttpRequestParser(
            None, loop, 2**16, max_line_size=8190, max_headers=128, max_field_size=8190
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            messages, _, rest = parser.feed_data(raw + b"\r\n\r\n")
    finally:
        loop.close()
    ((theirs, payload),) = messages
    assert (ours.method, ours.target, ours.version) == (theirs.method, theirs.path, tuple(theirs.version))
    assert list(ours.headers.items()) == list(theirs.headers.items())
    assert not (ours.keep_alive and theirs.should_close)
    assert (ours.length == 0) == payload.is_eof()
    assert (ours.length is None) == theirs.chunked
    assert b"" == rest


def test_the_head_of_an_answer_ends_with_an_empty_line() -> None:
    date = http_date(784111777)
    fields = [("Server", "relayd"), ("Content-Length", "2")]

    lines = encode_answer(200, fields, date, keep_alive=True).split(b"\r\n")

    assert [b"HTTP/1.1 200 OK", b"Server: relayd", b"Content-Length: 2"] == lines[:3]
    assert [b"Date: Sun, 06 Nov 1994 08:49:37 GMT", b"", b""] == lines[3:]


@pytest.mark.parametrize(
    ("version", "keep_alive", "line"),
    [
        ((1, 1), True, b""),
        ((1, 1), False, b"Connection: close\r\n"),
        ((1, 0), True, b"Connection: keep-alive\r\n"),
        ((1, 0), False, b""),
    ],
)
def test_an_answer_says_what_differs_from_its_versions_habit(
    version: tuple[int, int], keep_alive: bool, line: bytes
) -> None:
    raw = encode_answer(404, [], "now", keep_alive=keep_alive, version=version)

    assert b"HTTP/1.%d 404 Not Found\r\nDate: now\r\n%b\r\n" % (version[1], line) == raw


def test_a_status_without_a_name_has_none() -> None:
    assert encode_answer(299, [], "now", keep_alive=True).startswith(b"HTTP/1.1 299 \r\n")
