"""What a report shows of memory: who is loaded, who waits for whom, and what was loaded and evicted."""

from dataclasses import dataclass

from relayd.scheduler.memory import Accounts, EvictionCause
from relayd.units import Bytes


@dataclass(frozen=True, slots=True)
class AccountRow:
    """One account of the ledger.

    Attributes:
        account: Its name (`host`, `cuda0`).
        capacity: What models may take of it.
        planned: What the replicas in memory were granted.
        measured: What the system shows of those of them that were measured.
        held: What counts: the larger of both, replica by replica.
        others: What other programs hold beyond the reserve.
        free: What a grant may take now; negative where more is held than there is.
    """

    account: str
    capacity: Bytes
    planned: Bytes
    measured: Bytes
    held: Bytes
    others: Bytes
    free: Bytes


@dataclass(frozen=True, slots=True)
class ResidentRow:
    """A replica that holds memory, or is about to.

    Attributes:
        replica: Its name.
        model: Whose replica it is.
        held: Bytes that count for it, account by account.
        loading_since: Since when it loads (monotonic seconds); None when it does not.
        used_at: When it was last used, else loaded (monotonic seconds).
        leaving: Why it is about to leave memory; None when it stays.
        leaves_for: The replica that gets its memory; empty when it leaves for none.
        pin: Whether no other model may take its memory.
    """

    replica: str
    model: str
    held: Accounts
    loading_since: float | None
    used_at: float
    leaving: EvictionCause | None
    leaves_for: str
    pin: bool


@dataclass(frozen=True, slots=True)
class MemoryWaiter:
    """A replica that has asked for memory and has not got it.

    Attributes:
        replica: Its name.
        model: Whose replica it is.
        since: When its model was wanted (monotonic seconds).
        needs: Bytes of the smallest size that would do.
        waits_for: Replicas that are to leave, or to finish loading, before it gets memory.
        is_wanted: Whether others make room for it: a request, an operator or its home wants it.
    """

    replica: str
    model: str
    since: float
    needs: Accounts
    waits_for: tuple[str, ...]
    is_wanted: bool = True


@dataclass(frozen=True, slots=True)
class LoadDone:
    """A load that came to an end.

    Attributes:
        replica: Its name.
        model: Whose replica it is.
        ended_at: When it was ready, or had failed (monotonic seconds).
        waited_seconds: How long it waited for memory.
        load_seconds: How long it took from there.
        failure: Why it failed; empty when it did not.
    """

    replica: str
    model: str
    ended_at: float
    waited_seconds: float
    load_seconds: float
    failure: str = ""


@dataclass(frozen=True, slots=True)
class TicketProgress:
    """How far a request that waits has come.

    Attributes:
        position: Its place in the queue of its model, or in the line of its key; 1 runs next.
        is_loaded: Whether a replica of its model takes work.
        is_loading: Whether one is being loaded, which has its memory.
        seconds: When it probably runs: what is left of the load and the queue before it.
        is_held: Its key has as many requests in flight as it may, so that it is in no queue yet.
    """

    position: int
    is_loaded: bool = False
    is_loading: bool = False
    seconds: float = 0.0
    is_held: bool = False
