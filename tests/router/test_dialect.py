"""Does a client of another API read its own words, whatever happens to its request?"""

import json

import pytest

from relayd.api.admission import Incoming, RequestContext
from relayd.api.openai import OPENAI
from relayd.errors import QueueTimeoutError
from relayd.router import Recipient
from relayd.router.answer import ReplicaAnswer
from relayd.router.headers import parse_head
from relayd.router.proxy import Outcome, deliver
from relayd.router.sink import Sink
from relayd.router.splice import Splice
from relayd.scheduler import Ended
from tests.fakes.replica import (
    DONE,
    LAST_CHUNK,
    SSE_HEAD,
    Then,
    act,
    chunk,
    event,
    head,
    json_answer,
    refusal,
)
from tests.router.front import LANE_ONLY, STREAM, Opener, body, fields, post, status
from tests.router.ndjson import NDJSON

pytestmark = [pytest.mark.fake, pytest.mark.usefixtures("runner")]

GOOD_STREAM = act(SSE_HEAD + chunk(event(1)) + chunk(event(2)) + chunk(DONE) + LAST_CHUNK)


async def test_events_are_written_as_the_dialect_frames_them(front: Opener) -> None:
    async with front([GOOD_STREAM], dialect=NDJSON) as here:
        raw = await here.ask(post(STREAM))

        assert fields(raw)["content-type"] == "application/x-ndjson"
        assert body(raw) == chunk(b'{"n":1}\n{"n":2}\n') + chunk(b'{"done":true}\n') + LAST_CHUNK
        assert Ended.DONE is here.exchanges.recent()[0].ended


async def test_an_answer_that_is_not_translated_passes_as_it_came(front: Opener) -> None:
    async with front([act(json_answer(b'{"ok":true}'))], dialect=NDJSON) as here:
        assert body(await here.ask(post())) == b'{"ok":true}'


async def test_the_engines_refusal_is_told_in_the_shape_of_the_dialect(front: Opener) -> None:
    async with front([act(refusal(400, "invalid_request_error", "why"))], dialect=NDJSON) as here:
        raw = await here.ask(post())

        assert status(raw) == 400
        assert json.loads(body(raw)) == {"error": "why", "reason": "invalid_request_error"}


async def test_a_stream_that_is_cut_ends_with_a_line_of_the_dialect(front: Opener) -> None:
    async with front([act(SSE_HEAD + chunk(event(1)), then=Then.CLOSE)], dialect=NDJSON) as here:
        raw = await here.ask(post(STREAM))

        first, last = [line for line in body(raw).split(b"\r\n") if line.startswith(b"{")]
        assert first == b'{"n":1}\n'
        assert json.loads(last)["reason"] == "upstream_failed"
        assert b'"done"' not in raw
        assert not raw.endswith(LAST_CHUNK)


@LANE_ONLY
@pytest.mark.parametrize(("kind", "version"), [(Splice, "1.1"), (ReplicaAnswer, "1.0")])
async def test_a_refusal_after_the_first_byte_is_told_within_the_answer(
    front: Opener, kind: type[Splice] | type[ReplicaAnswer], version: str
) -> None:
    """The case of an answer that another replica is to continue, and none is found in time."""
    outcomes = []

    async def relay(sink: Sink) -> None:
        sink.take(chunk(event(1)))
        await sink.room()
        raise QueueTimeoutError("The request waited too long.", remedy="Try again.")

    async def respond(_request: Incoming, client: Recipient, _context: RequestContext) -> None:
        answer = kind(client, parse_head(SSE_HEAD.strip()), {}, OPENAI, stall_seconds=5)
        outcomes.append(await deliver(answer, relay))

    async with front() as here:
        here.respond = respond
        raw = await here.ask(post(STREAM, version=version, close=version == "1.1"))

    error = json.loads(body(raw).split(b"data: ")[-1].split(b"\n\n")[0])["error"]
    assert (error["code"], error["message"]) == ("queue_timeout", "The request waited too long. Try again.")
    assert raw.count(b"HTTP/1.") == 1
    assert not raw.endswith(LAST_CHUNK)
    assert [Outcome(Ended.CUT, "The request waited too long.", "queue_timeout")] == outcomes


async def test_what_an_answer_needs_of_its_last_event_is_the_dialects_business(front: Opener) -> None:
    answer = head("Content-Type: text/event-stream") + event(1)

    async with front([act(answer, then=Then.CLOSE)], dialect=NDJSON) as here:
        assert body(await here.ask(post(STREAM))).endswith(chunk(b'{"done":true}\n') + LAST_CHUNK)
