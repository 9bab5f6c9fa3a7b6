"""How much of each replica is taken, and by which tickets (slots)?"""

from dataclasses import dataclass, field

from relayd.endpoint import Endpoint


@dataclass(slots=True, eq=False)
class Capacity:
    """The slots of one incarnation of a replica.

    A new incarnation is a new object, so a ticket that still ends on the old one gives
    nothing back to its successor.
    """

    endpoint: Endpoint
    slots: int
    accepting: bool = True
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

    def __post_init__(self) -> None:
        self.free = self.slots - sum(self.running.values())

    def need(self, width: int) -> int:
        """Return the slots a ticket of `width` takes here: all of them when it is wider."""
        return min(width, self.slots)

    def fits(self, width: int) -> bool:
        """Return whether a ticket of `width` can start now."""
        return self.accepting and (width <= self.free or self.slots == self.free)

    def take(self, ticket_id: int, width: int, dispatch: int) -> None:
        """Give slots to a ticket; `dispatch` counts dispatches, to know which was unused for longest."""
        taken = self.running[ticket_id] = self.need(width)
        self.free -= taken
        self.last_dispatch = dispatch

    def hold(self, ticket_id: int, held_id: int) -> None:
        """Keep a ticket's slots taken under another id."""
        if self.suspect == ticket_id:
            self.suspect = held_id
        if ticket_id in self.overdue:
            self.overdue.add(held_id)
        self.left[held_id] = ticket_id
        self.running[held_id] = self.running.pop(ticket_id)

    def owes_older(self, ticket_id: int) -> bool:
        """Return whether an older request than this one is overdue here, or was left and has not ended."""
        owed = (*self.overdue - self.left.keys(), *self.left.values())
        return min(owed, default=ticket_id) < ticket_id

    def release(self, ticket_id: int) -> None:
        """Take a ticket's slots back, unless they are held under another id."""
        if self.overdue:
            self.overdue.discard(ticket_id)
        if self.left:
            self.left.pop(ticket_id, None)
        if self.suspect == ticket_id:
            self.suspect = None
        self.free += self.running.pop(ticket_id, 0)


@dataclass(frozen=True, slots=True)
class Absence:
    """Why a replica serves nothing, and will not by itself.

    Attributes:
        reason: For the client who asks for it.
        loadable: It is only not loaded, so a request may bring it back; else only an operator does.
    """

    reason: str
    loadable: bool


@dataclass(slots=True, eq=False)
class ReplicaSlots:
    """What the scheduler knows of one replica between its incarnations.

    Attributes:
        model: Whose replica it is.
        capacity: Its slots while there is an incarnation that was ready.
        absence: Why none is to be expected; None while it is on its way, or there.
    """

    model: str
    capacity: Capacity | None = None
    absence: Absence | None = None
