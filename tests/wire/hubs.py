"""A scripted hub and a scripted backend, for a worker of ours."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import aiohttp
from aiohttp import web
from aiohttp.test_utils import unused_port
from yarl import URL

from relayd.remote.modelrelay.backend import Backend, parse_backend
from relayd.remote.modelrelay.joining import WorkerMembership, hub_url
from relayd.remote.modelrelay.messages import read_from_worker
from relayd.remote.modelrelay.worker import WorkerOffer
from relayd.secret import Secret
from tests.wire.peers import SECRET


class ScriptedHub:
    """A hub that does only what a test has it do; each connection of a worker is in `connections`."""

    def __init__(self) -> None:
        self.connections: asyncio.Queue[Connected] = asyncio.Queue()
        self.headers: list[tuple[str, str]] = []
        self.refuse: Callable[[web.WebSocketResponse], Awaitable[None]] | None = None
        self.is_relayd = False
        self.url = ""

    async def answer(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(max_msg_size=1 << 26)
        if self.is_relayd:
            socket.headers["Server"] = "relayd"
        await socket.prepare(request)
        self.headers.append((request.headers.get("x-worker-secret", ""), request.query_string))
        if self.refuse is not None:
            await self.refuse(socket)
            return socket
        connected = Connected(socket)
        await self.connections.put(connected)
        await connected.over.wait()
        return socket


class Connected:
    """One connection of a worker."""

    def __init__(self, socket: web.WebSocketResponse) -> None:
        self.socket = socket
        self.over = asyncio.Event()

    async def send(self, kind: str, **members: object) -> None:
        await self.socket.send_str(json.dumps({"type": kind, **members}))

    async def receive(self, kind: str = "") -> dict[str, Any]:
        """Return the next message of a type."""
        while True:
            frame = await self.socket.receive()
            assert frame.type is aiohttp.WSMsgType.TEXT, frame
            assert read_from_worker(frame.data) is not None, "the stock server closes at an unknown type"
            message: dict[str, Any] = json.loads(frame.data)
            if kind in ("", message["type"]):
                return message

    async def accept(self) -> dict[str, Any]:
        """Take the registration, and acknowledge it."""
        register = await self.receive("register")
        await self.send("register_ack", worker_id="worker-1", models=register["models"])
        return register

    async def ask(self, request_id: str, body: dict[str, Any], path: str = "/v1/chat/completions") -> None:
        await self.send(
            "request",
            request_id=request_id,
            model=body.get("model", "m"),
            endpoint_path=path,
            is_streaming=bool(body.get("stream")),
            body=json.dumps(body),
            headers={"authorization": "Bearer client", "cookie": "a=b", "x-request-id": "r-9", "host": "hub"},
        )

    async def answer_to(self, request_id: str) -> tuple[str, dict[str, Any]]:
        """Return the chunks of an answer as one text, and its end."""
        text = ""
        while True:
            message = await self.receive()
            if message.get("request_id") != request_id:
                continue
            if message["type"] != "response_chunk":
                return text, message
            text += message["chunk"]


class ScriptedBackend:
    """A local server with a list of models that changes, and answers by what is asked."""

    def __init__(self) -> None:
        self.models = ["m"]
        self.is_down = False
        self.seen: list[tuple[str, dict[str, str], bytes]] = []
        self.running: set[object] = set()
        self.hold = asyncio.Event()
        self.pieces: list[bytes] = []
        self.status, self.body = 200, b'{"ok":true}'
        self.cut = False
        self.url = ""

    async def list(self, _request: web.Request) -> web.Response:
        if self.is_down:
            raise web.HTTPServiceUnavailable
        return web.json_response({"object": "list", "data": [{"id": one} for one in self.models]})

    async def post(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        self.seen.append((request.path, {k.lower(): v for k, v in request.headers.items()}, body))
        running = object()
        self.running.add(running)
        try:
            if not self.pieces:
                return web.Response(status=self.status, body=self.body, content_type="application/json")
            answer = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
            await answer.prepare(request)
            for piece in self.pieces:
                await answer.write(piece)
                await asyncio.sleep(0.01)
            if json.loads(body).get("hold"):
                await self.hold.wait()
            if self.cut:
                assert request.transport is not None
                request.transport.abort()
            return answer
        finally:
            self.running.discard(running)


class Shown:
    """What a worker reports of itself."""

    def __init__(self) -> None:
        self.events: asyncio.Queue[tuple[str, str]] = asyncio.Queue()

    def accepted(self, models: list[str], warnings: list[str]) -> None:
        self.events.put_nowait(("accepted", ",".join([*models, *warnings])))

    def refused(self, reason: str, seconds: float) -> None:
        self.events.put_nowait(("refused", reason))

    def lost(self, reason: str, seconds: float) -> None:
        self.events.put_nowait(("lost", reason))


@asynccontextmanager
async def served(app: web.Application) -> AsyncIterator[str]:
    """Serve an application, and yield its URL."""
    runner = web.AppRunner(app, handler_cancellation=True)
    await runner.setup()
    port = unused_port()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def scripted_hub() -> AsyncIterator[ScriptedHub]:
    hub, app = ScriptedHub(), web.Application()
    app.router.add_get("/v1/worker/connect", hub.answer)
    async with served(app) as hub.url:
        yield hub


@asynccontextmanager
async def scripted_backend() -> AsyncIterator[ScriptedBackend]:
    backend, app = ScriptedBackend(), web.Application()
    app.router.add_get("/v1/models", backend.list)
    app.router.add_post("/{path:.*}", backend.post)
    async with served(app) as backend.url:
        yield backend


@asynccontextmanager
async def member(
    hub: ScriptedHub,
    backend_url: str,
    *,
    models: tuple[str, ...] | None = None,
    slots: int = 4,
    key: str = "",
    follow_seconds: float = 0.02,
) -> AsyncIterator[tuple[WorkerMembership, Shown]]:
    """Run a worker of ours beside a test."""
    backend, shown = Backend(parse_backend(backend_url), Secret(key)), Shown()
    membership = WorkerMembership(
        hub_url(str(URL(hub.url)), "lab"),
        Secret(SECRET),
        WorkerOffer("box", models, slots),
        backend,
        shown,
        Random(1),
        follow_seconds=follow_seconds,
        first_seconds=0.01,
    )
    running = asyncio.create_task(membership.run())
    try:
        yield membership, shown
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await backend.close()
