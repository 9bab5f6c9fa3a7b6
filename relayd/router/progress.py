"""How is a client shown how far its stream is while it waits for a slot or a model (progress comments)?

    : relayd position=2 state=loading seconds=4.5

It is written only to a client that asked for it, once it has waited for a second.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial

from relayd.router.dialect import Dialect
from relayd.router.early import Answering, takes_comments, write_comment
from relayd.router.exchange import ExchangeRecord
from relayd.router.headers import Call
from relayd.router.lease import Lease
from relayd.router.proxy import Proxy
from relayd.router.recipient import Recipient
from relayd.scheduler.views import TicketProgress

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
        return (self.always or asked == "1") and takes_comments(client, dialect)

    async def wait_for(
        self,
        waiting: Awaitable[None],
        answering: Answering,
        record: ExchangeRecord,
        look: Callable[[], TicketProgress | None],
    ) -> None:
        """Wait for something and write comments meanwhile.

        Args:
            waiting: What is waited for.
            answering: Who waits.
            record: Of the request.
            look: Shows how far that has come.
        """
        comments = _Comments(answering, record, look, self.every_seconds)
        comments.wait(self.first_seconds)
        try:
            await waiting
        finally:
            comments.stop()

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
        waiting = proxy.forward(client, call, lease, dialect, headers)
        await self.wait_for(waiting, (client, dialect, headers), lease.record, look)


class _Comments:
    """Writes how far one request is, as long as it waits.

    Args:
        answering: Who waits.
        record: Of the request.
        look: Shows how far that has come.
        every_seconds: How often it is shown.
    """

    def __init__(
        self,
        answering: Answering,
        record: ExchangeRecord,
        look: Callable[[], TicketProgress | None],
        every_seconds: float,
    ) -> None:
        self._answering = answering
        self._record = record
        self._look = look
        self._every_seconds = every_seconds
        self._timer: asyncio.TimerHandle | None = None

    def __repr__(self) -> str:
        return f"<_Comments on {self._record.request_id}>"

    def wait(self, seconds: float) -> None:
        """Write a comment after some seconds, unless the request is answered by then."""
        self._timer = asyncio.get_running_loop().call_later(seconds, self._comment)

    def stop(self) -> None:
        """Write no more comments."""
        if self._timer is not None:
            self._timer.cancel()

    def _comment(self) -> None:
        """Write how far the request is, and again later, unless its client has enough."""
        if self._record.status or self._answering[0].is_gone:
            return
        progress, request_id = self._look(), self._record.request_id
        if progress is None or not write_comment(self._answering, request_id, comment(progress)):
            self.wait(self._every_seconds)


def comment(progress: TicketProgress) -> bytes:
    """Return what a comment reports of a request."""
    state = "queued" if progress.is_loaded else "loading" if progress.is_loading else "waiting-for-memory"
    if progress.is_held:
        state = "key-limit"
    return f"relayd position={progress.position} state={state} seconds={progress.seconds:.1f}".encode()
