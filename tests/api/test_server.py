"""Do the doors open where they should, say why they cannot, and close in order?"""

import asyncio
import os
import socket

import pytest
from aiohttp import web

from relayd.api.admission import Incoming, RequestContext
from relayd.api.answer import json_answer
from relayd.api.limiter import Idleness
from relayd.api.openai import OPENAI
from relayd.api.server import Listener, listen
from relayd.errors import ListenError
from relayd.router import Recipient
from tests.api.conftest import Client, direct_route, open_doors, read_response, run_with

pytestmark = pytest.mark.system

GET = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"


async def answer_ok(_request: web.BaseRequest) -> web.StreamResponse:
    return json_answer("ok")


def refusal(host: str, port: int) -> ListenError:
    async def scene() -> Listener:
        return await listen(answer_ok, host, port, dialect=OPENAI)

    with pytest.raises(ListenError) as refused:
        run_with(scene)
    return refused.value


def test_a_taken_address_names_its_holder() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        error = refusal("127.0.0.1", port)

    assert f"127.0.0.1:{port}" in error.message
    assert f"(pid {os.getpid()})" in error.message
    assert "--listen" in error.remedy


@pytest.mark.parametrize(
    ("host", "port", "cause"),
    [
        ("192.0.2.1", 8080, "no interface has that address"),
        ("name.invalid", 8080, "the name has no address"),
    ],
)
def test_an_address_that_cannot_be_had_says_why(host: str, port: int, cause: str) -> None:
    error = refusal(host, port)

    assert f"{host}:{port}" in error.message
    assert cause in error.message
    assert error.remedy


@pytest.mark.parametrize("port", [-1, 65_536])
def test_a_port_that_is_none_is_named(port: int) -> None:
    assert str(port) in refusal("127.0.0.1", port).message


def test_the_address_is_the_one_asked_for_and_its_port_the_one_assigned() -> None:
    async def scene() -> tuple[tuple[str, int], ...]:
        listener = await listen(answer_ok, "127.0.0.1", 0, dialect=OPENAI)
        await listener.close(0)
        return listener.addresses

    ((host, port),) = run_with(scene)

    assert "127.0.0.1" == host
    assert port > 0


def test_a_socket_that_listens_already_is_served_and_other_holders_of_it_keep_listening() -> None:
    async def scene(given: socket.socket) -> tuple[tuple[str, int], int]:
        listener = await listen(answer_ok, "ignored.invalid", 1, dialect=OPENAI, socks=[given.dup()])
        answer = await Client(listener.addresses[0][1]).ask(GET)
        await listener.close(0)
        _, waiting = await Client(listener.addresses[0][1]).connect()
        waiting.close()
        return listener.addresses[0], answer.status

    with socket.create_server(("127.0.0.1", 0)) as given:
        assert (given.getsockname(), 200) == run_with(lambda: scene(given))


class Held:
    """A handler that answers when it may, and tells when it is entered and when it is cancelled."""

    def __init__(self) -> None:
        self.entered, self.may_end, self.cancelled = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def __call__(self, _request: web.BaseRequest) -> web.StreamResponse:
        self.entered.set()
        try:
            await self.may_end.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        return json_answer("done")


def test_a_closed_door_lets_running_requests_finish_and_takes_no_new_ones() -> None:
    async def scene() -> tuple[int, str]:
        handler = Held()
        listener = await listen(handler, "127.0.0.1", 0, dialect=OPENAI)
        client = Client(listener.addresses[0][1])
        idle_reader, idle_writer = await client.connect()
        reader, writer = await client.connect()
        writer.write(GET)
        await handler.entered.wait()
        closing = asyncio.create_task(listener.close(5))
        assert b"" == await idle_reader.read()
        with pytest.raises(ConnectionRefusedError):
            await client.connect()
        handler.may_end.set()
        answer = await read_response(reader)
        await closing
        idle_writer.close()
        writer.close()
        return answer.status, answer.body.decode()

    assert (200, '"done"') == run_with(scene)


def test_a_request_that_outlives_the_drain_is_cut_off() -> None:
    async def scene() -> bool:
        handler = Held()
        listener = await listen(handler, "127.0.0.1", 0, dialect=OPENAI)
        reader, writer = await Client(listener.addresses[0][1]).connect()
        writer.write(GET)
        await handler.entered.wait()
        await listener.close(0.05)
        assert b"" == await reader.read()
        writer.close()
        await handler.cancelled.wait()
        return handler.cancelled.is_set()

    assert run_with(scene)


def test_r36_a_client_that_leaves_cancels_its_request() -> None:
    async def scene() -> bool:
        handler = Held()
        listener = await listen(handler, "127.0.0.1", 0, dialect=OPENAI)
        _, writer = await Client(listener.addresses[0][1]).connect()
        writer.write(GET)
        await handler.entered.wait()
        writer.close()
        await handler.cancelled.wait()
        await listener.close(0)
        return handler.cancelled.is_set()

    assert run_with(scene)


def test_only_a_connection_that_nothing_runs_on_is_detached() -> None:
    async def scene() -> tuple[int, int]:
        handler = Held()
        listener = await listen(handler, "127.0.0.1", 0, dialect=OPENAI)
        client = Client(listener.addresses[0][1])
        busy, in_head = await client.connect(), await client.connect()
        busy[1].write(GET)
        in_head[1].write(GET[:-2])
        await handler.entered.wait()
        while not any(lane.idleness() is Idleness.IN_HEAD for lane in listener._lanes.open):
            await asyncio.sleep(0)
        at_first = list(listener.detach_idle())
        in_head[1].write(GET[-2:])
        handler.may_end.set()
        for reader, _ in (busy, in_head):
            assert 200 == (await read_response(reader)).status
        later: list[int] = []
        while len(later) < 2:
            later += listener.detach_idle()
            await asyncio.sleep(0)
        for descriptor in (*at_first, *later):
            os.close(descriptor)
        for _, writer in (busy, in_head):
            writer.close()
        await listener.close(0)
        return len(at_first), len(later)

    assert (0, 2) == run_with(scene)


def test_a_detached_connection_is_served_by_who_attaches_it() -> None:
    async def scene() -> list[int]:
        old, new = (
            await listen(answer_ok, "127.0.0.1", 0, dialect=OPENAI),
            await listen(answer_ok, "127.0.0.1", 0, dialect=OPENAI),
        )
        reader, writer = await Client(old.addresses[0][1]).connect()
        statuses = []
        for listener in (old, new):
            writer.write(GET)
            statuses.append((await read_response(reader)).status)
            while listener is old and not await old.drained(0.01):
                for descriptor in old.detach_idle():
                    await new.attach(descriptor)
        await old.close(0)
        await new.close(0)
        writer.close()
        return statuses

    assert [200, 200] == run_with(scene)


def test_a_connection_whose_client_has_not_taken_its_answer_is_not_detached() -> None:
    size = 8_000_000

    async def large(_request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(body=b"x" * size)

    async def scene() -> tuple[int, int]:
        listener = await listen(large, "127.0.0.1", 0, dialect=OPENAI)
        reader, writer = await Client(listener.addresses[0][1]).connect()
        writer.write(GET)
        head = await reader.readuntil(b"\r\n\r\n")
        at_first = len(list(listener.detach_idle()))
        assert b"200" in head
        body = await reader.readexactly(size)
        while not (later := list(listener.detach_idle())):
            await asyncio.sleep(0)
        os.close(*later)
        writer.close()
        await listener.close(0)
        return at_first, len(body)

    assert (0, size) == run_with(scene)


def test_a_slow_reader_that_reads_on_gets_the_reason_of_the_end_as_well() -> None:
    """What it is owed takes two seconds to read: longer than an interrupted request has to end."""
    size, piece, why = 8 << 20, 64 << 10, b"data: why\n\n"

    async def scene() -> bytes:
        begun, ends = asyncio.Event(), asyncio.Event()

        async def serve(_request: Incoming, client: Recipient, _context: RequestContext) -> None:
            client.begin(200, [("Content-Type", "text/event-stream")], framed=False)
            client.write(bytes(size))
            begun.set()
            await ends.wait()
            client.write(why)
            client.close()

        async with open_doors((direct_route("/slow", serve),)) as here:
            assert here.listener is not None
            narrow = socket.socket()
            narrow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, piece)
            narrow.connect(("127.0.0.1", here.port))
            reader, writer = await asyncio.open_connection(sock=narrow, limit=piece)
            writer.write(b"POST /slow HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n")
            writer.write(b"Content-Type: application/json\r\n\r\n{}")
            await begun.wait()
            closing = asyncio.ensure_future(here.listener.close(0, ends.set))
            raw = b""
            while data := await reader.read(piece):
                raw += data
                await asyncio.sleep(0.02)
            writer.close()
            await closing
            return raw

    assert run_with(scene).endswith(b"%x\r\n%b\r\n" % (len(why), why))
