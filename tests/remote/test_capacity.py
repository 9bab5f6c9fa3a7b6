"""Capacity elsewhere is a replica to the scheduler, from its offer to its end."""

from dataclasses import replace

import pytest

from relayd.endpoint import Endpoint, TcpAddress
from relayd.profile import EndpointProfile
from relayd.remote import OfferState, RemoteOffer, Remotes
from relayd.scheduler import Event, Expected, Forgotten, Gone, Lost, Paused, Ready
from relayd.secret import Secret

pytestmark = pytest.mark.pure

OFFER = RemoteOffer(
    "m@box", "m", 4, TcpAddress(11434, "box"), EndpointProfile(model="m:7b", half_closes=False), origin="box"
)


class Seen:
    """A record of capacity elsewhere, and what it has caused."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.retired: list[Endpoint] = []
        self.remotes = Remotes(self.events.append, self.retired.append)

    def take(self) -> list[Event]:
        found, self.events[:] = list(self.events), []
        return found


def ready_of(events: list[Event]) -> Ready:
    return next(one for one in events if isinstance(one, Ready))


def test_an_offer_is_a_replica_with_slots_and_a_cost() -> None:
    seen = Seen()
    seen.remotes.offer(OFFER)
    expected, ready = seen.take()
    assert Expected("m@box", "m", 0.001) == expected
    endpoint = Endpoint(OFFER.address, Secret(""), "m@box", 1, OFFER.profile)
    assert Ready("m@box", "m", 4, endpoint, None, 0.001, 1.0) == ready


def test_nothing_elsewhere_is_as_cheap_as_a_replica_of_ours() -> None:
    seen = Seen()
    seen.remotes.offer(replace(OFFER, cost=0.0))
    assert 0 < ready_of(seen.take()).cost


def test_the_same_offer_with_other_slots_keeps_its_endpoint() -> None:
    seen = Seen()
    seen.remotes.offer(OFFER)
    before = ready_of(seen.take())
    seen.remotes.resize("m@box", 2)
    (after,) = seen.take()
    assert isinstance(after, Ready)
    assert (2, before.endpoint) == (after.slots, after.endpoint)


@pytest.mark.parametrize(
    "other",
    [
        replace(OFFER, address=TcpAddress(11435, "box")),
        replace(OFFER, key=Secret("another")),
        replace(OFFER, profile=EndpointProfile(model="m:13b")),
    ],
)
def test_what_is_reached_in_another_way_is_another_incarnation(other: RemoteOffer) -> None:
    seen = Seen()
    seen.remotes.offer(OFFER)
    before = ready_of(seen.take())
    seen.remotes.offer(other)
    events = seen.take()
    assert Forgotten("m@box") == events[0]
    assert [before.endpoint] == seen.retired
    assert 2 == ready_of(events).endpoint.incarnation


def test_no_slots_pause_it_until_there_are_some() -> None:
    seen = Seen()
    seen.remotes.offer(OFFER)
    seen.take()
    seen.remotes.resize("m@box", 0)
    assert [Paused("m@box")] == seen.take()
    seen.remotes.resize("m@box", 1)
    assert 1 == ready_of(seen.take()).slots


def test_what_was_lost_is_given_up_once_and_comes_back_as_another_incarnation() -> None:
    seen = Seen()
    seen.remotes.offer(OFFER)
    seen.take()
    seen.remotes.lose("m@box", "refused")
    seen.remotes.lose("m@box", "refused")
    seen.remotes.give_up("m@box", "it does not answer")
    seen.remotes.give_up("m@box", "it does not answer")
    assert [Lost("m@box"), Gone("m@box", "it does not answer")] == seen.take()
    assert OfferState.GONE is next(iter(seen.remotes)).state
    seen.remotes.offer(OFFER)
    assert 2 == ready_of(seen.take()).endpoint.incarnation


def test_all_that_one_origin_offers_is_withdrawn_together() -> None:
    seen = Seen()
    for offer in (
        OFFER,
        replace(OFFER, replica="n@box", model="n"),
        replace(OFFER, replica="m@c", origin="c"),
    ):
        seen.remotes.offer(offer)
    seen.take()
    seen.remotes.withdraw_all("box", "it was removed")
    assert [Forgotten("m@box"), Forgotten("n@box")] == seen.take()
    assert ["m"] == [model.name for model in seen.remotes.models()]


def test_models_are_listed_with_every_offer_of_them() -> None:
    seen = Seen()
    seen.remotes.offer(OFFER)
    seen.remotes.expect(replace(OFFER, replica="m@c", origin="c"))
    (model,) = seen.remotes.models()
    assert ("m", 1, 2) == (model.name, model.ready, len(model.offers))


def test_a_failed_request_is_reported_to_who_offered_the_slot() -> None:
    seen = Seen()
    reported: list[tuple[str, str | float | None]] = []

    class Listener:
        def failed(self, replica: str, reason: str) -> None:
            reported.append((replica, reason))

        def refused(self, replica: str, seconds: float | None) -> None:
            reported.append((replica, seconds))

    seen.remotes.offer(OFFER)
    seen.remotes.listen("box", Listener())
    endpoint = ready_of(seen.take()).endpoint
    seen.remotes.note_fault(endpoint, "hung up")
    seen.remotes.note_busy(endpoint, 3.0)
    seen.remotes.note_fault(replace(endpoint, replica="m#0"), "no business of theirs")
    assert [("m@box", "hung up"), ("m@box", 3.0)] == reported
