"""How does the router exchange bytes with a worker as it does with a replica (transport)?"""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol, cast

from relayd.endpoint import Connector, Handler
from relayd.remote.modelrelay.messages import ResponseComplete
from relayd.remote.modelrelay.translation import WorkerAnswer, WorkerRequestReader
from relayd.units import MIB

_MOST_WAITING = 4 * MIB
"""Bytes of an answer that wait for a client that reads slowly: one socket carries the answers to all."""


class Alarm(Protocol):
    """A call that is due later."""

    def cancel(self) -> None:
        """Do not make it."""
        ...


class Soon(Protocol):
    """What has calls made by the event loop."""

    def call_soon(self, callback: Callable[..., object], /, *args: Any) -> object:
        """Have a function called in the next turn."""
        ...

    def call_later(self, delay: float, callback: Callable[..., object], /, *args: Any) -> Alarm:
        """Have a function called in `delay` seconds."""
        ...


class Carrier(Protocol):
    """The worker behind a connection."""

    def submit(self, connection: "WorkerConnection", head: bytes, body: bytes) -> None:
        """Send a request, whose answer goes to the connection."""
        ...

    def leave(self, connection: "WorkerConnection") -> None:
        """Cancel the request of a connection; `ended` of it is called once the worker is done with it."""
        ...


class WorkerConnection(asyncio.Transport):
    """A connection to a worker, for one request after the other, as the router's upstream protocol uses it.

    Bytes of requests become messages, and messages bytes of an answer. Closing either side
    cancels the request that runs.

    Args:
        worker: Carries requests out.
        protocol: Gets the bytes of answers.
        loop: Runs both.

    Attributes:
        request_id: Of the request that runs; empty between two.
    """

    def __init__(self, worker: Carrier, protocol: asyncio.Protocol, loop: Soon) -> None:
        super().__init__()
        self.request_id = ""
        self._worker = worker
        self._protocol = protocol
        self._loop = loop
        self._reader = WorkerRequestReader()
        self._answer: WorkerAnswer | None = None
        self._waiting = bytearray()
        self._is_paused = self._is_closed = self._is_left = False

    def __repr__(self) -> str:
        state = "closed" if self._is_closed else "left" if self._is_left else "open"
        return f"<WorkerConnection {state} waiting={len(self._waiting)} {self._answer!r}>"

    # What the worker does:

    def began(self, request_id: str, answer: WorkerAnswer) -> None:
        """Take note of the request that runs now."""
        self.request_id, self._answer = request_id, answer

    def chunk(self, text: str) -> None:
        """Pass on a part of the answer."""
        if self._answer is None:
            return
        try:
            data = self._answer.chunk(text)
        except ValueError as error:
            self._break_off(ConnectionAbortedError(str(error)))
            return
        if data:
            self._pass_on(data)

    def complete(self, message: ResponseComplete) -> None:
        """Pass on the end of the answer."""
        answer, self._answer, self.request_id = self._answer, None, ""
        if answer is not None and (data := answer.complete(message)):
            self._pass_on(data)

    def refuse(self, status: int, message: str, code: str) -> None:
        """Answer a request that did not begin to be answered; one that did is broken off."""
        answer, self._answer, self.request_id = self._answer, None, ""
        if answer is None or answer.has_begun:
            self.ended(ConnectionResetError(message))
        else:
            self._loop.call_soon(self._pass_on, answer.refuse(status, message, code))

    def ended(self, error: Exception | None = None) -> None:
        """End the connection: the worker is done with a request that was left, or it is lost."""
        if not self._is_closed:
            self._is_closed = True
            self._answer, self.request_id = None, ""
            self._loop.call_soon(self._protocol.connection_lost, error)

    def _pass_on(self, data: bytes) -> None:
        if self._is_closed or self._is_left:
            return
        if not self._is_paused and not self._waiting:
            self._protocol.data_received(data)
            return
        self._waiting += data
        if len(self._waiting) > _MOST_WAITING:
            self._break_off(ConnectionAbortedError(f"its client left {len(self._waiting)} bytes unread"))

    def _break_off(self, error: Exception) -> None:
        self._worker.leave(self)
        self._waiting.clear()
        self.ended(error)

    # What the router does:

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Take a part of a request; the worker gets it once all of it is here."""
        if not self._is_closed and (request := self._reader.feed(data)) is not None:
            self._worker.submit(self, *request)

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview]) -> None:
        """Take parts of a request."""
        self.write(b"".join(list_of_data))

    def pause_reading(self) -> None:
        """Let what comes wait."""
        self._is_paused = True

    def resume_reading(self) -> None:
        """Pass on what waits, and what comes."""
        self._is_paused = False
        if self._waiting:
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        if self._waiting and not (self._is_paused or self._is_closed or self._is_left):
            data, self._waiting = bytes(self._waiting), bytearray()
            self._protocol.data_received(data)

    def is_reading(self) -> bool:
        """Return whether what comes is passed on."""
        return not (self._is_paused or self._is_closed)

    def is_closing(self) -> bool:
        """Return whether no request can be sent."""
        return self._is_closed or self._is_left

    def can_write_eof(self) -> bool:
        """Return that half a close is possible: it cancels the request."""
        return True

    def write_eof(self) -> None:
        """Cancel the request; the connection ends once the worker is done with it."""
        if self._is_left or self._is_closed:
            return
        self._is_left = True
        self._waiting.clear()
        if self.request_id:
            self._worker.leave(self)
        else:
            self.ended()

    def abort(self) -> None:
        """End at once; a request that runs is cancelled."""
        if not self._is_closed:
            if self.request_id and not self._is_left:
                self._worker.leave(self)
            self.ended()

    def close(self) -> None:
        """End at once."""
        self.abort()

    def get_write_buffer_size(self) -> int:
        """Return that nothing waits to be sent."""
        return 0


@dataclass(frozen=True, slots=True)
class WorkerAddress:
    """A worker that connects to this hub, in whichever session it is reached at the time.

    Attributes:
        label: Its name among those that are connected.
        find: Returns who carries its requests; None while it is not connected.
    """

    label: str
    find: Callable[[str], Carrier | None] = field(repr=False)

    @property
    def authority(self) -> str:
        """The value of a Host header."""
        return "localhost"

    async def open(self, loop: Connector, handler: Callable[[], Handler]) -> Handler:
        """Return what handles the new connection; nothing is waited for.

        Raises:
            OSError: The worker is not connected.
        """
        worker = self.find(self.label)
        if worker is None:
            raise ConnectionRefusedError(f"worker {self.label} is not connected")
        made = handler()
        protocol = cast("asyncio.Protocol", made)
        protocol.connection_made(WorkerConnection(worker, protocol, cast("Soon", loop)))
        return made

    def __str__(self) -> str:
        return f"worker:{self.label}"
