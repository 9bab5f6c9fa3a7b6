"""A daemon without models of its own, put together in this process, and scripted servers elsewhere."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from relayd.config import Config
from relayd.config.schema import UpstreamServer
from relayd.daemon.parts import DaemonParts
from relayd.daemon.upstreams import upstream_plan
from relayd.remote import OfferState
from tests.daemon.assembled import SERVER, desired, with_parts
from tests.remote.servers import MODEL, Answer, Server, running

DEADLINE_SECONDS = 60.0
CHAT = {"model": MODEL, "messages": [{"role": "user", "content": "hi"}]}


@dataclass(frozen=True)
class Reply:
    status: int
    fields: dict[str, str]
    body: bytes

    @property
    def members(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.body)
        return found

    @property
    def message(self) -> str:
        return str(self.members["error"]["message"])


@dataclass
class Client:
    """Who asks a daemon that is put together in this process."""

    parts: DaemonParts

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        host, port = self.parts.doors.listener.addresses[0]
        return await asyncio.open_connection(host, port)

    async def ask(self, body: object = CHAT, path: str = "/v1/chat/completions", **fields: str) -> Reply:
        reader, writer = await self.connect()
        writer.write(request(body, path, **fields))
        raw = await reader.read()
        writer.close()
        head, _, rest = raw.partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        found = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        return Reply(int(first.split()[1]), found, unchunked(rest) if "transfer-encoding" in found else rest)

    async def until(self, holds: Callable[[], object]) -> None:
        async with asyncio.timeout(DEADLINE_SECONDS):
            while not holds():
                await asyncio.sleep(0.01)

    def follow(self, *upstreams: UpstreamServer) -> None:
        config = Config(server=SERVER, upstream=upstreams)
        self.parts.upstreams.follow(upstream_plan(config).sources)

    async def serve(self, *upstreams: UpstreamServer) -> None:
        self.follow(*upstreams)
        await self.parts.upstreams.settled(DEADLINE_SECONDS)

    def state(self, replica: str) -> OfferState | None:
        known = self.parts.remotes.get(replica)
        return known.state if known else None


def request(body: object, path: str = "/v1/chat/completions", **fields: str) -> bytes:
    raw = json.dumps(body).encode()
    key = SERVER.api_key.reveal()
    head = {
        "Host": "localhost",
        "Authorization": f"Bearer {key}",
        "Content-Type": "application/json",
        "Content-Length": str(len(raw)),
        "Connection": "close",
        **{name.replace("_", "-"): value for name, value in fields.items()},
    }
    lines = "".join(f"{name}: {value}\r\n" for name, value in head.items())
    method = "POST" if body is not None else "GET"
    return f"{method} {path} HTTP/1.1\r\n{lines}\r\n".encode() + raw


def unchunked(raw: bytes) -> bytes:
    found = b""
    while raw:
        size, _, raw = raw.partition(b"\r\n")
        found, raw = found + raw[: int(size, 16)], raw[int(size, 16) + 2 :]
    return found


Story = Callable[[Client, list[Server]], Awaitable[None]]


def play(home: Path, story: Story, *scripts: Answer | Server) -> None:
    """Have a daemon without models of its own, and servers elsewhere; they are not its upstreams yet."""

    async def scene(assembled: Any) -> None:
        async with AsyncExitStack() as stack:
            servers = [one if isinstance(one, Server) else Server(one) for one in scripts]
            for server in servers:
                await stack.enter_async_context(running(server))
            stack.callback(assembled.parts.upstreams.close)
            await story(Client(assembled.parts), servers)

    with_parts(desired(home), scene)


def upstream(server: Server, name: str = "box", **settings: Any) -> UpstreamServer:
    return UpstreamServer(
        url=server.url, name=name, **{"probe_seconds": 0.05, "metrics_seconds": 0, **settings}
    )
