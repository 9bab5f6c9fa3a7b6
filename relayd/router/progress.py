"""How is a client shown how far its stream is while it waits for a slot or a model (progress comments)?

A comment of the event stream, which clients skip (WHATWG HTML, "Server-sent events"):

    : relayd position=2 state=loading seconds=4.5

It is written only to a client that asked for it, once it has waited for a second. The head of the answer
goes out with the first comment, so what is refused later is an event of the stream.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial

from relayd.errors import RequestError
from relayd.router.dialect import Dialect, Problem
from relayd.router.exchange import ExchangeRecord
from relayd.router.headers import OWN_FIELDS, Call
from relayd.router.lease import Lease
from relayd.router.proxy import Proxy
from relayd.router.recipient import Fields, Recipient
from relayd.scheduler.views import TicketProgress

_EVENT_STREAM = "text/event-stream"

Look = Callable[[int, str], TicketProgress | None]
"""Returns how far the ticket of an id, for a model, has come; None when it does not wait."""


@dataclass(frozen=True, slots=True)
class ProgressComments:
    """Whom comments are written to.

    Attributes:
        look: Shows how far a ticket has come.
        always: Every stream gets them, not only those that ask.
        first_seconds: How long a request waits before it is shown anything: most wait for less.
        every_seconds: How long it waits then for the next comment.
    """

    look: Look
    always: bool = False
    first_seconds: float = 1.0
    every_seconds: float = 2.0

    def are_for(self, asked: str | None, client: Recipient, dialect: Dialect) -> bool:
        """Return whether a stream gets them.

        Args:
            asked: What its `X-Relayd-Progress` header holds.
            client: Whose it is.
            dialect: How it is written.
        """
        if not self.always and asked != "1":
            return False
        translation = dialect.translation(stream=True)
        is_event_stream = translation is None or translation.media_type.startswith(_EVENT_STREAM)
        return is_event_stream and (client.splices or isinstance(client, CommentedClient))

    async def wait_for(
        self,
        waiting: Awaitable[None],
        client: Recipient,
        record: ExchangeRecord,
        dialect: Dialect,
        headers: Mapping[str, str],
        look: Callable[[], TicketProgress | None],
    ) -> Recipient | None:
        """Wait for something before the queue and write comments meanwhile.

        Returns:
            Who is answered then; None where the wait ended with an error that the client has seen.

        Raises:
            RequestError: It ended so, and the client has seen nothing.
        """
        shown = CommentedClient(client, record, look, self, headers)
        if not await self._shown(shown, waiting, record, dialect):
            return None
        return shown if shown.has_begun else client

    async def forward(
        self,
        proxy: Proxy,
        client: Recipient,
        call: Call,
        lease: Lease,
        dialect: Dialect,
        headers: Mapping[str, str],
    ) -> None:
        """Do what `Proxy.forward` does, and write comments as long as the request waits."""
        look = partial(self.look, lease.ticket_id, lease.model)
        shown = CommentedClient(client, lease.record, look, self, headers)
        await self._shown(shown, proxy.forward(shown, call, lease, dialect, headers), lease.record, dialect)

    async def _shown(
        self, shown: "CommentedClient", waiting: Awaitable[None], record: ExchangeRecord, dialect: Dialect
    ) -> bool:
        """Write comments until something is over, and its error into the answer that they have begun.

        Returns:
            Whether it ended without one.

        Raises:
            RequestError: It did not, and the client has seen nothing.
        """
        shown.wait(self.first_seconds)
        try:
            await waiting
        except RequestError as error:
            if not shown.has_begun:
                raise
            problem = Problem.of(error)
            record.refused(problem)
            shown.write(dialect.error_event(problem))
            shown.close()
            return False
        finally:
            shown.stop()
        return True


class CommentedClient:
    """A client whose answer may have begun before there is one.

    Args:
        client: The connection.
        record: Of the request.
        look: Shows how far that has come.
        comments: How often it is shown.
        headers: What its answer must carry besides.

    Attributes:
        has_begun: Whether the head is out, because of a comment.
    """

    splices = False

    def __init__(
        self,
        client: Recipient,
        record: ExchangeRecord,
        look: Callable[[], TicketProgress | None],
        comments: ProgressComments,
        headers: Mapping[str, str],
    ) -> None:
        self.has_begun: bool = isinstance(client, CommentedClient) and client.has_begun
        self._client = client
        self._record = record
        self._look = look
        self._comments = comments
        self._headers = headers
        self._timer: asyncio.TimerHandle | None = None
        self._is_blocked = False

    def __repr__(self) -> str:
        return f"<CommentedClient begun={self.has_begun} sent={self.sent_bytes}>"

    def wait(self, seconds: float) -> None:
        """Write a comment after some seconds, unless the answer has come by then."""
        self._timer = asyncio.get_running_loop().call_later(seconds, self._comment)

    def stop(self) -> None:
        """Write no more comments."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    @property
    def is_gone(self) -> bool:
        """Whether nothing can be written to it any more."""
        return self._client.is_gone

    @property
    def sent_bytes(self) -> int:
        """Bytes of the answer that were written, comments included."""
        return self._client.sent_bytes

    def begin(self, status: int, fields: Fields, *, framed: bool) -> None:
        """Make the head, unless a comment has begun the answer."""
        self.stop()
        if not self.has_begun:
            self._client.begin(status, fields, framed=framed)

    def write(self, data: bytes) -> bool:
        """Write a part of the body."""
        return self._client.write(data)

    async def room(self, stall_seconds: float) -> None:
        """Return when the client has taken most of what was written."""
        await self._client.room(stall_seconds)

    async def end(self, stall_seconds: float) -> None:
        """Mark the answer as complete."""
        await self._client.end(stall_seconds)

    def close(self) -> None:
        """Close the connection behind what was written."""
        self._client.close()

    def abort(self) -> None:
        """Cut the client off."""
        self._client.abort()

    def _comment(self) -> None:
        """Write how far the request is, and again later."""
        self.wait(self._comments.every_seconds)
        progress = self._look()
        if progress is None or self.is_gone or self._is_blocked:
            return
        if not self.has_begun:
            self.has_begun = True
            fields = {
                **OWN_FIELDS,
                **self._headers,
                "X-Request-ID": self._record.request_id,
                "Content-Type": _EVENT_STREAM,
                "Cache-Control": "no-cache",
            }
            self._client.begin(200, fields.items(), framed=False)
        self._is_blocked = self._client.write(comment(progress))


def comment(progress: TicketProgress) -> bytes:
    """Return a comment of an event stream."""
    state = "queued" if progress.is_loaded else "loading" if progress.is_loading else "waiting-for-memory"
    if progress.is_held:
        state = "key-limit"
    seconds = f"{progress.seconds:.1f}"
    return f": relayd position={progress.position} state={state} seconds={seconds}\n\n".encode()
