"""How does this machine grant slots of its replicas to the hubs that it is a node of?

By its own scheduler, so that a hub's requests and those of its own clients are counted together: a claim
takes a free slot at once or is refused, and never waits here, as the hub may have a free one elsewhere.
"""

import asyncio
from collections import Counter
from collections.abc import Callable

from relayd.endpoint import Endpoint
from relayd.errors import RequestError, SlotTakenError
from relayd.remote.messages import StreamOpening
from relayd.router import Dispatcher
from relayd.router.beside import AT_ONCE
from relayd.scheduler import Ask, Dispatch, Inherited, Refuse, Scheduler, Ticket, Vacancy


class SlotsForHub:
    """Grants slots to one hub.

    Args:
        hub: Its address.
        scheduler: Knows which slots are free.
        dispatcher: Who holds them.
        replicas: Returns the replicas that hubs may use.
    """

    def __init__(
        self, hub: str, scheduler: Scheduler, dispatcher: Dispatcher, replicas: Callable[[], list[str]]
    ) -> None:
        self._hub = hub
        self._scheduler = scheduler
        self._dispatcher = dispatcher
        self._replicas = replicas
        self._own: Counter[str] = Counter()
        self._beside: dict[str, asyncio.Semaphore] = {}

    def __repr__(self) -> str:
        return f"<SlotsForHub {self._hub} claimed={sum(self._own.values())}>"

    def elsewhere(self) -> dict[str, int]:
        """Return the slots of each replica that others than this hub use, where there are any."""
        found = {}
        for replica in self._replicas():
            vacancy = self._scheduler.vacancy(replica)
            if vacancy is not None and (others := vacancy.taken - self._own[replica]) > 0:
                found[replica] = others
        return found

    async def claim(
        self, opening: StreamOpening, *, beside: bool, width: int = 1
    ) -> "ClaimedSlot | BesideSlots":
        """Return free slots of an incarnation, or a place beside its slots.

        Raises:
            SlotTakenError: It has none that is free, or takes nothing new.
            LookupError: There is no such replica, or it has another incarnation.
        """
        vacancy = self._vacancy(opening)
        if beside:
            places = self._beside.setdefault(opening.replica, asyncio.Semaphore(AT_ONCE))
            await places.acquire()
            return BesideSlots(vacancy.endpoint, places)
        width = min(width, vacancy.slots)
        if vacancy.free < width:
            raise SlotTakenError(f"{opening.replica} has {vacancy.free} free slots of {width}")
        ticket = Ticket(self._dispatcher.next_id(), Ask(vacancy.model, width=width, flow=self._hub))
        claimed = ClaimedSlot(self._dispatcher, ticket, vacancy.endpoint, self._given_back)
        self._own[opening.replica] += width
        self._dispatcher.inherit(Inherited(ticket, vacancy.endpoint, vacancy.slots), claimed)
        return claimed

    def _vacancy(self, opening: StreamOpening) -> Vacancy:
        vacancy = self._scheduler.vacancy(opening.replica)
        if vacancy is None or vacancy.endpoint.incarnation != opening.incarnation:
            raise LookupError(f"{opening.replica} is not there, or has been restarted")
        return vacancy

    def _given_back(self, replica: str, width: int) -> None:
        self._own[replica] -= width


class ClaimedSlot:
    """A slot of a replica that a hub has.

    Args:
        dispatcher: Who holds slots.
        ticket: By which it is counted.
        endpoint: Where the replica answers.
        on_free: Called with the replica and how many slots it has again, once they are free.
    """

    def __init__(
        self, dispatcher: Dispatcher, ticket: Ticket, endpoint: Endpoint, on_free: Callable[[str, int], None]
    ) -> None:
        self._dispatcher = dispatcher
        self._ticket = ticket
        self.endpoint = endpoint
        self._on_free = on_free
        self._is_held = self._is_released = False
        self._task = asyncio.current_task()

    def __repr__(self) -> str:
        return f"<ClaimedSlot of {self.endpoint.replica}>"

    def hold(self) -> Callable[[], None]:
        """Keep the slot until what is returned is called: the replica still works on the request."""
        free = self._dispatcher.hold(self._ticket)
        self._is_held = True

        def ended() -> None:
            free()
            self._on_free(self.endpoint.replica, self._ticket.ask.width)

        return ended

    def release(self) -> None:
        """Give the slot back, unless it is held."""
        if self._is_released:
            return
        self._is_released = True
        self._dispatcher.leave(self._ticket)
        if not self._is_held:
            self._on_free(self.endpoint.replica, self._ticket.ask.width)

    # What a dispatcher asks of a holder:

    def settle(self, answer: Dispatch | Refuse) -> None:
        """Take the scheduler's answer: it has given the slot already."""

    def interrupt(self, error: RequestError) -> None:  # noqa: ARG002 - a holder's signature
        """End the request: this daemon ends."""
        if self._task is not None:
            self._task.cancel()

    def interrupt_on(self, endpoint: Endpoint, error: RequestError) -> None:
        """End the request, if this incarnation answers it: it is about to be ended."""
        if endpoint == self.endpoint:
            self.interrupt(error)


class BesideSlots:
    """A place for a request that takes no slot.

    Args:
        endpoint: Where the replica answers.
        places: How many there are.
    """

    def __init__(self, endpoint: Endpoint, places: asyncio.Semaphore) -> None:
        self.endpoint = endpoint
        self._places = places
        self._is_released = False

    def __repr__(self) -> str:
        return f"<BesideSlots of {self.endpoint.replica}>"

    def hold(self) -> Callable[[], None]:
        """Return what does nothing: no slot is taken."""
        return lambda: None

    def release(self) -> None:
        """Give the place back."""
        if not self._is_released:
            self._is_released = True
            self._places.release()
