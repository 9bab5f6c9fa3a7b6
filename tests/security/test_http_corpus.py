"""Is a request that is not HTTP to the letter refused, whatever its bytes?"""

import asyncio

import pytest

from tests.api.conftest import Doors, Response, read_response, run_with

pytestmark = pytest.mark.system

CHAT = b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"

MALFORMED = [
    b"GET /healthz HTTP/1.1\r\n\r\n",
    b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n",
    b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n folded\r\n\r\n",
    b"GET /healthz HTTP/1.1\r\nHost : localhost\r\n\r\n",
    b"GET /healthz HTTP/1.1\nHost: localhost\n\n",
    b"GET /healthz HTTP/1.1\r\nHost: local\x00host\r\n\r\n",
    b"GET /healthz HTTP/3.0\r\nHost: localhost\r\n\r\n",
    b"GET /healthz HTTP/2.0\r\nHost: localhost\r\n\r\n",
    b"FOO /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 9_000 + b"\r\n\r\n",
    b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n" + b"X: a\r\n" * 200 + b"\r\n",
    b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n"
    + b"".join(b"X%d: %s\r\n" % (i, b"a" * 8_000) for i in range(5))
    + b"\r\n",
    CHAT + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}",
    CHAT + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
    CHAT + b"Content-Length: +2\r\n\r\n{}",
    CHAT + b"Content-Length: -2\r\n\r\n{}",
    CHAT + b"Transfer-Encoding: xchunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    CHAT + b"Transfer-Encoding: gzip, chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    CHAT + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    CHAT.replace(b"/1.1", b"/1.0") + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    CHAT + b"Transfer-Encoding: chunked\r\n\r\n0x2\r\n{}\r\n0\r\n\r\n",
    CHAT + b"Transfer-Encoding: chunked\r\n\r\n2\n{}\n0\n\n",
    CHAT + b"Transfer-Encoding: chunked\r\n\r\n2;name=value\r\n{}\r\n0\r\n\r\n",
    CHAT + b"Transfer-Encoding: chunked\r\n\r\n2;\r\n{}\r\n0\r\n\r\n",
    CHAT + b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n1;a\r\n}\r\n0\r\n\r\n",
    CHAT + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0;last\r\n\r\n",
    CHAT + b'Transfer-Encoding: chunked\r\n\r\n2;a="' + b"x" * 70_000 + b'"\r\n{}\r\n0\r\n\r\n',
]


@pytest.mark.parametrize("raw", MALFORMED, ids=range(len(MALFORMED)))
def test_r29_bad_framing_is_answered_in_our_shape_and_ends_the_connection(doors: Doors, raw: bytes) -> None:
    async def scene() -> tuple[int, str, bytes]:
        async with doors() as client:
            reader, writer = await client.connect()
            writer.write(raw)
            answer = await read_response(reader)
            try:
                rest = await reader.read()
            except ConnectionResetError:
                rest = b""
            writer.close()
            return answer.status, answer.error["code"], rest

    assert (400, "invalid_request", b"") == run_with(scene)


@pytest.mark.parametrize(
    "chunks",
    [
        b"2\r\n{}\r\n0\r\nTrailer: 1\r\n\r\n",
        b"1\r\n{\r\n1\r\n}\r\n0\r\n\r\n",
    ],
)
def test_trailers_are_dropped(doors: Doors, chunks: bytes) -> None:
    async def scene() -> bytes:
        async with doors() as client:
            return (await client.ask(CHAT + b"Transfer-Encoding: chunked\r\n\r\n" + chunks)).body

    assert b'{"bytes":2}' == run_with(scene)


@pytest.mark.parametrize("pieces", [1, 2, 3, 7])
def test_a_chunk_extension_is_seen_however_the_bytes_arrive(doors: Doors, pieces: int) -> None:
    raw = CHAT + b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n1;a=b\r\n"

    async def scene() -> Response:
        async with doors() as client:
            reader, writer = await client.connect()
            for start in range(0, len(raw), pieces):
                writer.write(raw[start : start + pieces])
                await writer.drain()
                await asyncio.sleep(0)
            answer = await read_response(reader)
            writer.close()
            return answer

    assert 400 == run_with(scene).status


def test_chunks_of_pipelined_requests_are_told_apart(doors: Doors) -> None:
    chunked = CHAT + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"
    counted = CHAT + b'Content-Length: 16\r\n\r\n{"a": "\\r\\n1;x"}'

    async def scene() -> list[int]:
        async with doors() as client:
            reader, writer = await client.connect()
            writer.write(counted + chunked + counted + chunked)
            statuses = [(await read_response(reader)).status for _ in range(4)]
            writer.write(chunked.replace(b"2\r\n", b"2;x\r\n"))
            statuses.append((await read_response(reader)).status)
            writer.close()
            return statuses

    assert [200, 200, 200, 200, 400] == run_with(scene)
