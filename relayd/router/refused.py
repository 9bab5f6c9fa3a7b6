"""Which error does a request get that the scheduler has refused?"""

from relayd.errors import (
    NotLoadedError,
    QueueFullError,
    QueueTimeoutError,
    RequestError,
    UnavailableError,
    UpstreamError,
)
from relayd.scheduler import Refusal, Refuse

_REFUSALS: dict[Refusal, tuple[type[RequestError], str, str]] = {
    Refusal.QUEUE_FULL: (QueueFullError, "The queue is full", "Try again later, or raise queue.depth."),
    Refusal.TIMED_OUT: (
        QueueTimeoutError,
        "The request waited too long",
        "Try again later, or add slots or replicas.",
    ),
    Refusal.UNAVAILABLE: (
        UnavailableError,
        "The model cannot serve",
        "`relayd status` and `relayd logs` on the server show why.",
    ),
    Refusal.NOT_LOADED: (
        NotLoadedError,
        "The model is not loaded",
        "Ask an operator to free memory or to load it: `relayd status` on the server shows what holds it.",
    ),
    Refusal.ATTEMPTS_SPENT: (
        UpstreamError,
        "every replica that was tried failed",
        "`relayd logs` shows why.",
    ),
}


def refusal_of(refuse: Refuse) -> RequestError:
    """Return the error of a request that the scheduler has refused."""
    kind, summary, remedy = _REFUSALS[refuse.refusal]
    message = f"{summary}: {refuse.reason}."
    error = kind(message, remedy=remedy, retry_after_seconds=refuse.retry_after_seconds)
    error.queue_position = refuse.position
    return error
