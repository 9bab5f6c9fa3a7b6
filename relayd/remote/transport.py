"""How does the router reach a replica of a node: an address, and a connection that is a stream of its link?

The router's own protocol writes HTTP/1.1 to the transport and reads it, as over a socket. Opening takes no
round trip; a claim that the node refuses ends the connection with `SlotTakenError`, a link that is lost with
`LinkLostError`, and neither counts as a replica that hung up.
"""

import asyncio
from collections.abc import Callable, Iterable
from typing import Any, Protocol, cast

import msgspec

from relayd.endpoint import Connector, Handler
from relayd.errors import LinkError, LinkLostError, SlotTakenError
from relayd.remote.frames import ResetCode
from relayd.remote.link import Link
from relayd.remote.messages import StreamOpening


class LinkEnd(Protocol):
    """The hub's side of the link to one node."""

    @property
    def link(self) -> Link:
        """The streams."""
        ...

    def carry(self, number: int, transport: "LinkTransport") -> None:
        """Have a transport get what comes on a stream."""
        ...


class LinkAddress(msgspec.Struct, frozen=True):
    """An incarnation of a replica of a node.

    Attributes:
        node: Its name.
        replica: As the node calls it.
        incarnation: Which life of it.
        find: Returns the link to the node; None while there is none.
    """

    node: str
    replica: str
    incarnation: int
    find: Callable[[str], LinkEnd | None]

    @property
    def authority(self) -> str:
        """The value of a Host header."""
        return "localhost"

    async def open(self, loop: Connector, handler: Callable[[], Handler]) -> Handler:
        """Return what handles the new connection; nothing is waited for.

        Raises:
            LinkLostError: There is no link to the node, or it carries too many streams.
        """
        end = self.find(self.node)
        if end is None:
            raise LinkLostError(f"there is no link to {self.node}")
        document = msgspec.json.encode(StreamOpening(self.replica, self.incarnation))
        try:
            number = end.link.open(document)
        except LinkError as error:
            raise LinkLostError(error.message) from error
        made = handler()
        transport = LinkTransport(end.link, number, cast("asyncio.Protocol", made))
        end.carry(number, transport)
        transport.begin(cast("asyncio.AbstractEventLoop", loop))
        return made

    def __str__(self) -> str:
        return f"{self.replica}@{self.node}"


class LinkTransport(asyncio.Transport):
    """The router's end of a stream.

    Args:
        link: The streams.
        number: Which one.
        handler: Gets what comes.
    """

    def __init__(self, link: Link, number: int, handler: asyncio.Protocol) -> None:
        super().__init__()
        self._link = link
        self._number = number
        self._handler = handler
        self._held: list[bytes] = []
        self._is_paused = False
        self._has_ended = False  # the node sends no more
        self._is_closing = False
        self._loop: asyncio.AbstractEventLoop

    def __repr__(self) -> str:
        return f"<LinkTransport {self._number} {'closing' if self._is_closing else 'open'}>"

    def begin(self, loop: asyncio.AbstractEventLoop) -> None:
        """Give the handler its transport."""
        self._loop = loop
        self._handler.connection_made(self)

    # What comes from the node:

    def take(self, data: bytes) -> None:
        """Take bytes of the answer; while reading is paused they use up credit."""
        if self._is_closing:
            self._link.consume(self._number, len(data))
        elif self._is_paused:
            self._held.append(data)
        else:
            self._link.consume(self._number, len(data))
            self._handler.data_received(data)

    def ended(self) -> None:
        """Take note that the node sends no more: the replica has closed the connection, or is done."""
        self._has_ended = True
        if not self._held:
            self._finish(None)

    def reset(self, code: int, reason: str) -> None:
        """Take note that the stream is over before its end."""
        self._has_ended = True
        if code in (ResetCode.NO_SLOT, ResetCode.DRAINING):
            self._finish(SlotTakenError(reason or "the node has no free slot"))
        elif code in (ResetCode.LOST, ResetCode.NO_REPLICA):
            self._finish(LinkLostError(reason or "the node does not know the request"))
        else:
            self._finish(ConnectionResetError(reason or "the node ended the request"))

    def _finish(self, error: OSError | None) -> None:
        if not self._is_closing:
            self._is_closing = True
            self._held.clear()
            self._link.end(self._number)
            self._handler.connection_lost(error)

    # What the router asks of a transport:

    def get_extra_info(self, name: str, default: Any = None) -> Any:  # noqa: ARG002 - asyncio's signature
        """Return what is known of the socket: there is none."""
        return default

    def is_closing(self) -> bool:
        """Return whether nothing more can be written."""
        return self._is_closing

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send a part of the request."""
        if not self._is_closing:
            self._link.write(self._number, data)

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview]) -> None:
        """Send parts of the request."""
        for data in list_of_data:
            self.write(data)

    def can_write_eof(self) -> bool:
        """Return whether there is a half-close."""
        return True

    def write_eof(self) -> None:
        """Send no more, which cancels the request; the node ends the stream when its replica is done."""
        self._link.end(self._number)

    def get_write_buffer_size(self) -> int:
        """Return how many bytes wait: what has credit is on its way."""
        return 0

    def pause_reading(self) -> None:
        """Take no more bytes until further notice: only this stream of the link stops."""
        self._is_paused = True

    def resume_reading(self) -> None:
        """Take what has come meanwhile, and read on."""
        self._is_paused = False
        while self._held and not self._is_paused and not self._is_closing:
            self.take(self._held.pop(0))
        if self._has_ended and not self._held:
            self._finish(None)

    def close(self) -> None:
        """End the stream."""
        self.abort()

    def abort(self) -> None:
        """End the stream; a request that still runs is cancelled."""
        if self._is_closing:
            return
        self._is_closing = True
        self._held.clear()
        if self._has_ended:
            self._link.end(self._number)
        else:
            self._link.reset(self._number, ResetCode.CANCELLED)
        self._loop.call_soon(self._handler.connection_lost, None)
