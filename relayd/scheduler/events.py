"""What the scheduler is told, and what it asks for in return."""

from dataclasses import dataclass
from enum import Enum

from relayd.endpoint import Endpoint


@dataclass(frozen=True, slots=True)
class Ticket:
    """One request that wants to run.

    Attributes:
        id: Unique while the daemon lives.
        model: The configured name, aliases already resolved.
        width: Slots the request takes inside a replica (prompts, choices, inputs).
        deadline: Monotonic seconds after which waiting is given up.
    """

    id: int
    model: str
    width: int
    deadline: float


class Refusal(Enum):
    """Why a ticket will not run."""

    QUEUE_FULL = "queue_full"
    TIMED_OUT = "queue_timeout"
    UNAVAILABLE = "model_unavailable"
    ATTEMPTS_SPENT = "upstream_failed"


@dataclass(frozen=True, slots=True)
class Expected:
    """A replica is wanted and on its way (starting, loading, waiting to restart)."""

    replica: str
    model: str


@dataclass(frozen=True, slots=True)
class Ready:
    """A replica can take work."""

    replica: str
    model: str
    slots: int
    endpoint: Endpoint


@dataclass(frozen=True, slots=True)
class Draining:
    """A replica finishes what it has and takes nothing new: it drains, or is unwell."""

    replica: str


@dataclass(frozen=True, slots=True)
class Lost:
    """A replica that was ready is not, and will be back (`Ready`) or given up (`Gone`)."""

    replica: str


@dataclass(frozen=True, slots=True)
class Gone:
    """A replica will not come by itself; `reason` is for the client who asks for it."""

    replica: str
    reason: str


@dataclass(frozen=True, slots=True)
class Forgotten:
    """A replica is no longer part of the plan."""

    replica: str


@dataclass(frozen=True, slots=True)
class Arrived:
    """A request asks to run."""

    ticket: Ticket


@dataclass(frozen=True, slots=True)
class Inherited:
    """A request that an earlier daemon sent to a replica of `slots` slots still runs there."""

    ticket: Ticket
    endpoint: Endpoint
    slots: int


@dataclass(frozen=True, slots=True)
class Returned:
    """An attempt failed before its first byte; the request may run elsewhere."""

    ticket_id: int


@dataclass(frozen=True, slots=True)
class Finished:
    """A request is over (answered, failed or cancelled): its slots are free."""

    ticket_id: int


@dataclass(frozen=True, slots=True)
class Tick:
    """Time passed; deadlines may have."""


Event = (
    Expected | Ready | Draining | Lost | Gone | Forgotten | Arrived | Inherited | Returned | Finished | Tick
)


@dataclass(frozen=True, slots=True)
class Dispatch:
    """Send this ticket's request to this replica, now."""

    ticket_id: int
    endpoint: Endpoint


@dataclass(frozen=True, slots=True)
class Refuse:
    """Tell this ticket's client no."""

    ticket_id: int
    refusal: Refusal
    reason: str
    retry_after_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Idle:
    """A draining replica has nothing left to finish."""

    replica: str


Effect = Dispatch | Refuse | Idle
