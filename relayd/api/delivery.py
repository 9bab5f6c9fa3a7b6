"""What does a request that is ready for a replica carry, and when may another model answer it?"""

from msgspec import Struct

from relayd.api.admission import Incoming, RequestContext
from relayd.api.allowance import FREE_USE, KeyUse
from relayd.errors import (
    QueueFullError,
    QueueTimeoutError,
    ReplicaStoppedError,
    RequestError,
    UnavailableError,
    UpstreamError,
)
from relayd.router import Call, Dialect, ExchangeRecord, Problem, Recipient

_FALLS_BACK = (QueueFullError, QueueTimeoutError, ReplicaStoppedError, UnavailableError, UpstreamError)
"""Why another model may carry out a request: what its client did wrong is wrong everywhere, and one that
crashes replicas reaches no other."""


class Delivery(Struct, frozen=True):
    """A request that is ready for a replica, and where its answer goes.

    Attributes:
        request: As it came.
        client: Who gets the answer.
        context: What is known of the request.
        call: What a replica gets.
        dialect: How the answer is written.
        use: What it takes of what its key may use.
    """

    request: Incoming
    client: Recipient
    context: RequestContext
    call: Call
    dialect: Dialect
    use: KeyUse = FREE_USE

    def may_go_on(self, error: RequestError) -> bool:
        """Return whether another model may answer after one refused with `error`: comments do not matter."""
        return isinstance(error, _FALLS_BACK)

    def end(self, error: RequestError, record: ExchangeRecord) -> None:
        """End an answer of which only comments are out."""
        end_begun(self.client, self.dialect, error, record)


def end_begun(client: Recipient, dialect: Dialect, error: RequestError, record: ExchangeRecord) -> None:
    """End an answer of which only comments are out."""
    if record.exchange is None:
        record.refused(Problem.of(error))
    client.write(dialect.error_event(Problem.of(error)))
    client.close()
