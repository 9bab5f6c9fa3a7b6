"""Which messages of other builds a daemon can read, and what it does with those it cannot."""

from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest

from relayd.endpoint import Address, ElsewhereAddress, Endpoint, TcpAddress, UnixAddress
from relayd.handover import HandoverState, messages
from relayd.profile import LOCAL, EndpointProfile
from relayd.scheduler import Refusal
from relayd.secret import Secret
from relayd.tlsaddress import TlsAddress
from tests.handover.record import DATA, EXAMPLES

pytestmark = pytest.mark.pure

FROM_NEW = {kind.__name__ for kind in get_args(messages.FromNew)}
RECORDED = DATA / f"protocol_{messages.PROTOCOL}"


def decoded(raw: bytes) -> object:
    kind = msgspec.json.decode(raw)["type"]
    return (messages.decode_from_new if kind in FROM_NEW else messages.decode_from_old)(raw)


def test_a_build_without_a_number_is_known_by_its_first_message() -> None:
    prepared = decoded((DATA / "unnumbered" / "Prepared.json").read_bytes())

    assert messages.Prepared("0.1.0", "127.0.0.1:8080", protocol=0) == prepared
    assert messages.PROTOCOL != 0


def test_every_kind_of_message_has_an_example() -> None:
    kinds = {*get_args(messages.FromOld), *get_args(messages.FromNew)}

    assert kinds == {type(example) for example in EXAMPLES}


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: type(example).__name__)
def test_a_message_that_was_recorded_with_this_number_reads_as_it_did(example: object) -> None:
    """Where it does not, raise `PROTOCOL` and record that protocol's messages: tests/handover/record.py."""
    recorded = (RECORDED / f"{type(example).__name__}.json").read_bytes()

    assert example == decoded(recorded)


def test_a_finished_request_crosses_with_its_exchange() -> None:
    (finished,) = (one for one in EXAMPLES if isinstance(one, messages.TicketFinished))

    assert finished == decoded(messages.encode(finished))


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b'{"type": "Prepared", "version": "9", "listen": "x", "protocol": 7, "colour": [1]}',
         messages.Prepared("9", "x", 7)),
        (b'{"type": "Commit", "colour": {"a": 1}}', messages.Commit()),
        (b'{"type": "Standby", "colour": null}', messages.Standby()),
        (b'{"type": "TicketRefused", "ticket_id": 1, "refusal": "queue_full", "reason": "r", "colour": 1}',
         messages.TicketRefused(1, "queue_full", "r")),
    ],
)  # fmt: skip
def test_unknown_members_are_ignored_and_absent_ones_have_a_default(raw: bytes, expected: object) -> None:
    assert expected == decoded(raw)


def test_a_refusal_that_only_the_other_build_knows_reads_as_unavailable() -> None:
    refused = messages.TicketRefused(1, "over_quota", "the key is over its quota", 3.0)

    assert Refusal.UNAVAILABLE == refused.effect().refusal
    assert ("the key is over its quota", 3.0) == (
        refused.effect().reason,
        refused.effect().retry_after_seconds,
    )


@pytest.mark.parametrize(
    "address",
    [UnixAddress(Path("/run/relayd/1.sock")), TcpAddress(8101), TcpAddress(8101, "10.0.0.7"),
     TcpAddress(8101, "::1")],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("replica", ["qwen#0", "org/qwen#1", "qwen#0@attic"])
def test_an_endpoint_arrives_as_it_was(address: Address, replica: str) -> None:
    endpoint = Endpoint(address, Secret("k" * 64), replica, 3)
    raw: Any = msgspec.json.encode(messages.SentEndpoint.of(endpoint))

    arrived = msgspec.json.decode(raw, type=messages.SentEndpoint).endpoint()

    assert endpoint == arrived
    assert endpoint.key.reveal() == arrived.key.reveal()


def test_what_is_known_of_bodies_goes_over_and_an_older_build_sends_nothing_of_it() -> None:
    state = HandoverState(refused={"7d1a": 5e9}, suspected={"99ff": (1.0, 4e9)})

    sent, older = decoded(messages.encode(messages.Commit.of(state))), decoded(b'{"type":"Commit"}')

    assert isinstance(sent, messages.Commit)
    assert isinstance(older, messages.Commit)
    assert (state, HandoverState()) == (sent.state(), older.state())


@pytest.mark.parametrize(
    "address",
    [
        UnixAddress(Path("/run/m#0.sock")),
        TcpAddress(8100),
        TlsAddress("api.example"),
        ElsewhereAddress("link:7"),
    ],
    ids=str,
)
def test_an_endpoint_crosses_with_what_may_be_assumed_of_it(address: Address) -> None:
    profile = EndpointProfile(model="gpt-x", base="/openai", half_closes=False)
    sent = Endpoint(address, Secret("key"), "m@api", 3, profile)

    endpoint = msgspec.convert(
        msgspec.to_builtins(messages.SentEndpoint.of(sent)), messages.SentEndpoint
    ).endpoint()

    assert (sent, profile) == (endpoint, endpoint.profile)


def test_an_endpoint_of_a_replica_of_ours_says_nothing_of_its_profile() -> None:
    ours = Endpoint(TcpAddress(8100), Secret("key"), "m#0", 1)
    sent = msgspec.to_builtins(messages.SentEndpoint.of(ours))

    assert "profile" not in sent
    assert msgspec.convert(sent, messages.SentEndpoint).endpoint().profile is LOCAL
