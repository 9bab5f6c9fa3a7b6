"""What happens to memory (events), and what the scheduler orders about it (effects).

An account is a pool of memory that is counted on its own: `host`, or a device such as `cuda0`. Bytes of an
account that a mapping does not name are none.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from relayd.units import Bytes

Accounts = Mapping[str, Bytes]
"""Account (`host`, `cuda0`) → bytes."""


@dataclass(frozen=True, slots=True)
class Resident:
    """How long a replica stays in memory, and how it comes there.

    Attributes:
        pin: Neither another model nor idleness ends it.
        home: It comes back when no request runs or waits, and idleness does not end it.
        demand: It starts with its first request instead of with the daemon.
        idle_seconds: Seconds after its last request until it is unloaded; None keeps it.
        growth: It is a replica beyond `replicas.min`, started when requests wait longer than its load takes.
        reload_seconds: How long a load takes as far as the planner knows; what is measured replaces it.
    """

    pin: bool = False
    home: bool = False
    demand: bool = False
    idle_seconds: float | None = None
    growth: bool = False
    reload_seconds: float = 10.0


class EvictionCause(Enum):
    """Why a replica leaves memory."""

    MEMORY = "memory"
    """Another model needs the bytes."""
    IDLE = "idle"
    """No request came for `idle_seconds`."""
    OPERATOR = "operator"
    """An operator unloads it."""
    NOBODY_WAITS = "nobody_waits"
    """Every request that waited for the load has left."""
    SHRINK = "shrink"
    """It is a replica beyond `replicas.min` that has had no work for a while."""
    NO_ROOM = "no_room"
    """Its start is given up, which no request waits for: what holds the memory does not leave in time."""
    TOO_LARGE = "too_large"
    """Its load is given up: it needs more than models may take, also with all others gone."""


@dataclass(frozen=True, slots=True)
class MemoryRoom:
    """What models may take of each account; replaces what was known. Empty: nothing is counted.

    Set at start and at a reload, before `Holds` and before the first `MemoryAsked`: the budget, not what is
    free at the moment. Requests may load again what has failed.
    """

    rooms: Accounts


@dataclass(frozen=True, slots=True)
class OthersHold:
    """What other programs hold of each account beyond the reserve; replaces what was known."""

    by_account: Accounts


@dataclass(frozen=True, slots=True)
class ResidenceSet:
    """A replica's policy: at its first `Expected` or `Unloaded`, and whenever the policy changes.

    A replica that is not in memory and has a policy is loaded on demand; without one it is not.
    """

    replica: str
    model: str
    policy: Resident


@dataclass(frozen=True, slots=True)
class MemoryAsked:
    """A replica asks for the memory of a start; `Grant` answers.

    Attributes:
        replica: Its name.
        model: Whose replica it is.
        sizes: Bytes of each size that would do, the best first.
    """

    replica: str
    model: str
    sizes: tuple[Accounts, ...]


@dataclass(frozen=True, slots=True)
class MemoryTakenBack:
    """A replica does not ask any more: it is not going to start."""

    replica: str


@dataclass(frozen=True, slots=True)
class MemoryFreed:
    """Nothing of a replica is in memory any more: its process is reaped, and a device shows it."""

    replica: str


@dataclass(frozen=True, slots=True)
class Measured:
    """What a replica that is ready holds, as the system shows it."""

    replica: str
    by_account: Accounts


@dataclass(frozen=True, slots=True)
class Holds:
    """An adopted or handed-over replica is in memory with so many bytes, whether there is room or not.

    Attributes:
        replica: Its name.
        by_account: The bytes.
        is_anothers: Whether it stays with the daemon before, and ends with that.
    """

    replica: str
    by_account: Accounts
    is_anothers: bool = False


@dataclass(frozen=True, slots=True)
class LoadFailed:
    """A replica could not be loaded: who waits for its model is refused, and so is who comes soon.

    Attributes:
        replica: Its name.
        reason: For the client who asks for it.
        retry_after_seconds: When a request may load it again; None leaves it to the scheduler (backoff).
        is_final: Whether it would fail again: only an operator can change that.
    """

    replica: str
    reason: str
    retry_after_seconds: float | None = None
    is_final: bool = False


@dataclass(frozen=True, slots=True)
class LoadWanted:
    """An operator wants a model in memory."""

    model: str


@dataclass(frozen=True, slots=True)
class StartWanted:
    """An operator has started a replica: others make room for the memory that it asks for next."""

    replica: str


@dataclass(frozen=True, slots=True)
class UnloadWanted:
    """An operator wants a replica out of memory.

    Attributes:
        replica: Its name.
        force: At once; else it finishes what it works on.
    """

    replica: str
    force: bool = False


MemoryEvent = (
    MemoryRoom
    | OthersHold
    | ResidenceSet
    | MemoryAsked
    | MemoryTakenBack
    | MemoryFreed
    | Measured
    | Holds
    | LoadFailed
    | LoadWanted
    | StartWanted
    | UnloadWanted
)


@dataclass(frozen=True, slots=True)
class Grant:
    """Let a replica that asked for memory start now, in the size of this index."""

    replica: str
    size: int


@dataclass(frozen=True, slots=True)
class Load:
    """Load a replica that is not in memory: it asks for its memory next."""

    replica: str


@dataclass(frozen=True, slots=True)
class Evict:
    """Unload a replica, or give its load up; `MemoryFreed` follows if it held any.

    Attributes:
        replica: Its name.
        cause: Why.
        force: Whether to end what it works on; else it works on nothing.
        reason: Why, for the operator; empty where the cause is enough.
    """

    replica: str
    cause: EvictionCause
    force: bool = False
    reason: str = ""


MemoryEffect = Grant | Load | Evict


@dataclass(frozen=True, slots=True)
class MemoryPolicy:
    """When models give way to each other (settings of `[memory]`).

    Attributes:
        min_resident_seconds: How long a model stays after its load before another one takes back the memory
            that it had to leave to it.
        swap_batch_requests: Requests that a model in use still gets while another waits for its memory.
        swap_turn_seconds: How long a model in use still gets requests while another waits for its memory.
        home_after_seconds: How long no request may have run or waited before home models come back.
        shrink_after_seconds: How long a replica beyond `replicas.min` is kept without work.
        start_wait_seconds: How long a start waits for memory that no request waits for.
    """

    min_resident_seconds: float = 3.0
    swap_batch_requests: int = 32
    swap_turn_seconds: float = 10.0
    home_after_seconds: float = 30.0
    shrink_after_seconds: float = 60.0
    start_wait_seconds: float = 60.0

    def resident_seconds(self, load_seconds: float) -> float:
        """Return how long a model stays that takes so long to load: at least so long, unless 0 is set."""
        return max(self.min_resident_seconds, load_seconds) if self.min_resident_seconds else 0.0

    def turn_seconds(self, load_seconds: float) -> float:
        """Return how long the last turn of a model is that takes so long to load; see `resident_seconds`."""
        return max(self.swap_turn_seconds, load_seconds) if self.swap_turn_seconds else 0.0
