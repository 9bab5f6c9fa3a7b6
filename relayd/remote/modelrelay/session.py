"""What runs on one worker that has connected, and what do it and the hub send each other?

Pure but for the timers of its loop: frames go in and out as text, and the WebSocket is somewhere else.

    a request arrives   → `request`, or it waits until the worker has a slot (models share them)
    its client leaves   → `cancel` and `ping`; the slot is free when the worker completes the request, reports
                          a lower load, or after 2 s: the stock worker sends nothing after a cancel
    `drain`             → `graceful_shutdown`, no further request, close once idle or at the deadline
    no frame for a time → `ping`, then the worker counts as lost
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from relayd.remote.modelrelay.connection import Alarm, Soon, WorkerConnection
from relayd.remote.modelrelay.messages import (
    CancelRequest,
    FromServer,
    FromWorker,
    GracefulShutdown,
    ModelsRefresh,
    ModelsUpdate,
    Register,
    ResponseChunk,
    ResponseComplete,
    WorkerFault,
    WorkerPing,
    WorkerPong,
    read_from_worker,
    write_message,
)
from relayd.remote.modelrelay.registration import AcceptedModels, accept_models, accept_slots
from relayd.remote.modelrelay.translation import NotForwarded, WorkerAnswer, message_of
from relayd.remote.modelrelay.work import WorkerRequests

LEFT_SECONDS = 2.0
"""How long a cancelled request is taken to occupy a worker that does not report its end."""

PING_SECONDS = 15.0
"""How long a worker may be silent before it is asked for a sign (ModelRelay's contract; its code has 30)."""

SILENT_SECONDS = 45.0
"""How long it may be silent before it counts as lost; the stock worker reconnects after 90 s of silence."""

_CLIENT_LEFT = "client_disconnect"

_AGAIN_SECONDS = 1.0
"""When a load is asked for again that is above what is known to run."""


class Outlet(Protocol):
    """The WebSocket of a worker."""

    def send(self, frame: str) -> None:
        """Send a text frame."""
        ...

    def close(self, code: int, reason: str) -> None:
        """Close it."""
        ...


@dataclass(frozen=True, slots=True)
class WorkerFacts:
    """What is known of a connected worker.

    Attributes:
        worker_id: Names its connection.
        label: Its name among those that are connected.
        provider: The label of its group, as it connected.
        models: What it serves.
        slots: Requests it takes at once.
        running: Requests that it has.
        reported: Requests that it reported last.
        is_draining: It gets no more.
    """

    worker_id: str
    label: str
    provider: str
    models: tuple[str, ...]
    slots: int
    running: int = 0
    reported: int = 0
    is_draining: bool = False


class WorkerSession:
    """One worker, from its registration until its WebSocket closes.

    Args:
        worker_id: Names its connection.
        label: Its name among those that are connected.
        provider: The label of its group.
        register: Its registration.
        outlet: Its WebSocket.
        loop: Makes timers.
        on_change: Called when its models, its slots or its drain have changed, or it is lost.

    Attributes:
        slots: Requests that it takes at once.
        accepted: Its models.
        is_lost: Its WebSocket has closed.
        reason: Why.
    """

    def __init__(
        self,
        worker_id: str,
        label: str,
        provider: str,
        register: Register,
        outlet: Outlet,
        loop: Soon,
        on_change: Callable[["WorkerSession"], None],
    ) -> None:
        self.worker_id, self.label, self.provider = worker_id, label, provider
        self.slots = accept_slots(register.max_concurrent)
        self.accepted: AcceptedModels = accept_models(register.models)
        self._outlet, self._loop, self._on_change = outlet, loop, on_change
        self._requests = WorkerRequests()
        self._reported = register.current_load or 0
        self._excess = self._elsewhere = 0
        self._drain: Alarm | None = None
        self.is_lost = False
        self.reason = ""

    def __repr__(self) -> str:
        return f"<WorkerSession {self.label} {self._requests!r} of {self.slots} slots>"

    def free_for(self, model: str) -> int:
        """Return how many requests of a model may run here: slots that no other model or hub takes.

        One at least while the worker has a slot for this hub at all: a request more waits here.
        """
        own = self.slots - self._elsewhere
        others = self._requests.taken_beside(model) if len(self.accepted.models) > 1 else 0
        return max(own - others, 1) if own > 0 else 0

    @property
    def is_draining(self) -> bool:
        """Whether it gets no more requests."""
        return self._drain is not None

    def facts(self) -> WorkerFacts:
        """Return what is known of it."""
        return WorkerFacts(
            self.worker_id, self.label, self.provider, self.accepted.models, self.slots,
            self._requests.count, self._reported, self.is_draining,
        )  # fmt: skip

    def send(self, message: FromServer) -> None:
        """Send it a message."""
        self._outlet.send(write_message(message))

    def ping(self) -> None:
        """Ask for a sign of it, and its load."""
        if not self.is_lost:
            self.send(WorkerPing())

    def refresh(self) -> None:
        """Ask for its models."""
        self.send(ModelsRefresh())

    def drain(self, seconds: float, reason: str) -> None:
        """Send it nothing more, and close once what it has is over, or in so many seconds."""
        if self._drain is not None or self.is_lost:
            return
        self.send(GracefulShutdown(reason, max(1, round(seconds))))
        self._drain = self._loop.call_later(seconds, self._close, "graceful shutdown timed out")
        self._on_change(self)
        for connection, _ in self._requests.take_waiting():
            connection.ended(ConnectionRefusedError("the worker drains"))
        self._close_if_idle()

    def lost(self, reason: str) -> None:
        """End every request: the WebSocket has closed."""
        if self.is_lost:
            return
        self.is_lost, self.reason = True, reason
        if self._drain is not None:
            self._drain.cancel()
        error = ConnectionResetError(f"worker {self.label} is gone: {reason}")
        for connection in self._requests.clear():
            connection.ended(error)
        self._on_change(self)

    # What connections of the router do:

    def submit(self, connection: WorkerConnection, head: bytes, body: bytes) -> None:
        """Send a request, at once or when a slot is free; its answer goes to the connection."""
        request_id = self._requests.next_id(self.worker_id)
        message = message_of(head, body, request_id)
        if isinstance(message, NotForwarded):
            connection.began(request_id, WorkerAnswer(is_streaming=False))
            connection.refuse(message.status, message.message, "worker_protocol")
            return
        if self.is_lost or self._drain is not None:
            connection.ended(ConnectionRefusedError(f"worker {self.label} takes no more requests"))
            return
        connection.began(request_id, WorkerAnswer(is_streaming=message.is_streaming))
        self._requests.waiting.append((connection, message))
        self._send_waiting()
        self._share()

    def leave(self, connection: WorkerConnection) -> None:
        """Cancel the request of a connection, which ends once the worker is done with it."""
        request_id = connection.request_id
        if self._requests.withdraw(request_id):
            connection.ended()
        elif self._requests.running.pop(request_id, None) is not None:
            self.send(CancelRequest(request_id, _CLIENT_LEFT))
            self.ping()
            timer = self._loop.call_later(LEFT_SECONDS, self._released, request_id)
            self._requests.left[request_id] = connection, timer

    # What the worker sends:

    def receive(self, frame: str) -> None:
        """Take a frame.

        Raises:
            InvalidMessageError: It is not a message.
        """
        message = read_from_worker(frame)
        if message is not None:
            self._take(message)

    def _take(self, message: FromWorker) -> None:
        match message:
            case ResponseChunk():
                if (connection := self._requests.running.get(message.request_id)) is not None:
                    connection.chunk(message.chunk)
            case ResponseComplete():
                self._complete(message)
            case WorkerPong():
                self._report(message.current_load)
            case ModelsUpdate():
                self.accepted = accept_models(message.models)
                self._on_change(self)
                self._report(message.current_load)
            case WorkerFault():
                self._fail(message)
            case Register():
                pass  # a second one changes nothing

    def _complete(self, message: ResponseComplete) -> None:
        request_id = message.request_id
        if (connection := self._requests.finish(request_id)) is not None:
            connection.complete(message)
            self._slot_is_free()
        elif request_id in self._requests.left:
            self._released(request_id)

    def _fail(self, message: WorkerFault) -> None:
        """End one request that the worker reports as failed; without an id nothing ends."""
        connection = self._requests.finish(message.request_id or "")
        if connection is not None:
            connection.refuse(502, message.message, message.code)
            self._slot_is_free()
        elif message.request_id in self._requests.left:
            self._released(message.request_id)

    def _report(self, load: int) -> None:
        """Take a load: where it is not above what is known to run, what was cancelled has ended.

        What is above that in two reports one after the other runs for others: a single report may cross
        with the end of a request.
        """
        self._reported = load
        if load <= len(self._requests.running):
            for request_id in tuple(self._requests.left):
                self._released(request_id)
        before, self._excess = self._excess, max(0, load - self._requests.taken)
        elsewhere = min(before, self._excess)
        if self._excess != elsewhere:
            self._loop.call_later(_AGAIN_SECONDS, self.ping)
        if elsewhere != self._elsewhere:
            self._elsewhere = elsewhere
            self._on_change(self)

    def _released(self, request_id: str) -> None:
        connection, timer = self._requests.left.pop(request_id)
        self._requests.models.pop(request_id, None)
        timer.cancel()
        connection.ended()
        self._slot_is_free()

    def _slot_is_free(self) -> None:
        self._send_waiting()
        self._close_if_idle()
        self._share()

    def _share(self) -> None:
        """Have the slots counted again that the models of this worker share."""
        if len(self.accepted.models) > 1 and not self.is_lost:
            self._on_change(self)

    def _send_waiting(self) -> None:
        while self._requests.waiting and self._requests.taken < self.slots:
            connection, message = self._requests.waiting.popleft()
            self._requests.running[message.request_id] = connection
            self._requests.models[message.request_id] = message.model
            self.send(message)

    def _close_if_idle(self) -> None:
        if self._drain is not None and not self._requests.taken:
            self._close("graceful shutdown complete")

    def _close(self, reason: str) -> None:
        self._outlet.close(1000, reason)
        self.lost(reason)
