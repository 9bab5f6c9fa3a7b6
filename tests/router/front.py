"""relayd's data path behind its listener, and what raw clients send to it."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import pytest

from relayd.api.admission import DirectHandler, Incoming, RequestContext, Route
from relayd.api.door import Door
from relayd.api.guard import make_policy
from relayd.api.keys import FailedKeys, Keyring
from relayd.api.openai import OPENAI
from relayd.api.served import behind, over_aiohttp
from relayd.api.server import listen
from relayd.clock import SystemClock
from relayd.endpoint import Endpoint
from relayd.errors import RequestError
from relayd.router import (
    LLAMA_SERVER,
    Call,
    Dialect,
    Dispatcher,
    Exchanges,
    Passage,
    Pools,
    Proxy,
    Recipient,
    StraightRecipient,
    judge,
    open_body,
    with_additions,
)
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
    Ticket,
)
from tests.daemons import DEADLINE_SECONDS
from tests.fakes.replica import FakeReplica

CHAT_PATH = "/v1/chat/completions"
CHAT = LLAMA_SERVER[CHAT_PATH]


class Places:
    """A schedule of places, used up one by one; behind a real dispatcher.

    Attributes:
        returns: How many attempts failed.
        finished: What became of the request.
        held: What replicas still work on although it was left.
    """

    def __init__(self, *endpoints: Endpoint, head_hold_seconds: float = 0, is_direct: bool = False) -> None:
        self._left = list(endpoints)
        self.returns = 0
        self.finished: list[Exchange | None] = []
        self.held: list[int] = []
        self.dispatcher = Dispatcher(
            self._decide,
            SystemClock(),
            max_wait_seconds=DEADLINE_SECONDS,
            head_hold_seconds=head_hold_seconds,
            schedule=self if is_direct else None,
        )

    def place_now(self, _ticket: Ticket, _now: float) -> Endpoint | None:
        """Place a request at once, as a scheduler that is called directly does."""
        return self._left.pop(0) if self._left else None

    def finish(self, ticket_id: int, exchange: Exchange | None, _now: float) -> None:
        self._decide(Finished(ticket_id, exchange))

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
    """relayd's data path behind a door; `endpoints` are tried in order."""

    endpoints: list[Endpoint]
    pools: Pools
    stall_seconds: float
    dialect: Dialect = OPENAI
    faults: list[str] = field(default_factory=list)
    places: Places = field(default_factory=Places)
    replicas: list[FakeReplica] = field(default_factory=list)
    open_requests: int = 0
    port: int = 0
    head_hold_seconds: float = 0
    is_straight: bool = False
    """A request goes straight, on a connection that is open already."""

    def __post_init__(self) -> None:
        self.exchanges = Exchanges(SystemClock())
        self.respond: DirectHandler = self.handle
        self.report = self.faults.append
        self._proxy = Proxy(
            self.pools,
            write_stall_seconds=self.stall_seconds,
            on_fault=lambda _, reason: self.report(reason),
        )

    async def answer(self, request: Incoming, client: Recipient, context: RequestContext) -> None:
        self.open_requests += 1
        try:
            await self.respond(request, client, context)
        finally:
            self.open_requests -= 1

    async def handle(self, request: Incoming, client: Recipient, _context: RequestContext) -> None:
        self.places = Places(*self.endpoints, head_hold_seconds=self.head_hold_seconds)
        with self.exchanges.begin("request-7", CHAT_PATH, "team") as record:
            opened = open_body(b"".join([part async for part in request.content.iter_any()]))
            seen = judge(opened, CHAT)
            with self.places.dispatcher.open(Ask("m", key="team", stream=seen.stream), record) as lease:
                call = with_additions(Call(CHAT_PATH, seen.body, seen.stream), opened.members, 1)
                await self._proxy.forward(client, call, lease, self.dialect)

    def prepare(
        self, client: StraightRecipient, _context: RequestContext, _named: object, raw: bytes, /
    ) -> Passage | None:
        """Have a request go straight."""
        try:
            opened = open_body(raw)
            seen = judge(opened, CHAT)
        except RequestError:
            return None
        self.open_requests += 1
        self.places = Places(*self.endpoints, head_hold_seconds=self.head_hold_seconds, is_direct=True)
        record = self.exchanges.begin("request-7", CHAT_PATH, "team")
        lease = self.places.dispatcher.open(Ask("m", key="team", stream=seen.stream), record)
        call = with_additions(Call(CHAT_PATH, seen.body, seen.stream), opened.members, 1)
        return Passage(self, client, call, lease, self.dialect, (), len(raw))

    def over(self, passage: Passage) -> None:
        self.open_requests -= 1
        passage.client.finish()

    def resume(self, passage: Passage) -> Coroutine[Any, Any, None]:
        return passage.client.carry_out(self._go_on(passage), self.dialect, passage.headers)

    async def _go_on(self, passage: Passage) -> None:
        try:
            with passage.lease.record, passage.lease:
                await self._proxy.go_on(passage)
        finally:
            self.open_requests -= 1

    async def open_connections(self) -> None:
        """Open a connection to each replica, for requests that go straight."""
        for endpoint in self.endpoints:
            with suppress(OSError):
                await self.pools.prepare(endpoint)

    def door(self) -> Door:
        policy = make_policy("127.0.0.1", allowed_hosts=["x"], keyed=False)
        routes = [
            Route(
                "POST",
                CHAT_PATH,
                over_aiohttp(self.answer),
                direct=self.answer,
                straight=self if self.is_straight else None,
            ),
            Route("GET", CHAT_PATH, over_aiohttp(self.answer)),
        ]
        return Door(routes, policy, Keyring(FailedKeys(SystemClock())), self.dialect)

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
    path: str = CHAT_PATH,
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


LANE_ONLY = pytest.mark.parametrize("way", ["asyncio", "uvloop"], indirect=True)
"""For what aiohttp's own framing cannot show: half a chunk."""

STREAM = b'{"stream":true}'
UNCONTINUED = b'{"stream":true,"logprobs":true}'
"""A stream that no other replica may continue."""


@asynccontextmanager
async def serving(front: Front, *, by_lane: bool = True) -> AsyncIterator[Front]:
    """Let clients in: requests come through the lane, or all of them through aiohttp."""
    door = front.door()
    if front.is_straight:
        await front.open_connections()

    def current() -> Door:
        return door

    listener = await listen(
        behind(current), "127.0.0.1", 0, dialect=front.dialect, door=current if by_lane else None
    )
    front.port = listener.addresses[0][1]
    try:
        yield front
    finally:
        front.pools.close()
        await listener.close(1)
        assert front.open_requests == 0


Opener = Callable[..., AbstractAsyncContextManager[Front]]
