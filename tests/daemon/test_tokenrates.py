"""Are tokens a second learned from answers that have ended, and estimated of those that stream?"""

import pytest

from relayd.daemon.rates import Streaming, TokenRates, token_bytes
from relayd.scheduler import Ask, Exchange
from relayd.scheduler.exchange import Usage

pytestmark = pytest.mark.pure

CHAT = "/v1/chat/completions"


def ended(tokens: int, sent_bytes: int, *, stream: bool = True) -> Exchange:
    usage = Usage(completion_tokens=tokens)
    return Exchange(Ask("m", stream=stream), path=CHAT, usage=usage, sent_bytes=sent_bytes)


def test_the_bytes_of_a_token_are_those_of_streams_that_have_ended() -> None:
    recent = [ended(10, 2000), ended(30, 6000), ended(100, 500, stream=False), ended(2, 9000)]

    assert {CHAT: 200.0} == token_bytes(recent)
    assert {} == token_bytes([Exchange(Ask("m"))])


def test_a_rate_is_what_was_sent_since_the_last_look() -> None:
    rates = TokenRates()
    rates.look([Streaming(1, "m#0", "m", CHAT, 1000)], {CHAT: 100.0}, now=10.0)

    found = rates.look(
        [Streaming(1, "m#0", "m", CHAT, 6000), Streaming(2, "m#1", "m", CHAT, 1000)], {CHAT: 100.0}, now=12.0
    )

    assert {"m#0": 12.5, "m#1": 5.0} == found, "half of a rate is that of the look before"


def test_a_replica_that_sends_nothing_has_no_rate_and_a_long_gap_counts_for_nothing() -> None:
    rates = TokenRates()
    rates.look([], {}, now=0.0)

    assert {} == rates.look([], {}, now=1.0)
    assert {"m#0": 0.0} == rates.look([Streaming(1, "m#0", "m", CHAT, 99)], {}, now=100.0)
