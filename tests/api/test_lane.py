"""Does a connection end in time, whatever its client does, and is the parser the safe one?"""

import asyncio
import inspect
import re
from functools import partial

import pytest
from aiohttp import http_parser, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.streams import StreamReader

from relayd.api.admission import Incoming, RequestContext, Route
from relayd.api.bodies import Bodies
from relayd.api.gate import require_c_parser
from relayd.api.limiter import ConnectionLimits
from relayd.api.served import over_aiohttp
from relayd.errors import ListenError
from relayd.router import Recipient
from relayd.units import Bytes
from tests.api.conftest import (
    ROUTES,
    Doors,
    Echo,
    Response,
    direct_route,
    echo,
    open_doors,
    read_response,
    run_with,
)
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
def test_r30_a_head_that_does_not_come_in_time_closes_the_connection(doors: Doors, before: bytes) -> None:
    async def scene() -> bytes:
        async with doors(limits=QUICK) as client:
            reader, writer = await client.connect()
            writer.write(before)
            rest = await reader.read()
            writer.close()
            return rest

    assert b"" == run_with(scene)


def test_r30_a_head_that_comes_byte_by_byte_closes_the_connection(doors: Doors) -> None:
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


def test_r30_an_idle_connection_is_closed(doors: Doors) -> None:
    async def scene() -> bytes:
        async with doors(limits=ConnectionLimits(idle_seconds=0.1)) as client:
            reader, writer = await client.connect()
            writer.write(HEALTH)
            await read_response(reader)
            rest = await reader.read()
            writer.close()
            return rest

    assert b"" == run_with(scene)


def test_r28_pipelined_requests_are_answered_in_order(doors: Doors) -> None:
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
def test_r35_beyond_busy_connections_only_the_health_is_answered(
    doors: Doors, limits: ConnectionLimits
) -> None:
    body = CHAT + b"Content-Length: 2\r\n\r\n"

    async def scene() -> list[Response]:
        route = direct_route("/v1/chat/completions", Echo(bodies := Bodies(Bytes(100)), DEADLINE_SECONDS))
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
        route = direct_route("/v1/chat/completions", Echo(bodies := Bodies(Bytes(100)), DEADLINE_SECONDS))
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


def chat(body: bytes = b"{}", *fields: bytes) -> bytes:
    return CHAT + b"".join(fields) + b"Content-Length: %d\r\n\r\n" % len(body) + body


def test_requests_of_both_ways_in_one_write_are_answered_in_order(doors: Doors) -> None:
    async def scene() -> list[bytes]:
        async with doors() as client:
            reader, writer = await client.connect()
            writer.write(2 * (chat(b"{ }") + HEALTH) + chat(b"", b"Origin: http://evil\r\n") + chat(b"[]"))
            answers = [await read_response(reader) for _ in range(6)]
            writer.close()
            return [answer.body for answer in answers]

    *first, refused, last = run_with(scene)

    assert 2 * [b'{"bytes":3}', b'{"status":"ok"}'] == first
    assert b"origin_not_allowed" in refused
    assert b'{"bytes":2}' == last


def test_a_thousand_refused_requests_in_one_write_are_answered(doors: Doors) -> None:
    async def scene() -> list[int]:
        async with doors() as client:
            reader, writer = await client.connect()
            writer.write(1000 * chat(b"", b"Origin: http://evil\r\n"))
            statuses = [(await read_response(reader)).status for _ in range(1000)]
            writer.close()
            return statuses

    assert 1000 * [403] == run_with(scene)


def test_a_request_cut_anywhere_is_the_same_request(doors: Doors) -> None:
    raw = CHAT + b"Transfer-Encoding: chunked\r\n\r\n3\r\n{ }\r\n0\r\n\r\n" + HEALTH

    async def scene() -> list[tuple[int, bytes]]:
        async with doors() as client:
            seen = []
            for cut in range(1, len(raw), 7):
                reader, writer = await client.connect()
                writer.write(raw[:cut])
                await asyncio.sleep(0)
                writer.write(raw[cut:])
                seen += [await read_response(reader), await read_response(reader)]
                writer.close()
            return [(one.status, one.body) for one in seen]

    assert {(200, b'{"bytes":3}'), (200, b'{"status":"ok"}')} == set(run_with(scene))


def test_much_that_comes_behind_a_request_waits_in_the_socket(doors: Doors) -> None:
    more = asyncio.Event()

    async def slow(request: Incoming, client: Recipient, context: RequestContext) -> None:
        await more.wait()
        await echo(request, client, context)

    async def scene() -> tuple[int, list[int]]:
        more.clear()
        routes = (Route("POST", "/v1/chat/completions", over_aiohttp(slow), direct=slow),)
        async with doors(routes) as client:
            reader, writer = await client.connect()
            writer.write(chat())
            body = b"x" * 50_000
            writer.writelines([chat(body)] * 400)
            while writer.transport.get_write_buffer_size() == 0:
                await asyncio.sleep(0)
            size, still = -1, 0
            while still < 50:
                still = still + 1 if size == writer.transport.get_write_buffer_size() else 0
                size = writer.transport.get_write_buffer_size()
                await asyncio.sleep(0.001)
            more.set()
            statuses = [(await read_response(reader)).status for _ in range(401)]
            writer.close()
            return size, statuses

    waiting, statuses = run_with(scene)

    assert waiting > 5_000_000
    assert [200] * 401 == statuses


@pytest.mark.parametrize(
    "raw",
    [
        chat(b"{}", b"X-Request-ID: r1\r\n"),
        chat(b"{}", b"X-Request-ID: r1\r\n", b"Connection: close\r\n"),
        chat(b"{}", b"X-Request-ID: r1\r\n").replace(b"1.1", b"1.0"),
        chat(b"{}", b"X-Request-ID: r1\r\n", b"Connection: keep-alive\r\n").replace(b"1.1", b"1.0"),
        chat(b"{}", b"X-Request-ID: r1\r\n", b"Origin: http://evil\r\n"),
        chat(b"{}", b"X-Request-ID: r1\r\n", b"Host: localhost\r\n"),
        chat(b"{}", b"X-Request-ID: r1\r\n").replace(b"localhost", b"evil"),
        chat(b"x" * 100_001, b"X-Request-ID: r1\r\n"),
        CHAT + b"X-Request-ID: r1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\nzz\r\n",
        CHAT + b"X-Request-ID: r1\r\nContent-Length: 200000000\r\n\r\n",
        CHAT + b"X-Request-ID: r1\r\nContent-Length: 2\r\n\r\n{",
        chat(b"{}", b"X-Request-ID: r1\r\n").replace(b"/v1/chat/completions", b"/fail"),
    ],
    ids=range(12),
)
def test_both_ways_answer_with_the_same_bytes(raw: bytes) -> None:
    async def scene(*, by_lane: bool) -> bytes:
        async with open_doors(by_lane=by_lane) as client:
            reader, writer = await client.connect()
            writer.write(raw)
            head = await reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"Content-Length: (\d+)", head)
            body = await reader.readexactly(int(length[1]) if length else 0)
            writer.close()
            return bytes(re.sub(rb"Date: [^\r]*|X-Request-ID: [0-9a-f]{32}", b"", head)) + body

    ways = [run_with(partial(scene, by_lane=by_lane)) for by_lane in (True, False)]

    assert ways[0] == ways[1]


def test_r29_the_pure_python_parser_is_refused() -> None:
    require_c_parser()

    with pytest.raises(ListenError) as refused:
        require_c_parser(http_parser.HttpRequestParserPy)

    assert "AIOHTTP_NO_EXTENSIONS" in refused.value.remedy


def test_aiohttp_still_has_every_internal_name_that_the_gate_uses() -> None:
    handler = web.RequestHandler
    parameters = {
        "connection_made": ["self", "transport"],
        "connection_lost": ["self", "exc"],
        "data_received": ["self", "data"],
    }

    assert parameters == {
        name: list(inspect.signature(getattr(handler, name)).parameters) for name in parameters
    }
    assert {"pause_writing", "resume_writing"} <= set(dir(handler))
    assert {
        "keepalive_timeout", "lingering_time", "auto_decompress", "access_log_class", "access_log",
    } <= set(inspect.signature(handler).parameters)  # fmt: skip
    assert callable(StreamReader.is_eof)
    assert callable(StreamReader.set_exception)
    assert 0 == AbstractStreamWriter.output_size
    assert http_parser.HttpRequestParserPy is not http_parser.HttpRequestParser
