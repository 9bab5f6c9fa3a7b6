"""How do a replica's bytes reach a client untouched?

Bytes of the replica go to the client as they came, chunk framing included: nothing is made, decoded
or logged for a chunk.
"""

from collections.abc import Mapping

from relayd.errors import RequestError
from relayd.router.answer import problem_of
from relayd.router.dialect import Dialect
from relayd.router.headers import Head
from relayd.router.kept import MOST_KEPT
from relayd.router.recipient import Recipient
from relayd.router.usage import Tap
from relayd.scheduler.exchange import Usage

_CHUNK_END = b"\r\n"


class Splice:
    """An answer in the replica's own framing, under a head of relayd's.

    For clients that can read that framing, and see a truncation in it.

    Args:
        client: Whose it is.
        head: The replica's.
        headers: Fields of relayd's own.
        dialect: How errors are written.
        stall_seconds: How long the client may take nothing.

    Attributes:
        truncated: The answer was ended before it was complete, and its client can see that.
    """

    __slots__ = (
        "_client", "_dialect", "_head", "_headers", "_kept", "_stall_seconds", "_tap", "_write", "truncated",
    )  # fmt: skip

    def __init__(
        self,
        client: Recipient,
        head: Head,
        headers: Mapping[str, str],
        dialect: Dialect,
        stall_seconds: float,
    ) -> None:
        self.truncated = False
        self._client = client
        self._write = client.write
        self._head = head
        self._headers = headers
        self._dialect = dialect
        self._stall_seconds = stall_seconds
        self._tap = Tap()
        self._kept: list[bytes] | None = None

    def __repr__(self) -> str:
        return f"<Splice {self._head.status} sent={self._client.sent_bytes} truncated={self.truncated}>"

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
        self._tap, self._kept = tap, tap.kept

    def start(self) -> None:
        """Make the head, which goes out together with the first bytes."""
        head = self._head
        framing = ("Transfer-Encoding", "chunked") if head.chunked else ("Content-Length", str(head.length))
        self._client.begin(head.status, [*head.passing, *self._headers.items(), framing], framed=True)

    def take(self, raw: bytes) -> bool:
        """Write bytes of the replica; True when enough waits for the client, or it has left."""
        if (kept := self._kept) is None:
            self._tap.add(raw)
        else:
            kept.append(raw)
            if len(kept) > MOST_KEPT:
                self._tap.pack()
        return self._write(raw)

    async def room(self) -> None:
        """Wait until the client has taken most of what waits.

        Raises:
            ConnectionError: It has left.
            TimeoutError: It took nothing for `stall_seconds` and was cut off.
        """
        await self._client.room(self._stall_seconds)

    async def finish(self) -> None:
        """End the answer, which the replica has marked as complete."""
        await self._client.end(self._stall_seconds)

    async def fail(self, error: OSError | RequestError) -> str:
        """End the answer without the chunk that would make it complete; return the code of the reason."""
        if self._client.is_gone:
            return ""
        self.truncated = True
        problem = problem_of(error)
        if self._head.is_event_stream and self._tap.ends_with(self._dialect.event_end + _CHUNK_END):
            event = self._dialect.error_event(problem)
            self._client.write(b"%x\r\n%b\r\n" % (len(event), event))
            self._client.close()
        else:
            self._client.abort()
        return problem.code
