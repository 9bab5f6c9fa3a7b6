"""How much of each replica is taken, and by which tickets (slots)?"""

import math
from dataclasses import dataclass, field

from relayd.endpoint import Endpoint


class OpenReplicas:
    """Who takes work, of the replicas of one model: sorted again only after one was opened or closed.

    Attributes:
        every: All of them.
        free: Those that take work and have a free slot.
        busy: Those that take work once a slot is free.
        has_free: Any of all that take work has a free slot.
        is_stale: Some may have changed places. Who owes a first byte is in neither: it gets a request only
            where no other can take it.
    """

    __slots__ = ("busy", "every", "free", "has_free", "is_stale")

    def __init__(self, every: "tuple[Capacity, ...]" = ()) -> None:
        self.every = every
        self.free: list[Capacity] = []
        self.busy: list[Capacity] = []
        self.has_free = False
        self.is_stale = True
        for one in self.every:
            one.among = self

    def __repr__(self) -> str:
        return f"<OpenReplicas free={len(self.free)} busy={len(self.busy)} of {len(self.every)}>"

    def sort(self) -> None:
        """Find out who takes work now."""
        accepting = [one for one in self.every if one.accepting]
        open_now = [one for one in accepting if not one.overdue]
        self.free = [one for one in open_now if one.free > 0]
        self.busy = [one for one in open_now if one.free <= 0]
        self.has_free = bool(self.free)
        if not self.free and len(open_now) < len(accepting):
            self.has_free = any(one.free > 0 for one in accepting)
        self.is_stale = False


@dataclass(slots=True, eq=False)
class Capacity:
    """The slots of one incarnation of a replica.

    A new incarnation is a new object, so a ticket that still ends on the old one gives
    nothing back to its successor.
    """

    endpoint: Endpoint
    slots: int
    kept_tokens: float | None = None
    """Tokens of earlier prompts that it keeps beside those in its slots; None when that is not known."""
    cost: float = 0.0
    """Seconds that a request rather waits for one that costs less; 0 for a replica of ours."""
    weight: float = 1.0
    """How many requests it gets, relative to others that cost the same."""
    accepting: bool = field(init=False)
    running: dict[int, int] = field(default_factory=dict)
    last_dispatch: int = 0
    overdue: set[int] = field(default_factory=set)
    """Tickets whose first byte is so late that the replica may be stuck."""
    left: dict[int, int] = field(default_factory=dict)
    """What was left and is still worked on, with the id of the request that it was."""
    suspect: int | None = None
    """The ticket here that may have ended another replica: there is never a second one beside it."""
    free: int = field(init=False)
    """Slots that no ticket holds."""
    load: tuple[float, int] = field(init=False)
    """How busy it is: the share of its slots that is taken, then when it was used last."""
    served: int = 0
    """Dispatches to this incarnation."""
    used_at: float = 0.0
    """When a request ended here last, else when it was ready (monotonic seconds)."""
    is_well: bool = True
    """Whether its supervisor lets it take work."""
    last_of_turn: int | None = None
    """The dispatch after which it takes no more, as another model waits for its memory."""
    background: set[int] = field(default_factory=set)
    """Lines of batches that run here, which give their slots to others."""
    resumed: set[int] = field(default_factory=set)
    """Those of them that gave way before, and keep their slots for a while."""
    wanted_at: float = -math.inf
    """When a request other than a line of a batch ended here last (monotonic seconds)."""
    is_watched: bool = False
    """Whether a replica waits for memory, so that it matters when this one has nothing to do."""
    among: OpenReplicas = field(default_factory=OpenReplicas, repr=False)
    """The replicas of its model, which are sorted again where it is opened or closed."""

    def __post_init__(self) -> None:
        self.free = free = self.slots - sum(self.running.values())
        self.load = -free / self.slots, self.last_dispatch
        self._decide()

    def need(self, width: int) -> int:
        """Return the slots a ticket of `width` takes here: all of them when it is wider."""
        return min(width, self.slots)

    def fits(self, width: int) -> bool:
        """Return whether a ticket of `width` can start now."""
        return self.accepting and (width <= self.free or self.slots == self.free)

    def take(self, ticket_id: int, width: int, dispatch: int) -> None:
        """Give slots to a ticket; `dispatch` counts dispatches, to know which was unused for longest."""
        slots = self.slots
        self.running[ticket_id] = taken = min(width, slots)
        self.free = free = self.free - taken
        self.last_dispatch = dispatch
        self.load = -free / slots, dispatch
        self.served += 1
        if free <= 0:
            self.among.is_stale = True
        if self.served == self.last_of_turn:
            self._decide()

    def resize(self, slots: int, cost: float, weight: float) -> None:
        """Have other slots; what runs beyond them ends where it is, and `free` is negative until it has."""
        self.slots, self.cost, self.weight = slots, cost, weight
        self.free = free = slots - sum(self.running.values())
        self.load = -free / slots, self.last_dispatch
        self.among.is_stale = True

    def admit(self, *, is_well: bool) -> None:
        """Let it take work, or not, as far as its supervisor is concerned."""
        self.is_well = is_well
        self._decide()

    def give_way(self, after: int) -> None:
        """Take only so many tickets more: another model waits for the memory."""
        self.last_of_turn = self.served + after
        self._decide()

    def stay(self) -> None:
        """Take tickets without a limit again."""
        self.last_of_turn = None
        self._decide()

    def _decide(self) -> None:
        has_given_way = self.last_of_turn is not None and self.last_of_turn <= self.served
        self.accepting = self.is_well and not has_given_way
        self.among.is_stale = True

    def owe(self, ticket_id: int) -> None:
        """Take note that the first byte of a ticket is late."""
        self.overdue.add(ticket_id)
        self.among.is_stale = True

    def owe_no_more(self, ticket_id: int) -> None:
        """Take note that it has come, or is not waited for any more."""
        self.overdue.discard(ticket_id)
        self.among.is_stale = True

    def hold(self, ticket_id: int, held_id: int) -> None:
        """Keep a ticket's slots taken under another id."""
        if self.suspect == ticket_id:
            self.suspect = held_id
        if ticket_id in self.overdue:
            self.overdue.add(held_id)
        self.background.discard(ticket_id)
        self.resumed.discard(ticket_id)
        self.left[held_id] = ticket_id
        self.running[held_id] = self.running.pop(ticket_id)

    @property
    def is_spare(self) -> bool:
        """Whether it works on nothing but lines of batches."""
        return len(self.background) + len(self.left) == len(self.running)

    def owes_older(self, ticket_id: int) -> bool:
        """Return whether an older request than this one is overdue here, or was left and has not ended."""
        owed = (*self.overdue - self.left.keys(), *self.left.values())
        return min(owed, default=ticket_id) < ticket_id

    def release(self, ticket_id: int) -> None:
        """Take a ticket's slots back, unless they are held under another id."""
        if self.overdue:
            self.owe_no_more(ticket_id)
        if self.left:
            self.left.pop(ticket_id, None)
        if self.background:
            self.background.discard(ticket_id)
            self.resumed.discard(ticket_id)
        if self.suspect == ticket_id:
            self.suspect = None
        if (before := self.free) <= 0:
            self.among.is_stale = True
        self.free = free = before + self.running.pop(ticket_id, 0)
        self.load = -free / self.slots, self.last_dispatch


@dataclass(frozen=True, slots=True)
class Absence:
    """Why a replica serves nothing, and will not by itself.

    Attributes:
        reason: For the client who asks for it.
        loadable: It is only not loaded, so a request may bring it back; else only an operator does.
        has_failed: Its last load failed.
        is_elsewhere: It is capacity of another machine, which a request may have brought.
    """

    reason: str
    loadable: bool
    has_failed: bool = False
    is_elsewhere: bool = False


@dataclass(slots=True, eq=False)
class ReplicaSlots:
    """What the scheduler knows of one replica between its incarnations.

    Attributes:
        model: Whose replica it is.
        capacity: Its slots while there is an incarnation that was ready.
        absence: Why none is to be expected; None while it is on its way, or there.
        cost: Of its capacity, once it has some.
    """

    model: str
    capacity: Capacity | None = None
    absence: Absence | None = None
    cost: float = 0.0
