"""How does this machine serve a hub of ModelRelay's protocol with a local backend (worker)?

    connect → `register` → requests, each posted to the backend on its own → the connection is lost
    → connect again, after 1 s that doubles up to 30 s

What the stock worker does not do: a request that is cancelled is completed with status 499, so that the
server frees its slot; a backend that fails fails one request, not all of them; a character that comes in two
parts is put together; the list of models is followed; and a refused stream keeps its status, as no chunk is
sent before it.
"""

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Protocol

import msgspec

from relayd.errors import HubLostError
from relayd.remote.modelrelay.backend import ALLOWED_PATHS, Backend, BackendAnswer
from relayd.remote.modelrelay.messages import (
    VERSION,
    CancelRequest,
    FromWorker,
    GracefulShutdown,
    ModelsRefresh,
    ModelsUpdate,
    Register,
    RegisterAck,
    ResponseChunk,
    ResponseComplete,
    WorkerFault,
    WorkerPing,
    WorkerPong,
    WorkerRequest,
    read_from_server,
    write_message,
)

FIRST_SECONDS = 1.0
_MOST_SECONDS = 30.0
_JITTER = 0.5
"""ModelRelay's curve: 1 s doubles up to 30 s, and less than half a second more."""

_UPSTREAM_FAILED = "upstream_failed"

CANCELLED = 499
"""The status that completes a cancelled request: nginx's for a client that closed."""

AFTER_SHUTDOWN_SECONDS = 2.0
"""How long after a graceful shutdown the hub's successor is looked for."""


class Backoff:
    """How long is waited before the next attempt to connect?

    Args:
        random: Spreads workers that were lost together.
        first_seconds: The first wait.
    """

    def __init__(self, random: Random, first_seconds: float = FIRST_SECONDS) -> None:
        self._random = random
        self._first_seconds = self._seconds = first_seconds

    def __repr__(self) -> str:
        return f"<Backoff {self._seconds:g} s>"

    def next_seconds(self) -> float:
        """Return how long to wait now; the wait after it is twice as long."""
        seconds, self._seconds = self._seconds, min(2 * self._seconds, _MOST_SECONDS)
        return seconds + self._random.uniform(0, _JITTER * self._first_seconds)

    def reset(self) -> None:
        """Begin again: a connection was accepted."""
        self._seconds = self._first_seconds


class HubSocket(Protocol):
    """The WebSocket to a hub."""

    @property
    def is_relayd(self) -> bool:
        """Whether the hub is a relayd."""
        ...

    async def send(self, frame: str) -> None:
        """Send a text frame; waits while the hub does not read.

        Raises:
            HubLostError: It is closed.
        """
        ...


@dataclass(frozen=True, slots=True)
class WorkerOffer:
    """What a worker offers a hub.

    Attributes:
        name: Of this machine.
        models: Whose requests are taken; None follows the backend's list.
        slots: Requests that are taken at once.
    """

    name: str
    models: tuple[str, ...] | None
    slots: int


class Duty:
    """One session with a hub: what it asks for is carried out, until the socket closes.

    Args:
        offer: What is offered.
        backend: Carries out requests.
        socket: To the hub.
        on_models: Called with the models that the hub has accepted, and its warnings.

    Attributes:
        is_draining: The hub is about to end: it is looked for again soon.
        is_accepted: The hub has accepted the registration.
    """

    def __init__(
        self,
        offer: WorkerOffer,
        backend: Backend,
        socket: HubSocket,
        on_models: Callable[[list[str], list[str]], None] = lambda _models, _warnings: None,
    ) -> None:
        self._offer, self._backend, self._socket, self._on_models = offer, backend, socket, on_models
        self._models: tuple[str, ...] = ()
        self._running: dict[str, asyncio.Task[None]] = {}
        self.is_draining = self.is_accepted = self.is_leaving = False

    def __repr__(self) -> str:
        return f"<Duty running={len(self._running)} of {self._offer.slots} models={len(self._models)}>"

    @property
    def load(self) -> int:
        """How many requests run."""
        return len(self._running)

    async def register(self) -> None:
        """Send the hub what is offered."""
        self._models = await self.current_models()
        await self._send(
            Register(self._offer.name, list(self._models), self._offer.slots, VERSION, self.load)
        )

    async def current_models(self) -> tuple[str, ...]:
        """Return the models of the backend as far as they are offered; none while it does not answer."""
        try:
            listed = await self._backend.models()
        except OSError:
            return ()
        chosen = self._offer.models
        return listed if chosen is None else chosen

    async def follow(self) -> None:
        """Report the models, if they have changed."""
        models = () if self.is_leaving else await self.current_models()
        if models != self._models:
            self._models = models
            await self._send(ModelsUpdate(list(models), self.load))

    async def leave(self) -> None:
        """Offer nothing more, so that nothing new comes; what runs goes on."""
        self.is_leaving = True
        await self.follow()

    async def idle(self) -> None:
        """Wait until nothing runs."""
        while self._running:
            await asyncio.wait(self._running.values())

    async def receive(self, frame: str) -> None:
        """Carry out what the hub has sent.

        Raises:
            InvalidMessageError: It is not a message.
            HubLostError: The socket is closed.
        """
        match read_from_server(frame):
            case WorkerRequest() as request:
                await self._begin(request)
            case CancelRequest() as cancel:
                await self._cancel(cancel.request_id)
            case WorkerPing() as ping:
                await self._send(WorkerPong(self.load, ping.timestamp_unix_ms))
            case ModelsRefresh():
                self._models = () if self.is_leaving else await self.current_models()
                await self._send(ModelsUpdate(list(self._models), self.load))
            case GracefulShutdown():
                self.is_draining = True
            case RegisterAck() as ack:
                self.is_accepted = True
                self._on_models(ack.models, ack.warnings)
            case None:
                pass

    async def end(self) -> None:
        """Cancel what runs: the socket has closed."""
        running = tuple(self._running.values())
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        self._running.clear()

    async def _begin(self, request: WorkerRequest) -> None:
        if request.request_id in self._running:
            return
        if self.is_draining or self.is_leaving:
            await self._refuse(
                request.request_id, 503, "worker_draining", "This worker takes no more requests."
            )
        elif request.endpoint_path not in ALLOWED_PATHS:
            shown = request.endpoint_path[:100]
            await self._refuse(request.request_id, 404, "not_found", f"A worker does not serve {shown!r}.")
        else:
            task = asyncio.create_task(self._carry_out(request))
            self._running[request.request_id] = task
            task.add_done_callback(lambda _: self._running.pop(request.request_id, None))

    async def _cancel(self, request_id: str) -> None:
        """Break a request off, and complete it: the stock server keeps its slot taken until then."""
        task = self._running.pop(request_id, None)
        if task is not None and task.cancel():
            await asyncio.wait([task])
            await self._send(ResponseComplete(request_id, CANCELLED, body=""))

    async def _carry_out(self, request: WorkerRequest) -> None:
        """Have the backend answer a request; whatever fails is the failure of this request alone."""
        with contextlib.suppress(HubLostError):
            try:
                await self._relay(request)
            except OSError as error:
                message = f"The backend {self._backend.url} failed: {error}."
                await self._refuse(request.request_id, 502, _UPSTREAM_FAILED, message)

    async def _relay(self, request: WorkerRequest) -> None:
        answer = await self._backend.post(request.endpoint_path, request.headers, request.body)
        request_id, headers = request.request_id, dict(answer.headers)
        try:
            if not (request.is_streaming and answer.is_stream and answer.status == 200):
                await self._send(ResponseComplete(request_id, answer.status, headers, await answer.text()))
                return
            await self._stream(request_id, answer)
            await self._send(ResponseComplete(request_id, answer.status, headers, ""))
        finally:
            answer.close()

    async def _stream(self, request_id: str, answer: BackendAnswer) -> None:
        """Send the body of a stream; one that breaks off ends with an event that states so.

        A relayd is sent an `error` instead, so that it can continue the answer elsewhere; ModelRelay's server
        ends the connection when it gets one.
        """
        try:
            async for text in answer.texts():
                await self._send(ResponseChunk(request_id, text))
        except OSError as error:
            message = f"The backend {self._backend.url} broke off: {error}."
            if self._socket.is_relayd:
                await self._send(WorkerFault(_UPSTREAM_FAILED, message, request_id))
                return
            event = msgspec.json.encode({"error": {"message": message, "type": _UPSTREAM_FAILED}}).decode()
            await self._send(ResponseChunk(request_id, f"\n\ndata: {event}\n\n"))

    async def _refuse(self, request_id: str, status: int, code: str, message: str) -> None:
        body = msgspec.json.encode({"error": {"message": message, "type": code, "code": status}}).decode()
        await self._send(ResponseComplete(request_id, status, {"content-type": "application/json"}, body))

    async def _send(self, message: FromWorker) -> None:
        await self._socket.send(write_message(message))
