"""What does the router need of a client's connection to write an answer to it?

No rule of routing, retry or dialect stands behind this: only how bytes are framed, written, waited
for and cut off. One implementation writes to a transport of relayd's own, another to aiohttp's
response.
"""

import asyncio
from collections.abc import Awaitable, Iterable, Mapping
from typing import Protocol

from relayd.router.dialect import Dialect
from relayd.units import KIB

FULL_BYTES = 256 * KIB
"""Unsent bytes of one client beyond which its replica is not read."""

Fields = Iterable[tuple[str, str]]
"""Header fields in the order in which they are written."""


VARIES = "\0"
"""Stands for a value that differs between answers: no field holds it."""


class AnswerFields:
    """Header fields that many answers share, in their order.

    Args:
        fields: With `VARIES` for the request's id and for the length.

    Attributes:
        encoded: The whole head as the client's side has encoded it; empty before that.
    """

    __slots__ = ("encoded", "fields")

    def __init__(self, fields: tuple[tuple[str, str], ...]) -> None:
        self.fields = fields
        self.encoded = b""

    def __repr__(self) -> str:
        return f"<AnswerFields {len(self.fields)} encoded={len(self.encoded)}>"

    def filled(self, request_id: str, length: int | None) -> Iterable[tuple[str, str]]:
        """Yield the fields of one answer."""
        values = {"X-Request-ID": request_id, "Content-Length": str(length)}
        for name, value in self.fields:
            yield name, values[name] if value == VARIES else value


class Recipient(Protocol):
    """A client that waits for one answer."""

    @property
    def splices(self) -> bool:
        """Whether it reads a replica's own framing, so that the bytes can go out as they came."""
        ...

    @property
    def is_gone(self) -> bool:
        """Whether nothing can be written to it any more."""
        ...

    @property
    def sent_bytes(self) -> int:
        """Bytes of the answer that were written, its head included."""
        ...

    def begin(self, status: int, fields: Fields, *, framed: bool) -> None:
        """Make the head of the answer; it goes out together with the first bytes.

        Args:
            status: HTTP status.
            fields: What the answer carries. Without a `Content-Length` its end is marked as the client
                can read it: by a last chunk, or by the end of the connection.
            framed: The fields say how the body is framed, and what is written is framed so already.
        """
        ...

    def write(self, data: bytes) -> bool:
        """Write a part of the body; True asks for no more until `room` has returned."""
        ...

    async def room(self, stall_seconds: float) -> None:
        """Return when the client has taken most of what was written.

        Raises:
            ConnectionError: It has left.
            TimeoutError: It took nothing for `stall_seconds` and was cut off.
        """
        ...

    async def end(self, stall_seconds: float) -> None:
        """Mark the answer as complete."""
        ...

    def close(self) -> None:
        """Close the connection behind what was written; nothing marks the answer as complete."""
        ...

    def abort(self) -> None:
        """Cut the client off; where only a close marks the end of an answer, by a reset."""
        ...


class ClientLine(Protocol):
    """The connection of a client of relayd's own.

    Attributes:
        transport: Takes what is written.
        is_blocked: Enough waits for the client, or it has left.
    """

    transport: asyncio.Transport
    is_blocked: bool


class StraightRecipient(Recipient, Protocol):
    """A client on a connection of relayd's own, to which a replica's bytes go straight.

    Attributes:
        line: Its connection.
        sent_bytes: Bytes of the answer that were written, its head included.
    """

    line: ClientLine
    sent_bytes: int

    def begin_known(self, known: AnswerFields, request_id: str) -> None:
        """Make the head of a success (200) whose body comes in chunks, as `begin` makes a framed one."""
        ...

    def write_known(self, known: AnswerFields, request_id: str, whole: bytes) -> None:
        """Write a whole success (200).

        Args:
            known: The fields of its head.
            request_id: Of the request.
            whole: The body.
        """
        ...

    def finish(self) -> None:
        """Go on with the connection: the answer is over."""
        ...

    async def carry_out(self, work: Awaitable[None], dialect: Dialect, headers: Mapping[str, str]) -> None:
        """Wait for the work that answers the request, answer what that raises, and finish.

        Args:
            work: Raises RequestError while nothing of the answer is written.
            dialect: How errors are written.
            headers: What an error carries.
        """
        ...
