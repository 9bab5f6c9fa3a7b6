"""Is a client that sends no more answered, and one that has left noticed?"""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest
import uvloop

from relayd.api.admission import Incoming, RequestContext
from relayd.api.answer import Answer
from relayd.api.bodies import Bodies
from relayd.api.body import read_body, take_body
from relayd.api.halfclosed import was_reset
from relayd.api.server import Listener
from relayd.router import Recipient
from relayd.units import Bytes
from tests.api.conftest import Client, T, direct_route, open_doors, read_response
from tests.daemons import DEADLINE_SECONDS

pytestmark = pytest.mark.system

Play = Callable[[Callable[[], Coroutine[None, None, T]]], T]

INTERIM = b"HTTP/1.1 100 Continue\r\n\r\n"


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def run_with(request: pytest.FixtureRequest) -> Play[object]:
    """Play a scene on each of the loops that relayd may run on."""

    def play(scene: Callable[[], Coroutine[None, None, object]]) -> object:
        with asyncio.Runner(loop_factory=request.param) as runner:
            return runner.run(asyncio.wait_for(scene(), DEADLINE_SECONDS))

    return play


def post(version: str = "1.1", length: int = 2, body: bytes = b"{}", path: str = "/1") -> bytes:
    return (
        f"POST {path} HTTP/{version}\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n".encode() + body
    )


class Held:
    """Reads the body, and answers when it may."""

    def __init__(self, *, begins: bool = False) -> None:
        self.entered, self.may_end, self.cancelled = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self.begins = begins
        self.served = 0

    async def __call__(self, request: Incoming, client: Recipient, _context: RequestContext) -> None:
        self.entered.set()
        try:
            hold = Bodies(Bytes(1000)).hold()
            if take_body(request, limit=Bytes(100), hold=hold) is None:
                await read_body(request, limit=Bytes(100), progress_seconds=DEADLINE_SECONDS, hold=hold)
            self.served += 1
            if self.begins:
                await self._stream(client)
                return
            await self.may_end.wait()
        except (asyncio.CancelledError, ConnectionError):  # the second where it was about to write
            self.cancelled.set()
            raise
        answer = Answer(200, b'"done"')
        client.begin(200, answer.sized(), framed=False)
        client.write(answer.body)
        await client.end(DEADLINE_SECONDS)

    async def _stream(self, client: Recipient) -> None:
        client.begin(200, [], framed=False)
        while not self.may_end.is_set():
            client.write(b"event")
            await client.room(DEADLINE_SECONDS)
            await asyncio.sleep(0.01)
        await client.end(DEADLINE_SECONDS)


Opened = Callable[[Held], AbstractAsyncContextManager[tuple[Client, Listener]]]


@pytest.fixture(params=["lane", "aiohttp"])
def opened(request: pytest.FixtureRequest) -> Opened:
    """Doors with one handler, by either way in."""

    @asynccontextmanager
    async def opening(handler: Held) -> AsyncIterator[tuple[Client, Listener]]:
        routes = (direct_route("/1", handler), direct_route("/2", handler))
        async with open_doors(routes, by_lane=request.param == "lane") as client:
            assert client.listener is not None
            yield client, client.listener

    return opening


@pytest.mark.parametrize("version", ["1.0", "1.1"])
@pytest.mark.parametrize("at_once", [True, False], ids=["with the request", "later"])
def test_a_half_closed_client_gets_its_answer_and_then_the_end(
    run_with: Play[object], opened: Opened, version: str, at_once: bool
) -> None:
    async def scene() -> bytes:
        handler = Held()
        async with opened(handler) as (client, _):
            reader, writer = await client.connect()
            writer.write(post(version))
            if not at_once:
                await handler.entered.wait()
            writer.write_eof()
            await handler.entered.wait()
            if version == "1.1":
                assert INTERIM == await reader.readuntil(b"\r\n\r\n")
            handler.may_end.set()
            raw = await reader.read()
            writer.close()
            return raw

    raw = run_with(scene)
    assert isinstance(raw, bytes)

    assert b" 200 OK\r\n" in raw
    assert raw.endswith(b'"done"')
    assert (b"Connection: close" in raw) == (version == "1.1")


def test_everything_that_was_asked_before_the_half_close_is_answered(
    run_with: Play[object], opened: Opened
) -> None:
    async def scene() -> int:
        handler = Held()
        handler.may_end.set()
        async with opened(handler) as (client, _):
            reader, writer = await client.connect()
            writer.write(post(path="/1") + post(path="/2") + post(path="/1"))
            writer.write_eof()
            raw = await reader.read()
            writer.close()
            assert 3 == raw.count(b"200 OK")
            return handler.served

    assert 3 == run_with(scene)


@pytest.mark.parametrize("begins", [False, True], ids=["before the answer", "within it"])
def test_a_client_that_has_left_is_noticed_though_a_half_close_looks_the_same(
    run_with: Play[object], opened: Opened, begins: bool
) -> None:
    async def scene() -> bool:
        handler = Held(begins=begins)
        async with opened(handler) as (client, _):
            reader, writer = await client.connect()
            writer.write(post())
            await handler.entered.wait()
            if begins:
                await reader.readuntil(b"event")
            writer.close()
            async with asyncio.timeout(DEADLINE_SECONDS):
                await handler.cancelled.wait()
            return True

    assert run_with(scene)


def test_half_a_body_is_answered_when_nothing_follows_it(run_with: Play[object], opened: Opened) -> None:
    async def scene() -> int:
        handler = Held()
        async with opened(handler) as (client, _):
            reader, writer = await client.connect()
            writer.write(post(length=10))
            await handler.entered.wait()
            writer.write_eof()
            status = (await read_response(reader)).status
            assert b"" == await reader.read()
            writer.close()
            return status

    assert 400 == run_with(scene)


@pytest.mark.parametrize("before", [b"", post()[:20]])
def test_a_half_close_without_a_request_ends_the_connection(
    run_with: Play[object], opened: Opened, before: bytes
) -> None:
    async def scene() -> bytes:
        async with opened(Held()) as (client, _):
            reader, writer = await client.connect()
            writer.write(before)
            writer.write_eof()
            raw = await reader.read()
            writer.close()
            return raw

    assert b"" == run_with(scene)


def test_a_half_closed_connection_ends_with_the_drain(run_with: Play[object], opened: Opened) -> None:
    async def scene() -> bytes:
        handler = Held()
        async with opened(handler) as (client, listener):
            reader, writer = await client.connect()
            writer.write(post())
            writer.write_eof()
            await handler.entered.wait()
            closing = asyncio.create_task(listener.close(DEADLINE_SECONDS))
            handler.may_end.set()
            raw = await reader.read()
            await closing
            writer.close()
            return raw

    raw = run_with(scene)
    assert isinstance(raw, bytes)
    assert raw.endswith(b'"done"')


def test_a_reset_shows_on_the_descriptor_and_a_half_close_does_not() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        peer = socket.create_connection(server.getsockname())
        ours, _ = server.accept()
        with ours:
            peer.shutdown(socket.SHUT_WR)
            assert b"" == ours.recv(1)
            half_closed = was_reset(ours.fileno())
            peer.close()
            ours.sendall(b"x")
            while not was_reset(ours.fileno()):
                pass

    assert not half_closed
