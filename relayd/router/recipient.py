"""What does the router need of a client's connection to write an answer to it?

No rule of routing, retry or dialect stands behind this: only how bytes are framed, written, waited
for and cut off. One implementation writes to a transport of relayd's own, another to aiohttp's
response.
"""

from collections.abc import Iterable
from typing import Protocol

from relayd.units import KIB

FULL_BYTES = 256 * KIB
"""Unsent bytes of one client beyond which its replica is not read."""

Fields = Iterable[tuple[str, str]]
"""Header fields in the order in which they are written."""


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
