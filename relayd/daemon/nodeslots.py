"""How does this machine grant slots of its replicas to the hubs that it is a node of?

By its own scheduler, so that a hub's requests and those of its own clients are counted together: a claim
takes a free slot at once or is refused, and never waits here, as the hub may have a free one elsewhere.
"""

import asyncio
from collections import Counter
from collections.abc import Callable
from urllib.parse import urlsplit

from relayd.endpoint import Endpoint
from relayd.errors import RequestError, SlotTakenError
from relayd.remote.messages import StreamOpening
from relayd.remote.request import LinkRequest
from relayd.remote.serving import NodeAnswer
from relayd.router import Dispatcher, ExchangeRecord, Exchanges
from relayd.router.beside import AT_ONCE
from relayd.scheduler import Ask, Dispatch, Exchange, Inherited, Refuse, Scheduler, Ticket, Vacancy


class SlotsForHub:
    """Grants slots to one hub.

    Args:
        hub: Its address.
        scheduler: Knows which slots are free.
        dispatcher: Who holds them.
        exchanges: The record of every request.
        replicas: Returns the replicas that hubs may use.
    """

    def __init__(
        self,
        hub: str,
        scheduler: Scheduler,
        dispatcher: Dispatcher,
        exchanges: Exchanges,
        replicas: Callable[[], list[str]],
    ) -> None:
        self._hub, self._name = hub, f"hub:{urlsplit(hub).netloc or hub}"
        self._scheduler = scheduler
        self._dispatcher = dispatcher
        self._exchanges = exchanges
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

    async def claim(self, opening: StreamOpening, request: LinkRequest) -> "ClaimedSlot | BesideSlots":
        """Return free slots of an incarnation, or a place beside its slots.

        Raises:
            SlotTakenError: It has none that is free, or takes nothing new.
            LookupError: There is no such replica, or it has another incarnation.
        """
        vacancy = self._vacancy(opening)
        if request.is_beside:
            places = self._beside.setdefault(opening.replica, asyncio.Semaphore(AT_ONCE))
            await places.acquire()
            return BesideSlots(vacancy.endpoint, places)
        width = min(request.width, vacancy.slots)
        if vacancy.free < width:
            raise SlotTakenError(f"{opening.replica} has {vacancy.free} free slots of {width}")
        claimed = self._begin(vacancy.model, width, request)
        claimed.place(vacancy.endpoint)
        self._own[opening.replica] += width
        self._dispatcher.inherit(Inherited(claimed.ticket, vacancy.endpoint, vacancy.slots), claimed)
        return claimed

    def _begin(self, model: str, width: int, request: LinkRequest) -> "ClaimedSlot":
        ask = Ask(model, width=width, key=self._name, flow=self._hub, stream=request.is_stream)
        record = self._exchanges.begin(request.request_id, request.path, self._name)
        ticket = Ticket(self._dispatcher.next_id(), ask)
        return ClaimedSlot(self._dispatcher, ticket, record, self._given_back)

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
        record: What happens to the request.
        on_free: Called with the replica and how many slots it has again, once they are free.

    Attributes:
        ticket: Likewise.
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        ticket: Ticket,
        record: ExchangeRecord,
        on_free: Callable[[str, int], None],
    ) -> None:
        self._dispatcher, self._record = dispatcher, record
        self.ticket = ticket
        self._on_free = on_free
        self._is_held = self._is_released = False
        self._answered: NodeAnswer | None = None
        self._task = asyncio.current_task()
        record.ask, record.queued_at = ticket.ask, record.arrived_at

    def __repr__(self) -> str:
        return f"<ClaimedSlot of {self.ticket.ask.model}>"

    @property
    def endpoint(self) -> Endpoint:
        """Where the replica answers."""
        assert self._record.endpoint is not None  # noqa: S101 - it has its place
        return self._record.endpoint

    def place(self, endpoint: Endpoint) -> None:
        """Take note of where the slot is."""
        self._record.placed(endpoint, self._record.clock.monotonic())

    def note(self, answer: NodeAnswer) -> None:
        """Take note that the answer begins."""
        self._answered = answer
        self._record.began(answer.status)

    def hold(self) -> Callable[[], None]:
        """Keep the slot until what is returned is called: the replica still works on the request."""
        free = self._dispatcher.hold(self.ticket)
        self._is_held = True

        def ended() -> None:
            free()
            self._on_free(self.endpoint.replica, self.ticket.ask.width)

        return ended

    def release(self, error: BaseException | None = None) -> None:
        """Give the slot back, unless it is held; `error` is what ended the request."""
        if self._is_released:
            return
        self._is_released = True
        self._dispatcher.leave(self.ticket, self._end(error))
        if not self._is_held:
            self._on_free(self.endpoint.replica, self.ticket.ask.width)

    def _end(self, error: BaseException | None) -> Exchange:
        """Return what happened to the request, which every reader of those gets."""
        record, answered = self._record, self._answered
        if answered is not None:
            record.usage, record.sent_bytes = answered.tap.usage(), answered.sent_bytes
        return record.end(error)

    # What a dispatcher asks of a holder:

    def settle(self, answer: Dispatch | Refuse) -> None:
        """Take the scheduler's answer: it has given the slot already."""

    def interrupt(self, error: RequestError) -> None:  # noqa: ARG002 - a holder's signature
        """End the request: this daemon ends."""
        if self._task is not None:
            self._task.cancel()

    def interrupt_on(self, endpoint: Endpoint, error: RequestError) -> None:
        """End the request, if this incarnation answers it: it is about to be ended."""
        if endpoint == self._record.endpoint:
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

    def note(self, answer: NodeAnswer) -> None:
        """Take note of nothing: such requests are not logged."""

    def release(self, error: BaseException | None = None) -> None:  # noqa: ARG002 - a claim's signature
        """Give the place back."""
        if not self._is_released:
            self._is_released = True
            self._places.release()
