"""Tickets and outcomes cross from one version of relayd to another."""

import math

import msgspec
import pytest

from relayd.scheduler import Ask, Ended, Exchange, Ticket, Usage

pytestmark = pytest.mark.pure

FULL = Ask("m", 2, "team", "batch", (7, 2**63), 12.5, stream=True)


def test_a_ticket_is_the_same_after_a_journey() -> None:
    assert Ticket(3, FULL) == msgspec.json.decode(msgspec.json.encode(Ticket(3, FULL)), type=Ticket)


def test_members_that_a_newer_version_adds_are_passed_over() -> None:
    newer = {"id": 3, "born": 1, "ask": {**msgspec.to_builtins(FULL), "lora": [1], "node": None}}

    assert Ticket(3, FULL) == msgspec.json.decode(msgspec.json.encode(newer), type=Ticket)


@pytest.mark.parametrize("name", Ask.__struct_fields__)
def test_any_member_that_an_older_version_lacks_has_its_default(name: str) -> None:
    members = {**msgspec.to_builtins(FULL)}
    del members[name]

    ticket = msgspec.json.decode(msgspec.json.encode({"id": 3, "ask": members}), type=Ticket)

    assert getattr(Ask(), name) == getattr(ticket.ask, name)


def test_a_ticket_without_limit_stays_so() -> None:
    sent = msgspec.json.encode(Ticket(1, Ask("m", deadline=math.inf)))

    assert not msgspec.json.decode(sent, type=Ticket).ask.is_overdue(1e12)


def test_an_outcome_is_the_same_after_a_journey() -> None:
    exchange = Exchange(ask=FULL, ended=Ended.CUT, placed_at=1.5, usage=Usage(9, 4, 2, 1.5, 2.5))

    assert exchange == msgspec.json.decode(msgspec.json.encode(exchange), type=Exchange)
