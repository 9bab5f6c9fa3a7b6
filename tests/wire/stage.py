"""A hub's side of one worker without a network: time that jumps, frames in lists, a router's end."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import msgspec

from relayd.remote.modelrelay.connection import WorkerConnection
from relayd.remote.modelrelay.messages import Register, read_from_server
from relayd.remote.modelrelay.session import WorkerSession


class Due:
    """A call that is due at a moment."""

    def __init__(self, at: float, callback: Callable[..., object], args: tuple[Any, ...]) -> None:
        self.at, self.callback, self.args = at, callback, args
        self.is_cancelled = False

    def cancel(self) -> None:
        self.is_cancelled = True


class JumpingLoop:
    """The calls an event loop would make, made by `advance`."""

    def __init__(self) -> None:
        self.now = 0.0
        self._due: list[Due] = []

    def call_soon(self, callback: Callable[..., object], /, *args: Any) -> object:
        return self.call_later(0.0, callback, *args)

    def call_later(self, delay: float, callback: Callable[..., object], /, *args: Any) -> Due:
        due = Due(self.now + delay, callback, args)
        self._due.append(due)
        return due

    def advance(self, seconds: float = 0.0) -> None:
        """Let so many seconds pass, and make every call that is due by then, in order."""
        until = self.now + seconds
        while ready := [one for one in self._due if one.at <= until and not one.is_cancelled]:
            first = min(ready, key=lambda one: one.at)
            self._due.remove(first)
            self.now = max(self.now, first.at)
            first.callback(*first.args)
        self.now = until


class Wire:
    """The WebSocket of a worker: what the hub sends it, and how it is closed."""

    def __init__(self) -> None:
        self.frames: list[dict[str, Any]] = []
        self.closed: tuple[int, str] | None = None

    def send(self, frame: str) -> None:
        assert read_from_server(frame) is not None, "the stock worker ends the session at an unknown type"
        self.frames.append(json.loads(frame))

    def close(self, code: int, reason: str) -> None:
        self.closed = self.closed or (code, reason)

    def of(self, kind: str) -> list[dict[str, Any]]:
        """Return the messages of one type."""
        return [frame for frame in self.frames if frame["type"] == kind]


class RouterEnd(asyncio.Protocol):
    """What the router has for a connection: the bytes of answers, and how it ended."""

    def __init__(self) -> None:
        self.data = b""
        self.parts: list[bytes] = []
        self.is_lost = False
        self.error: Exception | None = None

    def data_received(self, data: bytes) -> None:
        self.data += data
        self.parts.append(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_lost, self.error = True, exc

    @property
    def status(self) -> int:
        return int(self.data.split(b" ", 2)[1])

    @property
    def payload(self) -> bytes:
        """The body, freed of its chunks."""
        head, _, rest = self.data.partition(b"\r\n\r\n")
        if b"transfer-encoding: chunked" not in head.lower():
            return rest
        pieces = []
        while rest:
            size, _, rest = rest.partition(b"\r\n")
            pieces.append(rest[: int(size, 16)])
            rest = rest[int(size, 16) + 2 :]
        return b"".join(pieces)


def post(
    body: bytes = b'{"model":"m"}', path: str = "/v1/chat/completions", *fields: str, method: str = "POST"
) -> bytes:
    """Return a request as the router writes it."""
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", "Connection: keep-alive", *fields]
    lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


STREAMED = b'{"model":"m","stream":true}'


class Stage:
    """One worker that has registered, as its hub has it."""

    def __init__(self, *, slots: int = 1, models: tuple[str, ...] = ("m",), load: int = 0) -> None:
        self.loop, self.wire = JumpingLoop(), Wire()
        self.changes = 0
        self.session = WorkerSession(
            "worker-1",
            "box",
            "local",
            Register("box", list(models), slots, None, load),
            self.wire,
            self.loop,
            self._changed,
        )

    def _changed(self, _session: WorkerSession) -> None:
        self.changes += 1

    def connect(self) -> tuple[WorkerConnection, RouterEnd]:
        """Return a connection of the router to the worker."""
        end = RouterEnd()
        connection = WorkerConnection(self.session, end, self.loop)
        return connection, end

    def ask(self, request: bytes | None = None) -> tuple[WorkerConnection, RouterEnd]:
        """Send a request on a connection of its own."""
        connection, end = self.connect()
        connection.write(post() if request is None else request)
        return connection, end

    def receive(self, kind: str, **members: object) -> None:
        """Have the worker send a message."""
        self.session.receive(msgspec.json.encode({"type": kind, **members}).decode())

    @property
    def requests(self) -> list[str]:
        """The ids of the requests that the worker has got."""
        return [frame["request_id"] for frame in self.wire.of("request")]

    def chunk(self, text: str, request: int = -1) -> None:
        self.receive("response_chunk", request_id=self.requests[request], chunk=text)

    def complete(self, body: str = "", status: int = 200, request: int = -1, **headers: str) -> None:
        self.receive(
            "response_complete",
            request_id=self.requests[request],
            status_code=status,
            headers={name.replace("_", "-"): value for name, value in headers.items()},
            body=body,
        )
