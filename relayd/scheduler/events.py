"""What happens to requests and replicas (events), and what the scheduler orders in return (effects)."""

from dataclasses import dataclass
from enum import Enum

import msgspec

from relayd.endpoint import Endpoint
from relayd.scheduler.ask import Ask
from relayd.scheduler.exchange import Exchange
from relayd.scheduler.memory import MemoryEffect, MemoryEvent


class Ticket(msgspec.Struct, frozen=True, gc=False):
    """One request that wants to run.

    Attributes:
        id: Unique while the daemon lives; a lower one arrived earlier.
        ask: What it asks for.
    """

    id: int
    ask: Ask


class Refusal(Enum):
    """Why a ticket will not run."""

    QUEUE_FULL = "queue_full"
    TIMED_OUT = "queue_timeout"
    UNAVAILABLE = "model_unavailable"
    NOT_LOADED = "model_not_loaded"
    ATTEMPTS_SPENT = "upstream_failed"


@dataclass(frozen=True, slots=True)
class Expected:
    """A replica is wanted and on its way (starting, loading, waiting to restart).

    Attributes:
        replica: Its name.
        model: Whose replica it is.
        cost: As `Ready` has it.
    """

    replica: str
    model: str
    cost: float = 0.0


@dataclass(frozen=True, slots=True)
class Ready:
    """A replica, or capacity elsewhere, can take work. Again with the same endpoint: it has other slots now.

    Attributes:
        replica: Its name.
        model: Whose replica it is.
        slots: Requests it works on at once.
        endpoint: Where it listens.
        kept_tokens: Tokens of earlier prompts that it keeps beside those in its slots; None when unknown.
        cost: Seconds that a request rather waits for one that costs less. A replica of ours costs nothing;
            what costs something is elsewhere, and takes no memory here.
        weight: How many requests it gets, relative to others that cost the same.
    """

    replica: str
    model: str
    slots: int
    endpoint: Endpoint
    kept_tokens: float | None = None
    cost: float = 0.0
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Draining:
    """A replica finishes what it has and takes nothing new: it is brought down, `Idle` answers."""

    replica: str


@dataclass(frozen=True, slots=True)
class Paused:
    """A replica is unwell: it finishes what it can, and takes nothing new until it is `Ready` again."""

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
class Unloaded:
    """A replica is wanted but not in memory, and a request could bring it back (unlike `Gone`).

    Attributes:
        replica: Its name.
        model: Whose replica it is.
        reason: Why it is not loaded, and what would help, for the client who asks for it.
    """

    replica: str
    model: str
    reason: str


@dataclass(frozen=True, slots=True)
class Dormant:
    """Capacity elsewhere is not there, and a request could have it brought (`LoadElsewhere`).

    Attributes:
        replica: Its name.
        model: Whose replica it is.
        reason: Why it is not there, for the client who asks for it.
        cost: As `Ready` has it.
    """

    replica: str
    model: str
    reason: str
    cost: float


@dataclass(frozen=True, slots=True)
class SlotsKept:
    """The prompts in a replica's slots are on disk, and it is about to end."""

    replica: str


@dataclass(frozen=True, slots=True)
class SlotsRestored:
    """A replica that is about to be ready has read back what was on disk (`SlotsKept`)."""

    replica: str


@dataclass(frozen=True, slots=True)
class Forgotten:
    """A replica is no longer part of the plan."""

    replica: str


class Arrived(msgspec.Struct, frozen=True, gc=False):
    """A request asks to run."""

    ticket: Ticket


@dataclass(frozen=True, slots=True)
class Inherited:
    """A request that an earlier daemon sent to a replica of `slots` slots still runs there."""

    ticket: Ticket
    endpoint: Endpoint
    slots: int


@dataclass(frozen=True, slots=True)
class Overdue:
    """A request has waited for the first byte of its answer for so long that its replica may be stuck."""

    ticket_id: int


@dataclass(frozen=True, slots=True)
class Answering:
    """The answer to a request that was overdue has begun."""

    ticket_id: int


@dataclass(frozen=True, slots=True)
class Abandoned:
    """A request was left before its replica was done with it: the replica still works on it.

    `AttemptFailed` or `Finished` of the request follows. Its slots stay taken until `Finished(held_id)`.

    Attributes:
        ticket_id: Which one.
        held_id: The id of what is left of it on the replica.
    """

    ticket_id: int
    held_id: int


class AttemptFailed(msgspec.Struct, frozen=True, gc=False):
    """A replica failed a request, which may run on another.

    Attributes:
        ticket_id: Whose attempt it was.
        sent: Whether the client has seen a part of the answer already, which another replica is to continue.
        hung_up: Whether the replica hung up, so that the request may have ended it.
        deadline: Until when an answer that is to be continued may wait for that (monotonic seconds); None is
            without limit.
    """

    ticket_id: int
    sent: bool = False
    hung_up: bool = False
    deadline: float | None = None


@dataclass(frozen=True, slots=True)
class GivenBack:
    """A request gives its slots back to a more urgent one, and waits for its turn to go on.

    Attributes:
        ticket_id: Which one.
        deadline: Until when it may wait for that (monotonic seconds); None is without limit.
    """

    ticket_id: int
    deadline: float | None = None


@dataclass(frozen=True, slots=True)
class KeptSlots:
    """A request that was asked for its slots (`Preempt`) keeps them for now."""

    ticket_id: int


@dataclass(frozen=True, slots=True)
class Cleared:
    """A request that a replica hung up on was not the cause of its end."""

    ticket_id: int


class Finished(msgspec.Struct, frozen=True, gc=False):
    """A request is over: its slots are free.

    Attributes:
        ticket_id: Which one.
        exchange: What happened to it; None when that is not known, as of a daemon that was killed.
    """

    ticket_id: int
    exchange: Exchange | None = None


@dataclass(frozen=True, slots=True)
class Tick:
    """Time passed; deadlines may have."""


RequestEvent = (
    Arrived
    | Inherited
    | Abandoned
    | Overdue
    | Answering
    | AttemptFailed
    | GivenBack
    | KeptSlots
    | Cleared
    | Finished
    | Tick
)
ReplicaEvent = Expected | Ready | Draining | Paused | Lost | Gone | Unloaded | Dormant | Forgotten
SlotEvent = SlotsKept | SlotsRestored
Event = RequestEvent | ReplicaEvent | SlotEvent | MemoryEvent


class Dispatch(msgspec.Struct, frozen=True, gc=False):
    """Send this ticket's request to this replica, now."""

    ticket_id: int
    endpoint: Endpoint


@dataclass(frozen=True, slots=True)
class Refuse:
    """Refuse this ticket's request.

    Attributes:
        ticket_id: Which one.
        refusal: Why, for programs.
        reason: Why, for people.
        retry_after_seconds: When to ask again.
        position: The place that it had, or would have had, in the queue of its model; 0 without one.
    """

    ticket_id: int
    refusal: Refusal
    reason: str
    retry_after_seconds: float | None = None
    position: int = 0


@dataclass(frozen=True, slots=True)
class Move:
    """Try this ticket's request elsewhere: its replica may be stuck, and another one has a free slot."""

    ticket_id: int


@dataclass(frozen=True, slots=True)
class Preempt:
    """Have this ticket's request give its slots to others: `GivenBack` answers, or `KeptSlots`.

    Attributes:
        ticket_id: Which one.
        while_reading: Only if its prompt is being read, which holds up the prompts of others.
    """

    ticket_id: int
    while_reading: bool = False


@dataclass(frozen=True, slots=True)
class Idle:
    """A draining replica has nothing left to finish."""

    replica: str


@dataclass(frozen=True, slots=True)
class LoadElsewhere:
    """Have one of the replicas of a model that are dormant brought: `Expected` answers, or `Gone`."""

    model: str


Effect = Dispatch | Refuse | Move | Preempt | Idle | LoadElsewhere | MemoryEffect
