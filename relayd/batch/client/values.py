"""What a program gives to the batch client and gets from it, and how states of all providers compare."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

_ENDED = frozenset({"completed", "failed", "cancelled"})
_NORMALIZED: Mapping[str, str] = {
    "ended": "completed",
    "processing": "in_progress",
    "validating": "in_progress",
    "finalizing": "in_progress",
    "expired": "failed",
    "canceled": "cancelled",
    "canceling": "cancelling",
}


@dataclass(slots=True)
class BatchRequest:
    """One request of a batch; assignable after it is made, as Relay's is.

    Attributes:
        id: What its result is found by; unique within a batch.
        model: The model.
        system_prompt: What comes before the prompt; "" or None for nothing.
        prompt: The prompt.
        max_tokens: Most tokens of its answer; None leaves that to the server.
        provider_args: What else goes into the request, as the provider spells it.
    """

    id: str
    model: str
    system_prompt: str | None
    prompt: str
    max_tokens: int | None = None
    provider_args: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class BatchJob:
    """How a batch stands; assignable, as Relay's is.

    Attributes:
        job_id: What the program calls it.
        submitted_at: When it was submitted, in local time and without a zone, as Relay keeps it.
        status: As the provider spells it.
        n_requests: Requests in all.
        completed_requests: Those with an answer.
        failed_requests: Those that ended without one.
    """

    job_id: str
    submitted_at: datetime
    status: str
    n_requests: int
    completed_requests: int = 0
    failed_requests: int = 0


@dataclass(frozen=True, slots=True)
class Standing:
    """How a batch stands at its provider.

    Attributes:
        id: The provider's own.
        status: As the provider spells it.
        total: Requests in all; None where the provider does not count them.
        completed: Those with an answer; None where the provider does not count them.
        failed: Those that ended without one; None likewise.
        share: How much is done, 0 to 1, where only that is known.
        results: Where its results are: ids of files, or an address; those of failed requests last.
        faults: Why it was refused, with the numbers of the lines.
    """

    id: str
    status: str
    total: int | None = None
    completed: int | None = None
    failed: int | None = None
    share: float | None = None
    results: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()


def normalized(status: str) -> str:
    """Return a state in words that all providers share.

    They are pending, in_progress, completed, failed, cancelling and cancelled; what none of them means comes
    back in lower case. A batch whose results are still being written is in progress.
    """
    lower = status.lower()
    return _NORMALIZED.get(lower, lower)


def has_ended(status: str) -> bool:
    """Return whether nothing more happens to a batch in a state."""
    return normalized(status) in _ENDED
