"""How does a replica's answer reach a client whose framing is another than the replica's?"""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from typing import Protocol

from relayd.errors import RequestError, UpstreamError
from relayd.router.dialect import CUT, Dialect, Problem, Translation
from relayd.router.headers import Head
from relayd.router.recipient import Recipient
from relayd.router.usage import Tap
from relayd.scheduler.exchange import Usage
from relayd.units import KIB

_TAIL_BYTES = 16

_LONG_BYTES = 256 * KIB
"""An answer whose rewriting would hold up every other: vectors take 15 ms a megabyte."""


class ClientAnswer(Protocol):
    """An answer on its way from a replica to a client; also a `Sink`.

    Attributes:
        truncated: The answer was ended before it was complete, and its client can see that.
    """

    truncated: bool

    @property
    def usage(self) -> Usage | None:
        """How many tokens the answer reports, once it is over."""
        ...

    @property
    def tap(self) -> Tap:
        """What reads what passes."""
        ...

    def read_with(self, tap: Tap) -> None:
        """Have what passes read by another tap, from its beginning on."""
        ...

    def start(self) -> None:
        """Make the head, which goes out together with the first bytes."""
        ...

    def take(self, raw: bytes) -> bool:
        """Take bytes of the replica; True asks for `room`."""
        ...

    async def room(self) -> None:
        """Return when more may come; raises OSError where the client has left."""
        ...

    async def finish(self) -> None:
        """End the answer, which is complete; raises UpstreamError where it turns out not to be."""
        ...

    async def fail(self, error: OSError | RequestError) -> str:
        """End the answer so that it cannot be taken for complete, and return the code of the reason."""
        ...


class ReplicaAnswer:
    """An answer whose body comes from a replica and is framed anew.

    For what the replica's own bytes cannot serve: HTTP/1.0 clients, which know no chunks, answers
    that end with their connection, which would hide a truncation, and dialects that translate.

    Args:
        client: Whose it is.
        head: The replica's.
        headers: Fields of relayd's own.
        dialect: How errors and events are written.
        translation: Rewrites the body; None leaves it as it comes.
        stall_seconds: How long the client may take nothing.

    Attributes:
        truncated: The answer was ended before it was complete, and its client can see that.
    """

    def __init__(
        self,
        client: Recipient,
        head: Head,
        headers: Mapping[str, str],
        dialect: Dialect,
        translation: Translation | None = None,
        *,
        stall_seconds: float,
    ) -> None:
        self.truncated = False
        self._client = client
        self._head = head
        self._headers = headers
        self._dialect = dialect
        self._translation = translation
        self._stall_seconds = stall_seconds
        self._tap = Tap()
        self._tail = b""
        self._pieces: list[bytes] = []

    @property
    def usage(self) -> Usage | None:
        """How many tokens the answer reports, once it is over."""
        return self._tap.usage()

    @property
    def tap(self) -> Tap:
        """What reads what passes."""
        return self._tap

    def read_with(self, tap: Tap) -> None:
        """Have what passes read by another tap, from its beginning on."""
        self._tap = tap

    def start(self) -> None:
        """Make the head, which goes out together with the first bytes."""
        self._framing = self._head.framing(self._pieces)
        fields = [*self._head.passing, *self._headers.items()]
        if self._translation is not None:
            fields = [field for field in fields if field[0] != "Content-Type"]
            fields.append(("Content-Type", self._translation.media_type))
        elif self._head.length is not None:
            fields.append(("Content-Length", str(self._head.length)))
        self._client.begin(self._head.status, fields, framed=False)

    def take(self, raw: bytes) -> bool:
        """Take bytes of the replica; always asks for `room`, which writes them."""
        self._tap.add(raw)
        self._framing.feed(raw)
        return True

    async def room(self) -> None:
        """Write what was taken.

        Raises:
            TimeoutError: The client took nothing for `stall_seconds` and was cut off.
        """
        pieces, self._pieces[:] = self._pieces[:], []
        if self._translation is not None:
            pieces = [self._translation.feed(b"".join(pieces))]
            if self._dialect.by_line:
                pieces = pieces[0].splitlines(keepends=True)
        for piece in pieces:
            await self._send(piece)

    async def finish(self) -> None:
        """End the answer.

        Raises:
            UpstreamError: It looks complete, but its last event is missing.
        """
        await self.room()
        last = self._dialect.last_event
        if self._translation is not None:
            if self._dialect.ends_aside and (self._head.length or 0) > _LONG_BYTES:
                await self._send(await asyncio.to_thread(self._translation.end))
            else:
                await self._send(self._translation.end())
        elif self._framing.ends_with_connection and self._head.is_event_stream and not self._ends(last):
            raise UpstreamError("The replica closed an event stream before its last event.")
        await self._client.end(self._stall_seconds)

    async def fail(self, error: OSError | RequestError) -> str:
        """End the answer so that it cannot be taken for complete, and return the code of the reason.

        Between two events a last one states why; elsewhere the connection is cut.

        Args:
            error: Why it cannot be finished.
        """
        if self._client.is_gone:
            return ""
        self.truncated = True
        problem = problem_of(error)
        with suppress(OSError):
            await self.room()
        if self._is_between_events:
            with suppress(OSError):
                await self._send(self._dialect.error_event(problem))
            self._client.close()
        else:
            self._client.abort()
        return problem.code

    async def _send(self, payload: bytes) -> None:
        self._tail = (self._tail + payload)[-_TAIL_BYTES:]
        if payload and self._client.write(payload):
            await self._client.room(self._stall_seconds)

    def _ends(self, ending: bytes) -> bool:
        return self._tail.endswith(ending)

    @property
    def _is_between_events(self) -> bool:
        return self._head.is_event_stream and self._ends(self._dialect.event_end)


def problem_of(error: OSError | RequestError) -> Problem:
    """Return what a client gets to know of an answer that ends with `error`."""
    return Problem.of(CUT if isinstance(error, OSError | UpstreamError) else error)
