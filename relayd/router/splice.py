"""How do a replica's bytes reach a client untouched?

Bytes of the replica go to the client as they came, chunk framing included: nothing is made, decoded
or logged for a chunk.
"""

from relayd.errors import RequestError
from relayd.router.answer import ReplicaAnswer, problem_of
from relayd.router.headers import Head
from relayd.router.recipient import Recipient

_CHUNK_END = b"\r\n"


def can_splice(client: Recipient, head: Head) -> bool:
    """Return whether this client can read the replica's framing, and see a truncation in it."""
    return client.splices and (head.chunked or head.length is not None)


class Splice(ReplicaAnswer):
    """An answer in the replica's own framing, under a head of relayd's."""

    def start(self) -> None:
        """Make the head, which goes out together with the first bytes."""
        head = self._head
        framing = ("Transfer-Encoding", "chunked") if head.chunked else ("Content-Length", str(head.length))
        self._client.begin(head.status, [*head.passing, *self._headers.items(), framing], framed=True)

    def take(self, raw: bytes) -> bool:
        """Write bytes of the replica; True when enough waits for the client, or it has left."""
        self._tap.add(raw)
        return self._client.write(raw)

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
