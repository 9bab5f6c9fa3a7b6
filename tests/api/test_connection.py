"""Does a connection end in time, whatever its client does, and is the parser the safe one?"""

import asyncio
import inspect

import pytest
from aiohttp import http_parser, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.streams import StreamReader
from aiohttp.test_utils import make_mocked_request

from relayd.api.bodies import Bodies
from relayd.api.connection import Connection, require_c_parser
from relayd.api.door import Route
from relayd.api.limiter import ConnectionLimits
from relayd.errors import ListenError
from relayd.units import Bytes
from tests.api.conftest import ROUTES, Doors, Echo, Response, read_response, run_with
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
def test_an_idle_connection_gives_way_to_a_new_one(doors: Doors, limits: ConnectionLimits) -> None:
    async def scene() -> tuple[bytes, int]:
        async with doors(limits=limits) as client:
            pairs = [await client.connect() for _ in range(2)]
            answer = await client.ask(HEALTH)
            rest = await pairs[0][0].read()
            for _, writer in pairs:
                writer.close()
            return rest, answer.status

    assert (b"", 200) == run_with(scene)


@pytest.mark.parametrize(
    "limits", [ConnectionLimits(connections=2), ConnectionLimits(connections_per_peer=2)]
)
def test_beyond_busy_connections_only_the_health_is_answered(doors: Doors, limits: ConnectionLimits) -> None:
    body = CHAT + b"Content-Length: 2\r\n\r\n"

    async def scene() -> list[Response]:
        route = Route("POST", "/v1/chat/completions", Echo(bodies := Bodies(Bytes(100)), DEADLINE_SECONDS))
        async with doors((*ROUTES[:3], route), limits=limits) as client:
            busy = [await client.connect() for _ in range(2)]
            for _, writer in busy:
                writer.write(body)
            while len(bodies.senders) < 2:
                await asyncio.sleep(0)
            answers = [await client.ask(HEALTH), await client.ask(body + b"{}")]
            for reader, writer in busy:
                writer.write(b"{}")
                answers.append(await read_response(reader))
                writer.close()
            return answers

    answers = run_with(scene)

    assert [200, 503, 200, 200] == [answer.status for answer in answers]
    assert ["close", "close"] == [answer.headers["connection"] for answer in answers[:2]]
    assert ("too_many_connections", "1") == (answers[1].error["code"], answers[1].headers["retry-after"])


def test_places_for_health_are_not_held_by_who_asks_nothing(doors: Doors) -> None:
    async def scene() -> list[int]:
        route = Route("POST", "/v1/chat/completions", Echo(bodies := Bodies(Bytes(100)), DEADLINE_SECONDS))
        async with doors((*ROUTES[:3], route), limits=ConnectionLimits(connections=1)) as client:
            busy = await client.connect()
            busy[1].write(CHAT + b"Content-Length: 2\r\n\r\n")
            while not bodies.senders:
                await asyncio.sleep(0)
            idle = [await client.connect() for _ in range(40)]
            statuses = [(await client.ask(HEALTH)).status for _ in range(3)]
            for _, writer in (busy, *idle):
                writer.close()
            return statuses

    assert [200, 200, 200] == run_with(scene)


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
        "eof_received": ["self"],
    }

    names = {"_waiter", "_request_count", "logger", "_loop", "transport", "peername", "_messages", "_manager"}
    names |= {"_keepalive", "_force_close", "_lingering_time", "_request_handler", "_current_request"}
    assert names <= set(dir(handler))
    assert "_message" in vars(make_mocked_request("GET", "/"))
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
