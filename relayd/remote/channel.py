"""How does a link use one WebSocket: what is sent when, and when does the connection count as broken?

Everything that has become ready in one turn of the loop goes out in one message, so that a hundred streams of
tokens cost few of them. Each side sends a sign of life every few seconds; where three are missing, or the
connection fails, the link is detached and its streams are kept for the next connection.
"""

import asyncio
from collections.abc import Callable
from typing import Protocol

from aiohttp import ClientConnectionError, WSMessage, WSMsgType

from relayd.clock import Clock
from relayd.errors import LinkError
from relayd.remote.frames import BeatFrame
from relayd.remote.link import Link, LinkEvent
from relayd.remote.messages import HEARTBEAT_SECONDS, SILENT_BEATS

CLOSE_SECONDS = 1.0
"""How long the other side may take to answer the closing handshake."""


class Socket(Protocol):
    """A WebSocket of aiohttp's, of either side."""

    async def receive(self, timeout: float | None = None) -> WSMessage:  # noqa: ASYNC109 - aiohttp's signature
        """Return the next message, or that there is none; raises LinkError where a connection is broken."""
        ...

    async def send_bytes(self, data: bytes) -> None:
        """Send a message, and wait until the system takes it."""
        ...

    async def close(self, *, code: int = 1000) -> bool:
        """Close the connection."""
        ...


class LinkChannel:
    """A link over one connection.

    Args:
        link: The streams.
        socket: The connection.
        on_event: Gets what the link makes of what comes.
        clock: Time.
        beat_seconds: How often a sign of life is sent.

    Attributes:
        round_trip_seconds: How long the last sign of life took, there and back; 0 before one did.
        was_closed: The other side has closed the connection, or its machine has: nothing was silent.
        messages: How many have come.
    """

    def __init__(
        self,
        link: Link,
        socket: Socket,
        on_event: Callable[[LinkEvent], None],
        clock: Clock,
        *,
        beat_seconds: float = HEARTBEAT_SECONDS,
    ) -> None:
        self._link = link
        self._socket = socket
        self._on_event = on_event
        self._clock = clock
        self._beat_seconds = beat_seconds
        self._ready = asyncio.Event()
        self._over = asyncio.Event()
        self.round_trip_seconds = 0.0
        self.was_closed = False
        self.messages = 0

    def __repr__(self) -> str:
        return f"<LinkChannel messages={self.messages} {self._link!r}>"

    async def run(self) -> str:
        """Carry the link until the connection breaks, and return why it did."""
        self._link.wake = self._ready.set
        self._ready.set()
        sender = asyncio.create_task(self._send())
        beats = asyncio.create_task(self._beat())
        try:
            return await self._receive()
        finally:
            self._link.detach()
            sender.cancel()
            beats.cancel()
            self._over.set()
            await asyncio.gather(sender, beats, return_exceptions=True)
            await close(self._socket)

    async def stop(self) -> None:
        """End the connection, and return when the link is detached from it."""
        await close(self._socket)
        await self._over.wait()

    async def _receive(self) -> str:
        """Take what comes, and return why no more does."""
        while True:
            try:
                message = await self._socket.receive(timeout=SILENT_BEATS * self._beat_seconds)
            except TimeoutError:
                return f"nothing came for {SILENT_BEATS * self._beat_seconds:g} s"
            except LinkError as error:
                return error.message
            if message.type is not WSMsgType.BINARY:
                self.was_closed = True
                return _why(message)
            self.messages += 1
            try:
                for event in self._link.receive(message.data):
                    self._take(event)
            except LinkError as error:
                return error.message

    def _take(self, event: LinkEvent) -> None:
        if isinstance(event, BeatFrame):
            if event.is_answer:
                self.round_trip_seconds = max(0.0, self._clock.monotonic() - event.nonce / 1e6)
        else:
            self._on_event(event)

    async def _send(self) -> None:
        """Send what is ready, one message after the other."""
        while True:
            await self._ready.wait()
            self._ready.clear()
            while message := self._link.outgoing():
                try:
                    await self._socket.send_bytes(message)
                except (ConnectionError, ClientConnectionError):
                    return  # reading ends too, with the reason

    async def _beat(self) -> None:
        while True:
            self._link.acknowledge()
            self._link.send(BeatFrame(int(self._clock.monotonic() * 1e6)))
            await asyncio.sleep(self._beat_seconds)


async def close(socket: Socket) -> None:
    """Close a connection, whatever state it is in."""
    try:
        async with asyncio.timeout(CLOSE_SECONDS):
            await socket.close()
    except (TimeoutError, ConnectionError, ClientConnectionError):
        pass


def _why(message: WSMessage) -> str:
    """Return why a connection carries no more frames."""
    if message.type is WSMsgType.ERROR:
        return f"the connection failed: {message.data}"
    if message.type is WSMsgType.TEXT:
        return "a text message came"
    reason = f" ({message.extra})" if message.type is WSMsgType.CLOSE and message.extra else ""
    return f"the other side closed the connection{reason}"
