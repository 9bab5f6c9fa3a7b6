"""Does a connection end in time, whatever its client does, and is the parser the safe one?"""

import asyncio
import inspect

import pytest
from aiohttp import http_parser, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.streams import StreamReader

from relayd.api.connection import Connection, ConnectionLimiter, ConnectionLimits, require_c_parser
from relayd.errors import ListenError
from tests.api.conftest import Doors, Response, read_response, run_with
from tests.daemons import DEADLINE_SECONDS

pytestmark = pytest.mark.system

HEALTH = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
CHAT = b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
QUICK = ConnectionLimits(header_seconds=0.5, idle_seconds=DEADLINE_SECONDS)


async def drip(writer: asyncio.StreamWriter, raw: bytes) -> None:
    """Write a byte every 20 ms, until the other side has had enough."""
    try:
        for byte in raw:
            writer.write(bytes([byte]))
            await asyncio.sleep(0.02)
    except ConnectionError:
        pass


@pytest.mark.parametrize("before", [b"", b"G", HEALTH[:-2]])
def test_a_head_that_does_not_come_in_time_closes_the_connection(doors: Doors, before: bytes) -> None:
    async def scene() -> bytes:
        async with doors(limits=QUICK) as client:
            reader, writer = await client.connect()
            writer.write(before)
            rest = await reader.read()
            writer.close()
            return rest

    assert b"" == run_with(scene)


def test_a_head_that_comes_byte_by_byte_closes_the_connection(doors: Doors) -> None:
    async def scene() -> bytes:
        async with doors(limits=QUICK) as client:
            reader, writer = await client.connect()
            dripping = asyncio.create_task(drip(writer, HEALTH))
            try:
                return await reader.read()
            except ConnectionResetError:
                return b""
            finally:
                dripping.cancel()
                writer.close()

    assert b"" == run_with(scene)


def test_the_second_head_has_a_deadline_from_its_first_byte(doors: Doors) -> None:
    async def scene() -> bytes:
        async with doors(limits=QUICK) as client:
            reader, writer = await client.connect()
            for _ in range(2):
                writer.write(HEALTH)
                assert 200 == (await read_response(reader)).status
                with pytest.raises(TimeoutError):  # it stays open for longer than a head may take
                    async with asyncio.timeout(0.6):
                        await reader.read(1)
            writer.write(HEALTH[:10])
            rest = await reader.read()
            writer.close()
            return rest

    assert b"" == run_with(scene)


def test_an_idle_connection_is_closed(doors: Doors) -> None:
    async def scene() -> bytes:
        async with doors(limits=ConnectionLimits(idle_seconds=0.1)) as client:
            reader, writer = await client.connect()
            writer.write(HEALTH)
            await read_response(reader)
            rest = await reader.read()
            writer.close()
            return rest

    assert b"" == run_with(scene)


def test_pipelined_requests_are_answered_in_order(doors: Doors) -> None:
    async def scene() -> list[int]:
        async with doors() as client:
            reader, writer = await client.connect()
            writer.write(HEALTH + HEALTH.replace(b"healthz", b"nothing") + HEALTH)
            statuses = [(await read_response(reader)).status for _ in range(3)]
            writer.close()
            return statuses

    assert [200, 404, 200] == run_with(scene)


@pytest.mark.parametrize(
    "limits", [ConnectionLimits(connections=2), ConnectionLimits(connections_per_peer=2)]
)
def test_a_connection_over_the_limit_is_told_to_come_back(doors: Doors, limits: ConnectionLimits) -> None:
    async def scene() -> Response:
        async with doors(limits=limits) as client:
            pairs = [await client.connect() for _ in range(3)]
            answer = await read_response(pairs[2][0])
            for _, writer in pairs:
                writer.close()
            return answer

    answer = run_with(scene)

    assert (503, "1", "close") == (answer.status, answer.headers["retry-after"], answer.headers["connection"])


def test_a_connection_that_ends_makes_room() -> None:
    limiter = ConnectionLimiter(ConnectionLimits(connections=3, connections_per_peer=2))

    assert [True, True, False] == [limiter.enter("a") for _ in range(3)]
    assert [True, False] == [limiter.enter("b") for _ in range(2)]
    limiter.leave("a")
    assert [True, False] == [limiter.enter("b"), limiter.enter("a")]


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
]


@pytest.mark.parametrize("raw", MALFORMED, ids=range(len(MALFORMED)))
def test_bad_framing_is_answered_in_our_shape_and_ends_the_connection(doors: Doors, raw: bytes) -> None:
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
        b"2;name=value\r\n{}\r\n0\r\n\r\n",
        b"2\r\n{}\r\n0\r\nTrailer: 1\r\n\r\n",
        b"1\r\n{\r\n1\r\n}\r\n0\r\n\r\n",
    ],
)
def test_chunk_extensions_and_trailers_are_dropped(doors: Doors, chunks: bytes) -> None:
    async def scene() -> bytes:
        async with doors() as client:
            return (await client.ask(CHAT + b"Transfer-Encoding: chunked\r\n\r\n" + chunks)).body

    assert b'{"bytes":2}' == run_with(scene)


def test_the_pure_python_parser_is_refused() -> None:
    require_c_parser()

    with pytest.raises(ListenError) as refused:
        require_c_parser(http_parser.HttpRequestParserPy)

    assert "AIOHTTP_NO_EXTENSIONS" in refused.value.remedy


def test_aiohttp_still_has_every_internal_name_that_connections_use() -> None:
    handler = web.RequestHandler
    parameters = {
        "handle_error": ["self", "request", "status", "exc", "message"],
        "connection_made": ["self", "transport"],
        "connection_lost": ["self", "exc"],
        "data_received": ["self", "data"],
        "close": ["self"],
        "force_close": ["self"],
    }

    assert {"_waiter", "_request_count", "logger", "_loop", "transport", "peername"} <= set(dir(handler))
    assert parameters == {
        name: list(inspect.signature(getattr(handler, name)).parameters) for name in parameters
    }
    assert {"manager", "loop", "keepalive_timeout", "lingering_time", "auto_decompress", "access_log"} <= set(
        inspect.signature(handler).parameters
    )
    assert callable(StreamReader.is_eof)
    assert 0 == AbstractStreamWriter.output_size
    assert issubclass(Connection, handler)
    assert http_parser.HttpRequestParserPy is not http_parser.HttpRequestParser
