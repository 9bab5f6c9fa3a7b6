"""Events for the scheduler in few words, and its effects in as few."""

from pathlib import Path

from relayd.endpoint import Endpoint, UnixAddress
from relayd.scheduler import (
    Arrived,
    Ask,
    Dispatch,
    Effect,
    Event,
    Inherited,
    Ready,
    Refusal,
    Refuse,
    Scheduler,
    Ticket,
)
from relayd.secret import Secret


def endpoint(replica: str, incarnation: int = 1) -> Endpoint:
    return Endpoint(UnixAddress(Path("/run") / replica), Secret("key"), replica, incarnation)


def model_of(replica: str) -> str:
    return replica.partition("#")[0]


def ready(replica: str, slots: int = 1, incarnation: int = 1) -> Ready:
    return Ready(replica, model_of(replica), slots, endpoint(replica, incarnation))


def arrived(ticket_id: int, model: str = "m", width: int = 1, deadline: float = 100.0) -> Arrived:
    return Arrived(Ticket(ticket_id, Ask(model, width, deadline=deadline)))


def play(scheduler: Scheduler, *events: Event, now: float = 0.0) -> list[Effect]:
    return [effect for event in events for effect in scheduler.handle(event, now)]


def placed(effects: list[Effect]) -> list[tuple[int, str]]:
    return [(each.ticket_id, each.endpoint.replica) for each in effects if isinstance(each, Dispatch)]


def refused(effects: list[Effect]) -> list[tuple[int, Refusal]]:
    return [(each.ticket_id, each.refusal) for each in effects if isinstance(each, Refuse)]


def inherited(ticket_id: int, replica: str, slots: int = 1, incarnation: int = 1) -> Inherited:
    ticket = arrived(ticket_id, model_of(replica)).ticket
    return Inherited(ticket, endpoint(replica, incarnation), slots)
