"""relayd's data path with aiohttp's server before it, and what raw clients send to it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web

from relayd.api.openai import OPENAI
from relayd.api.spliced import client_of
from relayd.clock import SystemClock
from relayd.endpoint import Endpoint
from relayd.errors import RequestError
from relayd.router import Call, Dialect, Dispatcher, Exchanges, Pools, Proxy, peek
from relayd.scheduler import (
    Abandoned,
    Arrived,
    Ask,
    AttemptFailed,
    Dispatch,
    Event,
    Exchange,
    Finished,
    Refusal,
    Refuse,
)
from tests.daemons import DEADLINE_SECONDS
from tests.fakes.replica import FakeReplica

CHAT = OPENAI.rules["/v1/chat/completions"]


class Places:
    """A schedule of places, used up one by one; behind a real dispatcher.

    Attributes:
        returns: How many attempts failed.
        finished: What became of the request.
        held: What replicas still work on although it was left.
    """

    def __init__(self, *endpoints: Endpoint) -> None:
        self._left = list(endpoints)
        self.returns = 0
        self.finished: list[Exchange | None] = []
        self.held: list[int] = []
        self.dispatcher = Dispatcher(self._decide, SystemClock(), max_wait_seconds=DEADLINE_SECONDS)

    def _decide(self, event: Event) -> None:
        match event:
            case Arrived(ticket):
                self._place(ticket.id)
            case AttemptFailed(ticket_id):
                self.returns += 1
                self._place(ticket_id)
            case Abandoned(_, held_id):
                self.held.append(held_id)
            case Finished(ticket_id) if ticket_id in self.held:
                self.held.remove(ticket_id)
            case Finished(_, exchange):
                self.finished.append(exchange)

    def _place(self, ticket_id: int) -> None:
        if self._left:
            self.dispatcher.on_answer(Dispatch(ticket_id, self._left.pop(0)))
        else:
            self.dispatcher.on_answer(Refuse(ticket_id, Refusal.ATTEMPTS_SPENT, "none is left"))


@dataclass
class Front:
    """relayd's data path behind aiohttp's server; `endpoints` are tried in order."""

    endpoints: list[Endpoint]
    pools: Pools
    stall_seconds: float
    dialect: Dialect = OPENAI
    faults: list[str] = field(default_factory=list)
    places: Places = field(default_factory=Places)
    replicas: list[FakeReplica] = field(default_factory=list)
    open_requests: int = 0
    port: int = 0

    def __post_init__(self) -> None:
        self.exchanges = Exchanges(SystemClock())
        self.respond = self.handle
        self.report = self.faults.append
        self._proxy = Proxy(
            self.pools,
            write_stall_seconds=self.stall_seconds,
            on_fault=lambda _, reason: self.report(reason),
        )

    async def respond_now(self, request: web.BaseRequest) -> web.StreamResponse:
        return await self.respond(request)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        self.open_requests += 1
        self.places = Places(*self.endpoints)
        try:
            with self.exchanges.begin("request-7", request.path, "team") as record:
                seen = peek(await request.read(), CHAT)
                with self.places.dispatcher.open(Ask("m", key="team", stream=seen.stream), record) as lease:
                    call = Call(request.path, seen.body, seen.stream)
                    client = client_of(request)
                    await self._proxy.forward(client, call, lease, self.dialect)
        except RequestError as error:
            return web.json_response({"error": {"code": error.code}}, status=error.http_status)
        else:
            return client.response
        finally:
            self.open_requests -= 1

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port)

    async def ask(self, raw: bytes) -> bytes:
        """Send bytes and return what comes until the connection ends."""
        reader, writer = await self.connect()
        try:
            writer.write(raw)
            return await reader.read()
        finally:
            writer.close()
            await writer.wait_closed()


def post(
    body: bytes = b"{}",
    *fields: str,
    version: str = "1.1",
    path: str = "/v1/chat/completions",
    close: bool = True,
) -> bytes:
    """Return a request as a client writes it."""
    lines = [f"POST {path} HTTP/{version}", "Host: x", f"Content-Length: {len(body)}", *fields]
    lines += ["Connection: close"] if close else []
    return "\r\n".join([*lines, "", ""]).encode() + body


def status(raw: bytes) -> int:
    return int(raw.split(b" ", 2)[1])


def fields(raw: bytes) -> dict[str, str]:
    lines = raw.partition(b"\r\n\r\n")[0].decode().split("\r\n")[1:]
    return {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}


def body(raw: bytes) -> bytes:
    return raw.partition(b"\r\n\r\n")[2]


STREAM = b'{"stream":true}'


@asynccontextmanager
async def serving(front: Front) -> AsyncIterator[Front]:
    server = web.Server(front.respond_now, handler_cancellation=True, access_log=None)
    listening = await asyncio.get_running_loop().create_server(server, "127.0.0.1", 0)
    front.port = listening.sockets[0].getsockname()[1]
    try:
        yield front
    finally:
        front.pools.close()
        listening.close()
        await server.shutdown(1)
        await listening.wait_closed()
        assert front.open_requests == 0


Opener = Callable[..., AbstractAsyncContextManager[Front]]
