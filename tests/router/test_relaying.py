"""Does an answer go on in the same stream when its replica fails in the middle?"""

import asyncio
import json
from typing import Any

import pytest

from relayd.router import STOPPED
from relayd.scheduler import Ended
from tests.fakes.replica import (
    DONE,
    LAST_CHUNK,
    SSE_HEAD,
    Act,
    Then,
    act,
    chunk,
    json_answer,
    refusal,
    said,
)
from tests.router.front import LANE_ONLY, STREAM, UNCONTINUED, Front, Opener, body, post, status

pytestmark = [pytest.mark.fake, pytest.mark.usefixtures("runner")]

DELTA = b'{"role":"assistant","content":null}'
ROLE = b'data: {"choices":[{"finish_reason":null,"index":0,"delta":' + DELTA + b'}],"id":"%b"}\n\n'
END = b'data: {"choices":[{"finish_reason":"stop","index":0,"delta":{}}],"id":"%b"}\n\n'
BEGUN = SSE_HEAD + chunk(ROLE % b"a") + chunk(said("Once")) + chunk(said(" upon"))
REST = act(
    SSE_HEAD
    + chunk(ROLE % b"b")
    + chunk(said(" a", "b"))
    + chunk(said(" time", "b"))
    + chunk(END % b"b")
    + chunk(DONE)
    + LAST_CHUNK
)
CHAT = json.dumps({"stream": True, "messages": [{"role": "user", "content": "hi"}], "max_tokens": 9}).encode()

CUTS = {
    "closed": act(BEGUN, then=Then.CLOSE),
    "reset": act(BEGUN, then=Then.RESET),
    "in the middle of an event": act(BEGUN, chunk(said(" a"))[:30], then=Then.CLOSE),
    "in the size of a chunk": act(BEGUN + b"5", then=Then.RESET),
}


def unchunked(raw: bytes) -> bytes:
    """Return what the chunks of a whole body hold."""
    payload = b""
    while raw:
        size, _, raw = raw.partition(b"\r\n")
        payload, raw = payload + raw[: int(size, 16)], raw[int(size, 16) + 2 :]
    return payload


def texts(payload: bytes) -> str:
    events = [json.loads(line[6:]) for line in payload.split(b"\n") if line.startswith(b"data: {")]
    return "".join(one["choices"][0]["delta"].get("content") or "" for one in events if "choices" in one)


def asked(here: Front, replica: int) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(body(here.replicas[replica].requests[0]))
    return found


@pytest.mark.parametrize("cut", CUTS.values(), ids=CUTS)
async def test_another_replica_goes_on_in_the_same_stream(front: Opener, cut: Act) -> None:
    async with front([cut], [REST]) as here:
        raw = await here.ask(post(CHAT))

        payload = unchunked(body(raw))
        assert "Once upon a time" == texts(payload)
        assert [1, 0, 1, 1] == [payload.count(one) for one in (b'"role"', b'"id":"b"', DONE, b'"stop"')]
        assert b": relayd continues tokens=2 lost=fake#0\n\n" in payload
        assert [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "Once upon"}] == asked(
            here, 1
        )["messages"]
        assert 7 == asked(here, 1)["max_tokens"]
        (exchange,) = here.exchanges.recent()
        assert (Ended.CONTINUED, 1, 2) == (exchange.ended, exchange.continued, exchange.attempts)
        assert 1 == len(here.faults)


@pytest.mark.parametrize("way", ["straight", "aiohttp"], indirect=True)  # a verdict is waited for
async def test_an_answer_is_continued_as_often_as_there_are_attempts(front: Opener) -> None:
    second = act(SSE_HEAD + chunk(ROLE % b"b") + chunk(said(" a", "b")), then=Then.CLOSE)
    third = act(SSE_HEAD + chunk(said(" time", "c")) + chunk(END % b"c") + chunk(DONE) + LAST_CHUNK)
    async with front([CUTS["closed"]], [second], [third]) as here:
        raw = await here.ask(post(CHAT))

        assert "Once upon a time" == texts(unchunked(body(raw)))
        assert "Once upon a" == asked(here, 2)["messages"][-1]["content"]
        assert 6 == asked(here, 2)["max_tokens"]
        assert 2 == here.exchanges.recent()[0].continued


async def test_a_replica_that_fails_before_it_goes_on_is_followed_by_another(front: Opener) -> None:
    async with front([CUTS["closed"]], [act(then=Then.CLOSE)], [REST]) as here:
        raw = await here.ask(post(CHAT))

        assert "Once upon a time" == texts(unchunked(body(raw)))


@pytest.mark.parametrize(
    ("request_body", "after"),
    [(UNCONTINUED, [REST]), (CHAT, []), (CHAT, [act(refusal(400, "invalid_request_error"))])],
    ids=["unsound", "without another replica", "refused"],
)
async def test_what_cannot_be_continued_ends_with_the_error(
    front: Opener, request_body: bytes, after: list[Act]
) -> None:
    async with front([CUTS["closed"]], *([one] for one in after)) as here:
        raw = await here.ask(post(request_body))

        assert not raw.endswith(LAST_CHUNK)
        assert b'"code":"upstream_failed"' in raw
        assert DONE not in raw
        assert Ended.CUT is here.exchanges.recent()[0].ended


async def test_an_answer_without_a_token_begins_anew_whatever_was_asked(front: Opener) -> None:
    cut = act(SSE_HEAD + chunk(ROLE % b"a"), then=Then.CLOSE)
    async with front([cut], [REST]) as here:
        raw = await here.ask(post(b'{"stream":true,"logprobs":true}'))

        assert " a time" == texts(unchunked(body(raw)))
        assert b"continue_final_message" not in here.replicas[1].requests[0]


async def test_the_answer_of_a_replica_that_is_stopped_goes_on_elsewhere(front: Opener) -> None:
    async with front([act(BEGUN, then=Then.HANG)], [REST]) as here:
        reader, writer = await here.connect()
        writer.write(post(CHAT))
        seen = await reader.readuntil(said(" upon"))
        here.places.dispatcher.interrupt_on(here.endpoints[0], STOPPED)
        raw = seen + await reader.read()
        writer.close()

    assert "Once upon a time" == texts(unchunked(body(raw)))


async def test_a_silent_replica_is_left_and_keeps_its_slot_until_it_is_done(front: Opener) -> None:
    async with front([act(BEGUN, then=Then.HANG)], [REST]) as here:
        here.replicas[0].works_on = True
        reader, writer = await here.connect()
        writer.write(post(CHAT))
        seen = await reader.readuntil(said(" upon"))
        here.places.dispatcher.leave_silent(here.endpoints[0].replica, silent_seconds=0)
        raw = seen + await reader.read()
        writer.close()

        assert "Once upon a time" == texts(unchunked(body(raw)))
        assert 1 == len(here.places.held)
        here.replicas[0].finish()
        while here.places.held:
            await asyncio.sleep(0)


@LANE_ONLY
async def test_a_client_that_leaves_as_its_answer_waits_for_a_replica_ends_it(front: Opener) -> None:
    wait = asyncio.Event()
    async with front([CUTS["closed"]], [act(wait, then=Then.HANG)]) as here:
        reader, writer = await here.connect()
        writer.write(post(CHAT))
        await reader.readuntil(said(" upon"))
        await here.replicas[1].asked.wait()
        writer.close()
        await here.replicas[1].left.wait()

        while not here.exchanges.recent():
            await asyncio.sleep(0)
        assert Ended.CANCELLED is here.exchanges.recent()[0].ended


async def test_a_plain_answer_comes_as_ever(front: Opener) -> None:
    async with front([act(json_answer(b'{"ok":true}'))]) as here:
        raw = await here.ask(post())

        assert 200 == status(raw)


async def test_a_large_stream_is_read_once_there_is_much_of_it(front: Opener) -> None:
    many = b"".join(chunk(said(f" {number}")) for number in range(3000))
    async with front([act(SSE_HEAD + chunk(ROLE % b"a"), many, then=Then.CLOSE)], [REST]) as here:
        raw = await here.ask(post(STREAM[:-1] + b',"messages":[{"role":"user","content":"hi"}]}'))

        expected = "".join(f" {number}" for number in range(3000))
        assert expected + " a time" == texts(unchunked(body(raw)))
        assert expected == asked(here, 1)["messages"][-1]["content"]


PLAIN = CHAT.replace(b'"stream": true, ', b"")
MORE = chunk(said(" a", "b")) + chunk(said(" time", "b")) + chunk(END % b"b") + chunk(DONE) + LAST_CHUNK


@pytest.mark.parametrize("way", ["straight", "aiohttp"], indirect=True)  # a verdict is waited for
@pytest.mark.parametrize("lost", [[], [act(then=Then.CLOSE)]], ids=["at once", "after one that is gone"])
async def test_a_plain_answer_is_continued_as_well(front: Opener, lost: list[Act]) -> None:
    rest = act(SSE_HEAD + chunk(ROLE % b"b") + MORE)
    async with front([CUTS["reset"]], *([one] for one in lost), [rest]) as here:
        raw = await here.ask(post(PLAIN))

        answer = json.loads(body(raw))
        assert "Once upon a time" == answer["choices"][0]["message"]["content"]
        assert "Once upon" == asked(here, len(lost) + 1)["messages"][-1]["content"]
        assert (Ended.CONTINUED, 1) == (
            here.exchanges.recent()[0].ended,
            here.exchanges.recent()[0].continued,
        )


async def test_a_plain_answer_that_cannot_be_continued_begins_anew(front: Opener) -> None:
    rest = act(SSE_HEAD + chunk(ROLE % b"b") + MORE)
    request_body = PLAIN[:-1] + b',"response_format":{"type":"json_object"}}'
    async with front([CUTS["reset"]], [rest]) as here:
        raw = await here.ask(post(request_body))

        assert " a time" == json.loads(body(raw))["choices"][0]["message"]["content"]
        assert Ended.DONE is here.exchanges.recent()[0].ended
