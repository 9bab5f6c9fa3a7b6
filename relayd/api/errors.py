"""How does an error become a response (in the dialect of its route)?"""

from math import ceil

from relayd.api.answer import Answer
from relayd.errors import RelaydError, RequestError
from relayd.router import Dialect, Problem

INTERNAL = RelaydError(
    "relayd failed to handle this request. The X-Request-ID of this answer finds the cause in its log."
)
"""What a client reads after a fault of relayd itself."""


def error_answer(error: RelaydError, dialect: Dialect, *, unread: bool = False) -> Answer:
    """Return the answer that reports `error` to a client.

    An unread body ends the connection, and so does a malformed request: its sender and
    relayd may disagree about where the next one begins.

    Args:
        error: What happened.
        dialect: Of the request's route.
        unread: A part of the request's body was not read.
    """
    closes = unread or error.http_status == 400
    answer = Answer(error.http_status, dialect.error_body(Problem.of(error)), closes=closes)
    fields = {}
    if error.http_status == 401:
        fields["WWW-Authenticate"] = "Bearer"
    if isinstance(error, RequestError) and error.retry_after_seconds is not None:
        fields["Retry-After"] = str(max(1, ceil(error.retry_after_seconds)))
        if error.queue_position:
            fields["X-Relayd-Queue-Position"] = str(error.queue_position)
            fields["X-Relayd-Queue-Seconds"] = f"{error.retry_after_seconds:.1f}"
    return answer.carrying(fields) if fields else answer
