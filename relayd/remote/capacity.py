"""Which capacity is there besides our own replicas, and how does the scheduler learn of it (remotes)?

An upstream, a node or a worker offers slots for a model. Each offer is a replica to the scheduler, with the
same events as one of ours and with a cost, and to the router an endpoint with a profile. Who makes an offer
keeps it true: it changes the slots, pauses it, loses it and withdraws it.

| what happens | event | requests that wait for the model |
|---|---|---|
| `expect` | Expected | wait |
| `offer`, `resize` | Ready | run |
| `pause` | Paused | wait; what runs goes on |
| `lose` | Lost | wait until it is offered again, or given up |
| `rest` | Dormant | have it brought (`bring`, `NodeLoads`), unless another replica serves |
| `bring` | Expected | wait |
| `give_up` | Gone | are refused with the reason, unless another replica serves |
| `withdraw` | Forgotten | likewise; what runs goes on to its end |
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Protocol

from relayd.endpoint import Address, Endpoint
from relayd.journal import Journal
from relayd.profile import EndpointProfile
from relayd.remote.providers import NO_RULE, ProviderRule
from relayd.scheduler import Dormant, Event, Expected, Forgotten, Gone, Lost, Paused, Ready
from relayd.secret import Secret

LEAST_COST = 0.001
"""Seconds: what capacity elsewhere costs at least, so that a replica of ours goes first."""

_JOURNAL = Journal("remote")
_NO_KEY = Secret("")


class OfferState(Enum):
    """How far capacity elsewhere is."""

    EXPECTED = "expected"
    READY = "ready"
    PAUSED = "paused"
    LOST = "lost"
    COLD = "cold"
    """A request has it brought."""
    GONE = "gone"


@dataclass(frozen=True, slots=True)
class RemoteOffer:
    """Slots for one model at one server elsewhere.

    Attributes:
        replica: Its name, `MODEL@NAME`, or `MODEL#N@NAME` where there are several.
        model: What clients call the model.
        slots: Requests that it works on at once.
        address: Where it answers.
        profile: What may be assumed of it.
        key: What it knows relayd by; an empty one is not sent.
        cost: Seconds that a request rather waits for something cheaper; at least `LEAST_COST`.
        weight: How many requests it gets, relative to others that cost the same.
        origin: Who offers it, for people: the name of an upstream or a node.
        kind: What that is.
        context: Tokens that a slot can hold; 0 while that is not known.
        abilities: What the model can do.
        aliases: Other names of the model.
        strategy: How requests are spread over replicas of the model, where it is not configured here.
        provider: What its operator calls the owner or place of the machine; empty without a label.
    """

    replica: str
    model: str
    slots: int
    address: Address
    profile: EndpointProfile
    key: Secret = _NO_KEY
    cost: float = LEAST_COST
    weight: float = 1.0
    origin: str = ""
    kind: str = "upstream"
    context: int = 0
    abilities: tuple[str, ...] = ("completion",)
    aliases: tuple[str, ...] = ()
    strategy: str = "prefix_affinity"
    provider: str = ""

    def leads_where(self, other: "RemoteOffer") -> bool:
        """Return whether another offer is of the same model and is reached in the same way."""
        return (self.model, self.address, self.profile, self.key) == (
            other.model,
            other.address,
            other.profile,
            other.key,
        )


@dataclass(slots=True)
class RemoteCapacity:
    """An offer, and how it stands.

    Attributes:
        offer: As it was made last.
        endpoint: How the router reaches it.
        state: How far it is.
        reason: Why it takes nothing; empty where it does.
    """

    offer: RemoteOffer
    endpoint: Endpoint
    state: OfferState = OfferState.EXPECTED
    reason: str = ""


@dataclass(frozen=True, slots=True)
class RemoteModel:
    """A model as far as others offer it.

    Attributes:
        name: What clients ask for.
        offers: Who offers it, and how each offer stands.
    """

    name: str
    offers: tuple[RemoteCapacity, ...] = field(default=())

    @property
    def ready(self) -> int:
        """How many offers take requests."""
        return sum(one.state is OfferState.READY for one in self.offers)

    @property
    def is_coming(self) -> bool:
        """Whether one takes requests, or will by itself."""
        return any(one.state is not OfferState.GONE for one in self.offers)


class FaultListener(Protocol):
    """Who makes offers, and is to know when requests fail there."""

    def failed(self, replica: str, reason: str) -> None:
        """Take note that a request failed."""
        ...

    def refused(self, replica: str, seconds: float | None) -> None:
        """Take note that there was no room for a request, and in how many seconds there may be."""
        ...


class Remotes:
    """The daemon's record of capacity elsewhere; it posts the scheduler's events.

    Args:
        post: Posts an event to the scheduler.
        retire: Closes the router's idle connections to an endpoint that gets no more requests.
        spread: Sets the strategy of a model that is not configured.
    """

    def __init__(
        self,
        post: Callable[[Event], None],
        retire: Callable[[Endpoint], None],
        spread: Callable[[str, str], None] = lambda _model, _strategy: None,
    ) -> None:
        self._post = post
        self._retire = retire
        self._spread = spread
        self._known: dict[str, RemoteCapacity] = {}
        self._incarnations: dict[str, int] = {}
        self._rules: Mapping[str, ProviderRule] = {}
        self._listeners: list[Callable[[], None]] = []
        self._faults: dict[str, FaultListener] = {}

    def __repr__(self) -> str:
        ready = sum(one.state is OfferState.READY for one in self._known.values())
        return f"<Remotes: {ready} of {len(self._known)} ready>"

    def __iter__(self) -> Iterator[RemoteCapacity]:
        return iter(tuple(self._known.values()))

    def on_change(self, listener: Callable[[], None]) -> None:
        """Call `listener` whenever an offer has changed, before the scheduler knows."""
        self._listeners.append(listener)

    def rule(self, rules: Mapping[str, ProviderRule]) -> None:
        """Follow rules for providers, for what is offered already too."""
        if rules == self._rules:
            return
        self._rules = rules
        for one in self:
            if one.state is OfferState.READY or one.reason == _excluded(one.offer):
                self.offer(one.offer)

    def get(self, replica: str) -> RemoteCapacity | None:
        """Return an offer; None when it is not known."""
        return self._known.get(replica)

    def models(self) -> tuple[RemoteModel, ...]:
        """Return every model that others offer, in the order in which they came."""
        found: dict[str, list[RemoteCapacity]] = {}
        for one in self._known.values():
            found.setdefault(one.offer.model, []).append(one)
        return tuple(RemoteModel(name, tuple(offers)) for name, offers in found.items())

    def expect(self, offer: RemoteOffer) -> None:
        """Have requests for a model wait for capacity that is on its way."""
        if offer.replica not in self._known:
            self._enter(offer)
            self._report(Expected(offer.replica, offer.model, self._cost(offer)))

    def offer(self, offer: RemoteOffer) -> None:
        """Let requests run there. What is reached as before only changes its slots, cost and weight."""
        rule = self._rule_of(offer)
        if not rule.permits(offer.model):
            self.expect(offer)
            self.give_up(offer.replica, _excluded(offer))
            return
        known = self._known.get(offer.replica)
        if known is not None and not known.offer.leads_where(offer):
            if known.state in (OfferState.READY, OfferState.PAUSED):
                self.withdraw(offer.replica, "it is reached in another way now")
                known = None
            else:  # nothing new runs there, and what waits for it goes on to wait
                known.endpoint = self._endpoint(offer)
        if known is None:
            known = self._enter(offer)
            self._report(Expected(offer.replica, offer.model, self._cost(offer)))
        elif known.state in (OfferState.LOST, OfferState.GONE, OfferState.COLD):
            known.endpoint = self._endpoint(offer)
            self._report(Expected(offer.replica, offer.model, self._cost(offer)))
        was_ready, known.offer = known.state is OfferState.READY, offer
        known.state, known.reason = OfferState.READY, ""
        if not was_ready:
            _JOURNAL.info("remote.ready", replica=offer.replica, slots=offer.slots)
        self._report(
            Ready(
                offer.replica,
                offer.model,
                offer.slots,
                known.endpoint,
                None,
                self._cost(offer),
                offer.weight * rule.weight,
            )
        )

    def resize(self, replica: str, slots: int) -> None:
        """Change how many requests it works on at once; 0 pauses it."""
        known = self._known.get(replica)
        if known is None:
            return
        if slots <= 0:
            self.pause(replica, "it has no slots")
        elif known.state in (OfferState.READY, OfferState.PAUSED):
            self.offer(replace(known.offer, slots=slots))

    def pause(self, replica: str, reason: str) -> None:
        """Let it take nothing new, until it is offered again; what runs there goes on."""
        known = self._known.get(replica)
        if known is not None and known.state is OfferState.READY:
            known.state, known.reason = OfferState.PAUSED, reason
            _JOURNAL.info("remote.paused", replica=replica, reason=reason)
            self._report(Paused(replica))

    def lose(self, replica: str, reason: str) -> None:
        """Take note that it is gone, and may be back: what waits for it goes on to wait."""
        known = self._known.get(replica)
        if known is None or known.state in (OfferState.LOST, OfferState.GONE):
            return
        if known.state is OfferState.COLD:
            self.bring(replica, reason)
            return
        was_there = known.state in (OfferState.READY, OfferState.PAUSED)
        known.state, known.reason = OfferState.LOST, reason
        _JOURNAL.warning("remote.lost", replica=replica, reason=reason)
        if was_there:
            self._retire(known.endpoint)
            self._report(Lost(replica))

    def give_up(self, replica: str, reason: str) -> None:
        """Take note that it will not be back soon: who asks for it is refused with the reason."""
        known = self._known.get(replica)
        if known is None or known.state is OfferState.GONE:
            return
        self.lose(replica, reason)
        known.state, known.reason = OfferState.GONE, reason
        self._report(Gone(replica, reason))

    def rest(self, offer: RemoteOffer, reason: str) -> None:
        """Take note that it is not there, and that a request may have it brought."""
        if not self._rule_of(offer).permits(offer.model):
            self.expect(offer)
            self.give_up(offer.replica, _excluded(offer))
            return
        known = self._known.get(offer.replica)
        if known is None:
            known = self._enter(offer)
        elif known.state is OfferState.COLD and (known.offer, known.reason) == (offer, reason):
            return
        elif known.state in (OfferState.READY, OfferState.PAUSED):
            self._retire(known.endpoint)
            self._report(Lost(offer.replica))
        known.offer, known.state, known.reason = offer, OfferState.COLD, reason
        self._report(Dormant(offer.replica, offer.model, reason, self._cost(offer)))

    def bring(self, replica: str, reason: str) -> None:
        """Take note that it is being brought: what asks for it waits."""
        known = self._known.get(replica)
        if known is not None and known.state is OfferState.COLD:
            known.state, known.reason = OfferState.LOST, reason
            _JOURNAL.info("remote.brought", replica=replica)
            self._report(Expected(replica, known.offer.model, self._cost(known.offer)))

    def withdraw(self, replica: str, reason: str) -> None:
        """Forget it; what runs there goes on to its end."""
        known = self._known.pop(replica, None)
        if known is None:
            return
        _JOURNAL.info("remote.withdrawn", replica=replica, reason=reason)
        if known.state in (OfferState.READY, OfferState.PAUSED):
            self._retire(known.endpoint)
        self._report(Forgotten(replica))

    def withdraw_all(self, origin: str, reason: str) -> None:
        """Forget what one upstream or node has offered."""
        for one in self:
            if one.offer.origin == origin:
                self.withdraw(one.offer.replica, reason)

    def listen(self, origin: str, listener: FaultListener) -> None:
        """Report to `listener` whatever fails at what `origin` offers."""
        self._faults[origin] = listener

    def note_fault(self, endpoint: Endpoint, reason: str) -> None:
        """Take note that a request failed somewhere."""
        if (listener := self._listener(endpoint)) is not None:
            listener.failed(endpoint.replica, reason)

    def note_busy(self, endpoint: Endpoint, seconds: float | None) -> None:
        """Take note that a server has no room for a request, and in how many seconds it may have."""
        if (listener := self._listener(endpoint)) is not None:
            listener.refused(endpoint.replica, seconds)

    def _rule_of(self, offer: RemoteOffer) -> ProviderRule:
        return self._rules.get(offer.provider, NO_RULE)

    def _cost(self, offer: RemoteOffer) -> float:
        return max(LEAST_COST, offer.cost + self._rule_of(offer).cost)

    def _listener(self, endpoint: Endpoint) -> FaultListener | None:
        known = self._known.get(endpoint.replica)
        return self._faults.get(known.offer.origin) if known is not None else None

    def _enter(self, offer: RemoteOffer) -> RemoteCapacity:
        known = self._known[offer.replica] = RemoteCapacity(offer, self._endpoint(offer))
        self._spread(offer.model, offer.strategy)
        return known

    def _endpoint(self, offer: RemoteOffer) -> Endpoint:
        number = self._incarnations[offer.replica] = self._incarnations.get(offer.replica, 0) + 1
        return Endpoint(offer.address, offer.key, offer.replica, number, offer.profile)

    def _report(self, event: Event) -> None:
        for listener in self._listeners:
            listener()
        self._post(event)


def _excluded(offer: RemoteOffer) -> str:
    return f"[hub] providers does not have {offer.provider} serve {offer.model}"
