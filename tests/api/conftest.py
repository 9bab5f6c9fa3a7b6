"""Doors on a free loopback port, and a client that writes exactly the bytes it is given."""

import asyncio
import hashlib
import json
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import pytest

from relayd.api.admission import DirectHandler, Incoming, RequestContext, Route
from relayd.api.answer import Answer
from relayd.api.bodies import Bodies
from relayd.api.body import read_body, take_body
from relayd.api.door import Door, OnRefused
from relayd.api.fleet import ModelState, ModelView
from relayd.api.grants import KeyGrant
from relayd.api.guard import make_policy
from relayd.api.health import health_routes
from relayd.api.keys import FailedKeys, Keyring, KnownKeys
from relayd.api.limiter import ConnectionLimits
from relayd.api.openai import OPENAI
from relayd.api.served import behind, over_aiohttp
from relayd.api.server import Listener, listen
from relayd.clock import SystemClock
from relayd.rights import KeyRights
from relayd.router import Recipient
from relayd.units import Bytes
from tests.daemons import DEADLINE_SECONDS

KEY = "a-key-that-is-long-enough"
BODY_LIMIT = Bytes(100_000)

T = TypeVar("T")


@dataclass(frozen=True)
class Response:
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def error(self) -> dict[str, str]:
        error = json.loads(self.body)["error"]
        assert {"message", "type", "code", "param"} == set(error)
        return dict(error)


@dataclass(frozen=True)
class Client:
    """Speaks raw HTTP to the doors."""

    port: int
    listener: Listener | None = None
    host: str = "127.0.0.1"

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection(self.host, self.port)

    async def ask(self, raw: bytes) -> Response:
        """Send bytes over a connection of their own and return the first response."""
        reader, writer = await self.connect()
        try:
            writer.write(raw)
            return await read_response(reader, is_head=raw.startswith(b"HEAD"))
        finally:
            writer.close()


async def read_response(reader: asyncio.StreamReader, *, is_head: bool = False) -> Response:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.strip().split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    if headers.get("transfer-encoding") == "chunked" and not is_head:
        return Response(int(first.split()[1]), headers, await read_chunks(reader))
    length = 0 if is_head else int(headers.get("content-length", 0))
    return Response(int(first.split()[1]), headers, await reader.readexactly(length))


async def read_chunks(reader: asyncio.StreamReader) -> bytes:
    """Return what chunks hold, up to the last one or to where the connection ends."""
    pieces = []
    while size := int(await reader.readline() or b"0", 16):
        pieces.append(await reader.readexactly(size))
        await reader.readline()
    return b"".join(pieces)


@dataclass(frozen=True)
class StillFleet:
    """Models that stay as they are."""

    views: tuple[ModelView, ...] = ()

    def models(self) -> tuple[ModelView, ...]:
        return self.views


def view(
    name: str = "qwen",
    ready: int = 1,
    *,
    replicas: int = 1,
    demo: bool = False,
    cold: int = 0,
    state: ModelState | None = None,
) -> ModelView:
    known = ModelState.READY if ready else ModelState.COLD if cold else ModelState.LOADING
    aliases = (f"{name}-alias",)
    return ModelView(name, aliases, ready, replicas, 4, 4096, state or known, demo, 1_700_000_000, cold)


async def echo(request: Incoming, client: Recipient, context: RequestContext) -> None:
    await Echo(Bodies(BODY_LIMIT))(request, client, context)


@dataclass(frozen=True)
class Echo:
    """Answers with the size of a body, within a budget for all of them."""

    bodies: Bodies
    progress_seconds: float = 0.5

    async def __call__(self, request: Incoming, client: Recipient, context: RequestContext) -> None:
        hold = self.bodies.hold()
        try:
            body = take_body(request, limit=BODY_LIMIT, hold=hold)
            if body is None:
                body = await read_body(
                    request, limit=BODY_LIMIT, progress_seconds=self.progress_seconds, hold=hold
                )
        finally:
            hold.release()
        answer = Answer(200, b'{"bytes":%d}' % len(body)).carrying(context.headers)
        client.begin(answer.status, answer.sized(), framed=False)
        client.write(answer.body)
        await client.end(1)


async def fail(_request: Incoming, _client: Recipient, _context: RequestContext) -> None:
    raise ZeroDivisionError("a secret")


def direct_route(path: str, handler: DirectHandler) -> Route:
    """Return a route that is served by either way in."""
    return Route("POST", path, over_aiohttp(handler), direct=handler)


ROUTES = (
    *health_routes(StillFleet((view(),))),
    direct_route("/v1/chat/completions", echo),
    direct_route("/fail", fail),
)

Doors = Callable[..., AbstractAsyncContextManager[Client]]


def known_keys(*keys: str, admins: tuple[str, ...] = ()) -> KnownKeys:
    """Return keys for models, `key-0` and on; `admins` are those of them that are for administration too."""
    grants = {}
    for index, key in enumerate(keys):
        name = f"key-{index}"
        scopes = ("inference", "admin") if name in admins else ("inference",)
        grants[hashlib.sha256(key.encode()).digest()] = KeyGrant(name, name, KeyRights(scopes=scopes))
    return KnownKeys(
        grants,
        is_open=not keys,
        is_unused=not keys,
        has_admin=any("admin" in grant.rights.scopes for grant in grants.values()),
    )


@asynccontextmanager
async def open_doors(
    routes: Iterable[Route] = ROUTES,
    *,
    keys: tuple[str, ...] = (),
    limits: ConnectionLimits | None = None,
    allowed_hosts: tuple[str, ...] = (),
    cors_origins: tuple[str, ...] = (),
    admins: tuple[str, ...] = (),
    on_refused: OnRefused = lambda *_: None,
    by_lane: bool = True,
    tls: ssl.SSLContext | None = None,
    known: KnownKeys | None = None,
) -> AsyncIterator[Client]:
    """Open doors for the length of a `with` block; all requests come through aiohttp if not `by_lane`."""
    policy = make_policy(
        "127.0.0.1", allowed_hosts=allowed_hosts, cors_origins=cors_origins, keyed=bool(keys or known)
    )
    keyring = Keyring(FailedKeys(SystemClock()), known or known_keys(*keys, admins=admins))
    door = Door(routes, policy, keyring, OPENAI, on_refused)
    current = (lambda: door) if by_lane else None
    listener = await listen(
        behind(lambda: door), "127.0.0.1", 0, limits, dialect=OPENAI, door=current, tls=tls
    )
    try:
        yield Client(listener.addresses[0][1], listener)
    finally:
        await listener.close(drain_seconds=0.2)


@pytest.fixture(params=["lane", "aiohttp"])
def doors(request: pytest.FixtureRequest) -> Doors:
    """Doors by either way in."""
    return partial(open_doors, by_lane=request.param == "lane")


def run_with(scene: Callable[[], Coroutine[None, None, T]]) -> T:
    """Play a scene that ends by itself."""

    async def play() -> T:
        async with asyncio.timeout(DEADLINE_SECONDS):
            return await scene()

    return asyncio.run(play())
