"""What becomes of plain requests that replicas answer as streams, and of the progress of their prompts?"""

import asyncio
import json
from collections.abc import Callable

import pytest

from relayd.router.prefill import Prefill
from tests.dialects.engine import CHAT_THOUGHT, chat_text
from tests.fakes.replica import (
    DONE,
    LAST_CHUNK,
    SSE_HEAD,
    Act,
    Then,
    act,
    chunk,
    event,
    json_answer,
    refusal,
)
from tests.router.front import LANE_ONLY, Opener, body, fields, post, status

pytestmark = [pytest.mark.fake, pytest.mark.usefixtures("runner")]

PLAIN = b'{"messages":[]}'
LONG = b'{"messages":[],"user":"%b"}' % (b"u" * 2000)
LONG_STREAM = LONG.replace(b"{", b'{"stream":true,', 1)


def stream(payload: bytes) -> bytes:
    """Return a stream with a chunk for each event."""
    return SSE_HEAD + b"".join(chunk(one + b"\n\n") for one in payload.split(b"\n\n")[:-1]) + LAST_CHUNK


def progress(processed: int, time_ms: int) -> bytes:
    """Return the chunk that states how far a prompt is."""
    state = {"total": 9000, "cache": 0, "processed": processed, "time_ms": time_ms}
    delta = {"role": "assistant", "content": None}
    data = {"choices": [{"index": 0, "delta": delta}], "prompt_progress": state}
    return chunk(b"data: %b\n\n" % json.dumps(data, separators=(",", ":")).encode())


def failure(message: str) -> bytes:
    error = {"code": 500, "message": message, "type": "server_error"}
    return b"data: %b\n\n" % json.dumps({"error": error}, separators=(",", ":")).encode()


async def test_a_plain_request_is_sent_as_a_stream_and_answered_as_a_whole(front: Opener) -> None:
    async with front([act(stream(CHAT_THOUGHT))]) as here:
        raw = await here.ask(post(PLAIN))

        answer, sent = json.loads(body(raw)), json.loads(body(here.replicas[0].requests[0]))
        assert {"stream": True, "stream_options": {"include_usage": True}}.items() <= sent.items()
        assert "All done" == answer["choices"][0]["message"]["content"]
        assert "application/json; charset=utf-8" == fields(raw)["content-type"]
        assert str(len(body(raw))) == fields(raw)["content-length"]
        assert "x-accel-buffering" not in fields(raw)
        usage = here.exchanges.recent()[0].usage
        assert usage is not None
        assert (26, 7, 8) == (usage.prompt_tokens, usage.cached_tokens, usage.completion_tokens)


async def test_one_connection_carries_one_collected_answer_after_the_other(front: Opener) -> None:
    async with front([act(stream(CHAT_THOUGHT))]) as here:
        answers = [status(await here.ask(post(PLAIN))) for _ in range(3)]

        assert ([200] * 3, 1) == (answers, here.replicas[0].connections)


BROKEN = stream(chat_text("a", "b"))
BREAKS = {
    "before its head": act(then=Then.CLOSE),
    "in prefill": act(SSE_HEAD, then=Then.CLOSE),
    "between two events": act(BROKEN[: BROKEN.index(b'"b"') - 40], then=Then.RESET),
    "before its last event": act(BROKEN[: BROKEN.index(b"data: [DONE]") - 5], then=Then.CLOSE),
    "without its last event": act(stream(chat_text("a")[: -len(DONE)])),
    "with an event that is none": act(stream(b"data: {\n\n")),
    "with an error of its own": act(stream(chat_text("a")[:150] + b"\n\n" + failure("Compute error."))),
}


@pytest.mark.parametrize("broken", BREAKS.values(), ids=BREAKS)
async def test_a_plain_answer_that_breaks_off_is_given_by_another_replica(front: Opener, broken: Act) -> None:
    """Its client has seen nothing of it."""
    async with front([broken], [act(stream(chat_text("whole")))]) as here:
        raw = await here.ask(post(PLAIN))

        assert "whole" == json.loads(body(raw))["choices"][0]["message"]["content"]
        assert (1, 1) == (len(here.faults), here.places.returns)


@pytest.mark.parametrize(
    "asked", [PLAIN, PLAIN.replace(b"{", b'{"stream":true,', 1)], ids=["plain", "stream"]
)
async def test_an_error_behind_the_engines_200_has_the_status_of_a_plain_one(
    front: Opener, asked: bytes
) -> None:
    dead_end = act(stream(failure("got exception: Unexpected empty grammar stack after accepting")))

    async with front([dead_end], [dead_end]) as here:
        raw = await here.ask(post(asked))

        assert (400, "invalid_request_error") == (status(raw), json.loads(body(raw))["error"]["type"])
        assert ([], 0) == (here.faults, here.places.returns)


@pytest.mark.parametrize(
    "asked", [PLAIN, PLAIN.replace(b"{", b'{"stream":true,', 1)], ids=["plain", "stream"]
)
async def test_a_replica_that_fails_at_once_behind_its_200_is_left_for_another(
    front: Opener, asked: bytes
) -> None:
    async with front([act(stream(failure("Compute error.")))], [act(stream(chat_text("good")))]) as here:
        raw = await here.ask(post(asked))

        assert (200, ["answered 500"]) == (status(raw), here.faults)
        assert b"good" in body(raw)


async def test_what_ignores_that_a_stream_is_asked_for_is_passed_on(front: Opener) -> None:
    async with front([act(json_answer(b'{"ok":true}'))]) as here:
        assert b'{"ok":true}' == body(await here.ask(post(PLAIN)))


async def test_a_refusal_of_a_collected_request_is_as_it_was(front: Opener) -> None:
    async with front([act(refusal(400, "invalid_request_error", "too hot"))]) as here:
        raw = await here.ask(post(PLAIN))

        assert (400, "too hot") == (status(raw), json.loads(body(raw))["error"]["message"])


async def test_a_client_that_leaves_a_collected_answer_cancels_it(front: Opener) -> None:
    begun = BROKEN[: BROKEN.index(b'"b"') - 40]

    async with front([act(begun, then=Then.HANG)]) as here:
        replica = here.replicas[0]
        replica.works_on = True
        _, writer = await here.connect()
        writer.write(post(PLAIN))
        await replica.asked.wait()

        writer.close()
        await replica.cancelled.wait()

        await until(lambda: bool(here.places.finished))
        assert 1 == len(here.places.held)
        replica.finish()
        await until(lambda: not here.places.held)


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0)


READ = SSE_HEAD + progress(0, 0) + progress(512, 40) + progress(1024, 90)
EVENTS = chunk(event(1)) + chunk(DONE) + LAST_CHUNK


@LANE_ONLY
async def test_progress_that_a_client_did_not_ask_for_is_taken_out(front: Opener) -> None:
    async with front([act(READ + EVENTS)]) as here:
        raw = await here.ask(post(LONG_STREAM))

        assert b'"return_progress":true' in here.replicas[0].requests[0]
        assert EVENTS == body(raw)


async def test_progress_that_a_client_asked_for_is_passed_on(front: Opener) -> None:
    async with front([act(READ + EVENTS)]) as here:
        raw = await here.ask(post(LONG_STREAM.replace(b"{", b'{"return_progress":true,', 1)))

        assert 3 == raw.count(b"prompt_progress")


async def test_progress_alone_does_not_begin_an_answer(front: Opener) -> None:
    """A replica that ends while it reads the prompt is left for another: nothing of its answer was sent."""
    async with front([act(READ, then=Then.CLOSE)], [act(READ + EVENTS)]) as here:
        raw = await here.ask(post(LONG_STREAM))

        assert (200, 1) == (status(raw), here.places.returns)
        assert b"prompt_progress" not in raw


async def test_a_slot_that_was_left_in_prefill_is_free_when_the_batch_is_over(front: Opener) -> None:
    """The engine finishes the batch that it computes, and then answers what it was asked meanwhile."""
    async with front([act(READ, then=Then.HANG)]) as here:
        replica = here.replicas[0]
        replica.works_on = True
        replica.between_batches.clear()
        _, writer = await here.connect()
        writer.write(post(LONG_STREAM))
        await replica.asked.wait()
        await until(lambda: here.pools.batch_seconds(replica.endpoint) > 0)
        connections = replica.connections

        writer.close()
        await replica.cancelled.wait()
        await until(lambda: bool(here.places.finished))
        replica.finish()
        await until(lambda: replica.connections > connections)
        assert here.places.held

        replica.between_batches.set()
        await until(lambda: not here.places.held)


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_progress_is_found_whatever_the_pieces_it_comes_in(size: int) -> None:
    sent, batches = READ[len(SSE_HEAD) :] + EVENTS, list[float]()
    prefill = Prefill(batches.append)

    got = b"".join(prefill.feed(sent[at : at + size]) for at in range(0, len(sent), size))

    assert (EVENTS, [0.04, 0.05], True) == (got, batches, prefill.is_over)


def test_a_text_that_looks_like_progress_is_none() -> None:
    told = json.dumps({"text": '"prompt_progress":{"total":1,"cache":0,"processed":1,"time_ms":1}'})
    sent = chunk(f"data: {told}\n\n".encode())

    assert sent == Prefill(lambda _: None).feed(sent)


UNREADABLE = CHAT_THOUGHT[: CHAT_THOUGHT.index(b"\n\n") + 2] + failure(
    "Invalid diff: now finding less tool calls!"
)


async def test_a_stream_that_the_engine_cannot_read_is_asked_for_as_a_whole_instead(front: Opener) -> None:
    whole = json_answer(b'{"object":"chat.completion"}')
    async with front([act(stream(UNREADABLE)), act(whole)]) as here:
        raw = await here.ask(post(PLAIN))

        assert 200 == status(raw)
        assert b'{"object":"chat.completion"}' == body(raw)
        first, second = (json.loads(body(one)) for one in here.replicas[0].requests)
        assert (True, False) == (first["stream"], second["stream"])
        assert 0 == here.places.returns
        assert [] == here.faults


async def test_a_stream_that_a_client_asked_for_ends_as_the_engine_ends_it(front: Opener) -> None:
    asked = b'{"messages":[],"stream":true}'
    async with front([act(stream(UNREADABLE))]) as here:
        raw = await here.ask(post(asked))

        assert b"Invalid diff" in raw
        assert 1 == len(here.replicas[0].requests)
