"""Do a replica's bytes reach every kind of client as they should, and once?"""

import asyncio
import socket
from functools import partial

import pytest

from relayd.api.admission import Incoming, RequestContext
from relayd.router import Recipient
from relayd.units import MIB
from tests.fakes.replica import DONE, LAST_CHUNK, SSE_HEAD, Act, Then, act, chunk, event, head, json_answer
from tests.router.front import STREAM, Front, Opener, body, fields, post, status

pytestmark = [pytest.mark.fake, pytest.mark.usefixtures("runner")]

GOOD = act(json_answer(b'{"ok":true}'))
EVENTS = chunk(event(1)) + chunk(event(2) + event(3)) + chunk(DONE)
GOOD_STREAM = act(SSE_HEAD + EVENTS + LAST_CHUNK)


async def read_one(reader: asyncio.StreamReader) -> bytes:
    """Read one response of a known length or in chunks."""
    top = await reader.readuntil(b"\r\n\r\n")
    if "content-length" in fields(top):
        return top + await reader.readexactly(int(fields(top)["content-length"]))
    return top + await reader.readuntil(b"\r\n" + LAST_CHUNK)


async def test_chunks_arrive_as_the_replica_framed_them(front: Opener) -> None:
    async with front([GOOD_STREAM]) as here:
        raw = await here.ask(post(STREAM))

        assert body(raw) == EVENTS + LAST_CHUNK
        assert fields(raw)["content-type"] == "text/event-stream"
        assert fields(raw)["transfer-encoding"] == "chunked"


async def test_an_event_arrives_before_the_next_one_is_made(front: Opener) -> None:
    more = asyncio.Event()

    async with front([act(SSE_HEAD, chunk(event(1)), more, chunk(event(2)), LAST_CHUNK)]) as here:
        reader, writer = await here.connect()
        writer.write(post(STREAM))
        first = await reader.readuntil(chunk(event(1)))
        more.set()

        assert first.endswith(b"\r\n\r\n" + chunk(event(1)))
        assert await reader.read() == chunk(event(2)) + LAST_CHUNK
        writer.close()


async def test_a_client_connection_is_used_again_and_so_is_the_one_to_the_replica(front: Opener) -> None:
    async with front([GOOD, GOOD_STREAM]) as here:
        reader, writer = await here.connect()
        writer.write(post(close=False))
        first = await read_one(reader)
        writer.write(post(STREAM, close=False))
        second = await read_one(reader)
        writer.write(post())
        third = await reader.read()
        writer.close()

        assert body(first) == b'{"ok":true}'
        assert body(second) == body(third) == EVENTS + LAST_CHUNK
        assert "connection" not in fields(first)
        assert fields(third)["connection"] == "close"
        assert here.replicas[0].connections == 1


async def test_pipelined_requests_are_answered_in_order(front: Opener) -> None:
    async with front([GOOD_STREAM, GOOD]) as here:
        raw = await here.ask(post(STREAM, close=False) + post())

        first, _, second = raw.partition(LAST_CHUNK)
        assert body(first) == EVENTS
        assert body(second) == b'{"ok":true}'


async def test_a_client_that_knows_no_chunks_gets_none(front: Opener) -> None:
    async with front([GOOD_STREAM]) as here:
        raw = await here.ask(post(STREAM, version="1.0", close=False))

        assert body(raw) == event(1) + event(2) + event(3) + DONE
        assert "transfer-encoding" not in fields(raw)
        assert fields(raw)["x-request-id"] == "request-7"


async def test_a_client_that_knows_no_chunks_is_reset_within_an_event(front: Opener) -> None:
    more = asyncio.Event()

    async with front([act(SSE_HEAD + chunk(b"data: "), more, then=Then.CLOSE)]) as here:
        reader, writer = await here.connect()
        writer.write(post(STREAM, version="1.0", close=False))
        await reader.readuntil(b"data: ")
        more.set()

        with pytest.raises(ConnectionResetError):
            await reader.read()
        writer.close()


async def test_a_head_request_gets_a_head(front: Opener) -> None:
    async with front([GOOD]) as here:
        raw = await here.ask(post().replace(b"POST", b"HEAD"))

        assert fields(raw)["content-length"] == "11"
        assert body(raw) == b""


async def test_an_answer_without_a_body_is_an_answer(front: Opener) -> None:
    async with front([act(head("Content-Length: 0"))]) as here:
        assert status(await here.ask(post())) == 200


async def test_only_harmless_fields_of_a_replica_pass(front: Opener) -> None:
    theirs = [
        "Set-Cookie: a=b",
        "Location: /x",
        "X-Request-ID: theirs",
        "Connection: X-Hop",
        "X-Hop: 1",
        "X-Kept: 2",
    ]

    async with front([act(head("Content-Length: 0", *theirs))]) as here:
        raw = await here.ask(post())

        assert fields(raw).keys() == {
            "content-length",
            "x-kept",
            "x-relayd-queue-ms",
            "x-relayd-replica",
            "server",
            "x-content-type-options",
            "x-request-id",
            "date",
            "connection",
        }
        assert fields(raw)["server"] == "relayd"
        assert fields(raw)["x-request-id"] == "request-7"


async def test_what_a_client_says_about_itself_stays_with_relayd(front: Opener) -> None:
    ours = [
        "Authorization: Bearer client",
        "X-Api-Key: client",
        "Cookie: client",
        "X-Conversation-Id: client",
    ]

    async with front([GOOD]) as here:
        await here.ask(post(b'{"id_slot":3,"n":1}', *ours, "X-Forwarded-For: client"))

        request = here.replicas[0].requests[0]
        assert b"client" not in request
        assert b"Authorization: Bearer the-replica-key\r\n" in request
        assert body(request).startswith(b'{"n":1,')  # a plain answer is collected from a stream


async def test_64_mib_pass_and_are_never_held(front: Opener) -> None:
    part = bytes(range(256)) * 4096
    parts = 64

    async with front([act(head(f"Content-Length: {parts * MIB}"), *[part] * parts)], over_tcp=True) as here:
        reader, writer = await here.connect()
        writer.write(post())
        await reader.readuntil(b"\r\n\r\n")

        for _ in range(parts):
            assert await reader.readexactly(MIB) == part
        writer.close()


@pytest.mark.parametrize("version", ["1.1", "1.0"])
async def test_a_client_that_takes_nothing_is_cut_off_and_little_is_held_for_it(
    front: Opener, version: str
) -> None:
    flood = act(SSE_HEAD, *[chunk(b"x" * MIB)] * 64)

    async with front([flood], stall_seconds=0.1) as here:
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.connect(("127.0.0.1", here.port))
            client.send(post(STREAM, version=version))
            await here.replicas[0].left.wait()

        assert here.replicas[0].sent < 16 * MIB


async def fail_after(here: Front, request: Incoming, client: Recipient, context: RequestContext) -> None:
    await Front.handle(here, request, client, context)
    raise RuntimeError("a fault of relayd")


@pytest.mark.parametrize("way", ["asyncio", "uvloop", "aiohttp"], indirect=True)
@pytest.mark.parametrize(
    "answer",
    [
        GOOD,
        GOOD_STREAM,
        act(SSE_HEAD + EVENTS, then=Then.CLOSE),
        act(SSE_HEAD + EVENTS + b"9", then=Then.CLOSE),
    ],
    ids=["whole", "stream", "cut between events", "cut within a chunk"],
)
async def test_a_fault_after_the_first_byte_adds_no_second_answer(front: Opener, answer: Act) -> None:
    async with front([answer]) as here:
        here.respond = partial(fail_after, here)

        raw = await here.ask(post(STREAM, close=False))

        assert raw.count(b"HTTP/1.1 ") == 1


async def test_a_fault_while_a_fault_is_reported_adds_no_second_answer(front: Opener) -> None:
    def report(_reason: str) -> None:
        raise RuntimeError("a fault of relayd")

    async with front([act(SSE_HEAD + EVENTS, then=Then.CLOSE)]) as here:
        here.report = report

        raw = await here.ask(post(STREAM, close=False))

        assert raw.count(b"HTTP/1.1 ") == 1
        assert not raw.endswith(LAST_CHUNK)
