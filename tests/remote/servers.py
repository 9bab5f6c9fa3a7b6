"""Servers elsewhere that follow a script: they answer as vLLM, SGLang, Ollama, LM Studio and others do."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

MODEL = "Qwen/Qwen3-8B"


@dataclass(frozen=True)
class Got:
    """A request as it arrived; names of fields are in lower case."""

    method: str
    path: str
    fields: dict[str, str]
    body: bytes

    @property
    def members(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.body)
        return found


Write = Callable[[bytes], Awaitable[None]]
Answer = Callable[[Got, Write], Awaitable[None]]
"""Answers a chat: writes pieces of a raw response; the connection stays open when it returns."""


@dataclass
class Server:
    """A server with one address; what it lists and how it answers may be changed at any time."""

    answer: Answer
    models: object = field(
        default_factory=lambda: {"object": "list", "data": [{"id": MODEL, "owned_by": "x"}]}
    )
    figures: str = ""
    got: list[Got] = field(default_factory=list)
    probed: list[Got] = field(default_factory=list)
    left: asyncio.Event = field(default_factory=asyncio.Event)
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def __post_init__(self) -> None:
        self.connections: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self.serve(reader, writer))
        self.connections[task] = writer
        task.add_done_callback(self.connections.pop)

    async def end(self) -> None:
        """End every connection, also of a task that has not begun and would never close it."""
        for task, writer in tuple(self.connections.items()):
            writer.transport.abort()
            task.cancel()
        if self.connections:
            await asyncio.wait(self.connections)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async def write(piece: bytes) -> None:
            writer.write(piece)
            await writer.drain()

        try:
            while (got := await read_request(reader)) is not None:
                if got.method == "GET":
                    self.probed.append(got)
                    await write(self._listed(got.path))
                    continue
                self.got.append(got)
                gone = asyncio.create_task(reader.read(1))
                answering = asyncio.ensure_future(self.answer(got, write))
                await asyncio.wait((gone, answering), return_when=asyncio.FIRST_COMPLETED)
                is_left = not answering.done()
                for one in (gone, answering):
                    one.cancel()
                await asyncio.wait((gone, answering))
                if is_left:
                    self.left.set()
                    return
                answering.result()
        except (ConnectionError, asyncio.IncompleteReadError):
            self.left.set()
        finally:
            writer.transport.abort()

    def _listed(self, path: str) -> bytes:
        if path.endswith("/metrics"):
            return plain(self.figures.encode(), kind="text/plain") if self.figures else refusal(404, {})
        if isinstance(self.models, bytes):
            return self.models
        return plain(json.dumps(self.models).encode())


async def read_request(reader: asyncio.StreamReader) -> Got | None:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    first, *lines = head.decode().strip().split("\r\n")
    method, path, _ = first.split(" ")
    fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return Got(method, path, fields, await reader.readexactly(int(fields.get("content-length", 0))))


def plain(body: bytes, *, kind: str = "application/json", status: str = "200 OK", more: str = "") -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n{more}\r\n"
    return head.encode() + body


def refusal(status: int, body: object, more: str = "") -> bytes:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return plain(raw, status=f"{status} No", more=more)


def answers(raw: bytes) -> Answer:
    async def answer(_: Got, write: Write) -> None:
        await write(raw)

    return answer


STREAM = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nTransfer-Encoding: chunked\r\n\r\n"
)
LAST = b"0\r\n\r\n"


def chunk(piece: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(piece), piece)


def event(delta: dict[str, Any], finish: str | None = None, *, space: bytes = b" ") -> bytes:
    body = {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "model": MODEL,
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
    }
    return b"data:%b%b\n\n" % (space, json.dumps(body).encode())


def said(text: str) -> bytes:
    body = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "model": MODEL,
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4},
    }
    return plain(json.dumps(body).encode())


def streams(*pieces: bytes, end: bytes = b"data: [DONE]\n\n") -> Answer:
    """Return what writes one chunk for each event, as uvicorn does, and ends."""

    async def answer(_: Got, write: Write) -> None:
        await write(STREAM)
        for piece in (*pieces, *((end,) if end else ())):
            await write(chunk(piece))
        await write(LAST)

    return answer


HELLO = (
    event({"role": "assistant", "content": ""}),
    event({"content": "Hel"}),
    event({"content": "lo"}, "stop"),
)


@asynccontextmanager
async def running(server: Server) -> AsyncIterator[Server]:
    """Have a server listen on a port of the system's choice."""
    listener = await asyncio.start_server(server.accept, "127.0.0.1", server.port)
    server.port = listener.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listener.close()
        await asyncio.sleep(0)  # connections that were accepted in this turn are made in the next one
        await server.end()
