"""A replica that says exactly what a test wrote down: the faults a real engine cannot be made to have."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import cast

from relayd.endpoint import Address, Endpoint, TcpAddress, UnixAddress
from relayd.secret import Secret

KEY = "the-replica-key"


class Then(Enum):
    """What a replica does with the connection after its last byte."""

    KEEP = "keep"
    CLOSE = "close"
    RESET = "reset"
    HANG = "hang"


@dataclass(frozen=True)
class Act:
    """The answer to one request: bytes in order, and events that must be set before more is sent."""

    parts: tuple[bytes | asyncio.Event, ...]
    then: Then = Then.KEEP


def act(*parts: bytes | asyncio.Event, then: Then = Then.KEEP) -> Act:
    return Act(parts, then)


def head(*fields: str, status: str = "200 OK") -> bytes:
    """Return a response head as the engine writes it, with `fields` added."""
    lines = [f"HTTP/1.1 {status}", "Server: llama.cpp", "Access-Control-Allow-Origin: ", *fields]
    return "\r\n".join([*lines, "Keep-Alive: timeout=5, max=100", "", ""]).encode()


def json_answer(body: bytes, *, status: str = "200 OK") -> bytes:
    return head("Content-Type: application/json", f"Content-Length: {len(body)}", status=status) + body


def refusal(code: int, kind: str, message: str = "no", *, extra: str = "") -> bytes:
    body = f'{{"error":{{"code":{code},"message":"{message}","type":"{kind}"{extra}}}}}'
    return json_answer(body.encode(), status=f"{code} Whatever")


SSE_HEAD = head("Content-Type: text/event-stream", "X-Accel-Buffering: no", "Transfer-Encoding: chunked")
LAST_CHUNK = b"0\r\n\r\n"
DONE = b"data: [DONE]\n\n"


def chunk(payload: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(payload), payload)


def event(number: int) -> bytes:
    return b'data: {"n":%d}\n\n' % number


def said(text: str, answer_id: str = "a") -> bytes:
    """Return an event of a chat that holds text."""
    choice = f'{{"finish_reason":null,"index":0,"delta":{{"content":"{text}"}}}}'
    return f'data: {{"choices":[{choice}],"id":"{answer_id}"}}\n\n'.encode()


@dataclass
class FakeReplica:
    """A listening replica.

    Attributes:
        script: What it answers, request by request; the last act is repeated.
        requests: What it was sent.
        connections: How many it has accepted.
        sent: Bytes it has handed to the network.
        asked: Set with the first request.
        left: Set when a peer went away before its answer was over.
        alone: Set while nobody is connected.
        works_on: Whether it goes on with a request whose peer has half-closed, until `finish`.
        cancelled: Set when a peer has half-closed within an answer.
        between_batches: Set while it reads no prompt; it says so when it is asked, without its script.
        says: What it says then.
    """

    address: Address
    script: Sequence[Act]
    requests: list[bytes] = field(default_factory=list)
    connections: int = 0
    sent: int = 0
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    left: asyncio.Event = field(default_factory=asyncio.Event)
    alone: asyncio.Event = field(default_factory=asyncio.Event)
    peers: "set[Peer]" = field(default_factory=set)
    works_on: bool = False
    cancelled: asyncio.Event = field(default_factory=asyncio.Event)
    between_batches: asyncio.Event = field(default_factory=asyncio.Event)
    says: bytes = b""

    def __post_init__(self) -> None:
        self.between_batches.set()
        self.says = self.says or json_answer(b"[]")

    @property
    def endpoint(self) -> Endpoint:
        return Endpoint(self.address, Secret(KEY), "fake#0", id(self))

    def finish(self) -> None:
        """Close every connection, as an engine does with requests that it is done with."""
        for peer in tuple(self.peers):
            peer.transport.close()

    def take(self, request: bytes) -> Act:
        if request.startswith(b"GET /lora-adapters "):
            return act(self.between_batches, self.says)
        act_now = self.script[min(len(self.requests), len(self.script) - 1)]
        self.requests.append(request)
        self.asked.set()
        return act_now


class Peer(asyncio.Protocol):
    """One connection to a fake replica."""

    transport: asyncio.Transport

    def __init__(self, fake: FakeReplica) -> None:
        self._fake = fake
        self._inbox = b""
        self._acting: asyncio.Task[None] | None = None
        self._writable = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self._fake.connections += 1
        self._fake.peers.add(self)
        self._fake.alone.clear()
        self._writable.set()

    def data_received(self, data: bytes) -> None:
        self._inbox += data
        head, found, rest = self._inbox.partition(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0] or 0)
        if found and len(rest) >= length:
            self._inbox = b""
            self._acting = asyncio.ensure_future(self._play(self._fake.take(head + found + rest)))

    def eof_received(self) -> bool:
        if self._acting is not None and not self._acting.done():
            self._fake.cancelled.set()
        return self._fake.works_on

    def connection_lost(self, exc: Exception | None) -> None:
        self._fake.peers.discard(self)
        if not self._fake.peers:
            self._fake.alone.set()
        if self._acting is not None and not self._acting.done():
            self._fake.left.set()
            self._acting.cancel()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    async def _play(self, now: Act) -> None:
        for part in now.parts:
            if isinstance(part, asyncio.Event):
                await part.wait()
            else:
                self.transport.write(part)
                await self._writable.wait()
                self._fake.sent += len(part)
        if now.then is Then.HANG:
            await asyncio.Event().wait()
        if now.then is Then.RESET:
            self.transport.get_extra_info("socket").setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
            )
            self.transport.abort()
        if now.then is Then.CLOSE:
            self.transport.close()


@asynccontextmanager
async def fake_replica(where: Path | None, *script: Act) -> AsyncIterator[FakeReplica]:
    """Listen on a socket file, or on a loopback port if `where` is None."""
    loop = asyncio.get_running_loop()
    fake = FakeReplica(TcpAddress(0), script)
    if where is None:
        server = await loop.create_server(lambda: Peer(fake), "127.0.0.1", 0)
        fake.address = TcpAddress(server.sockets[0].getsockname()[1])
    else:
        fake.address = UnixAddress(where)
        server = await loop.create_unix_server(lambda: Peer(fake), str(where))
    try:
        yield fake
    finally:
        server.close()
        for peer in tuple(fake.peers):
            peer.transport.abort()
        await server.wait_closed()
